"""Training runs: what they leave, that they can stop and go on, that they can be repeated."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import keras
import pytest

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError
from mien.edge.metrics import Metrics, measure
from mien.train.augment import Augmentation
from mien.train.fit import fit, predict
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import TensorflowEngine, choose_precision, make_optimizer

SPEC = InputSpec()
Train = Callable[..., Metrics]


@pytest.fixture
def train(dataset: Dataset, alone: TensorflowEngine) -> Train:
    def run(recipe: Recipe, out: Path, **options: Any) -> Metrics:
        return fit(dataset, recipe, out, spec=SPEC, engine=alone, verbose=0, **options)

    return run


def history(run: Path) -> list[dict[str, float]]:
    """history.csv without the times, which differ."""
    with (run / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


def test_a_run_leaves_everything(train: Train, dataset: Dataset, recipe: Recipe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    metrics = train(replace(recipe, epochs=6, batch_size=4, early_stopping=0), out, seed=7)
    assert metrics.accuracy > 0.6  # five classes: chance is 0.2
    model = keras.models.load_model(out / "model.keras")
    again = measure(
        predict(model, dataset.splits["validation"], SPEC), dataset.splits["validation"].labels, dataset.classes
    )
    assert again == metrics
    saved = json.loads((out / "metrics.json").read_text())
    assert {"accuracy", "macro_f1", "recall", "loss", "calibration_error", "confusion"} < set(saved)
    assert saved["accuracy"] == round(metrics.accuracy, 5)
    assert sum(map(sum, saved["confusion"])) == 40
    rows = history(out)
    assert len(rows) == 6
    assert saved["best_epoch"] == min(rows, key=lambda row: row["val_loss"])["epoch"]
    config = json.loads((out / "config.json").read_text())
    assert config["recipe"]["batch_size"] == 4
    assert config["recipe"]["augmentation"]["rotation"] == 0
    assert config["seed"] == 7
    assert config["classes"] == list(dataset.classes)
    assert config["data"]["fingerprint"] == dataset.fingerprint
    assert config["versions"]["keras"] == keras.__version__
    for name in ("curves.png", "confusion.png", "samples.png"):
        assert cv2.imread(str(out / name)).std() > 10
    assert list((out / "tensorboard").rglob("events.out.tfevents*"))
    assert not list(out.rglob("*partial*"))


@pytest.mark.slow
def test_best_epoch_is_kept_and_training_stops_early(train: Train, recipe: Recipe, tmp_path: Path) -> None:
    # The moving averages of batch normalisation lag behind at first, so that the validation loss rises.
    metrics = train(replace(recipe, epochs=12, batch_size=4, plateau_patience=1, early_stopping=2), tmp_path, seed=7)
    rows = history(tmp_path)
    best = min(rows, key=lambda row: row["val_loss"])
    assert len(rows) == best["epoch"] + 2 < 12
    assert metrics.loss == pytest.approx(best["val_loss"], rel=1e-3)
    # The learning rate is cut to a fifth after every epoch that was no better than the best before it.
    rate, lowest = 0.001, float("inf")
    for row in rows:
        if row["val_loss"] < lowest - 1e-4:
            lowest = row["val_loss"]
        else:
            rate /= 5
        assert row["learning_rate"] == pytest.approx(rate, rel=1e-5)
    assert rate < 0.001


@pytest.mark.parametrize(
    "settings",
    [
        {"learning_rate": 0.1, "plateau_patience": 1},  # has a plateau to remember
        {"schedule": "cosine", "warmup_epochs": 1, "ema": 0.9, "weight_decay": 0.01, "label_smoothing": 0.1},
        {"optimizer": "muon", "weight_decay": 0.01},
    ],
    ids=["plateau", "cosine", "muon"],
)
@pytest.mark.slow
def test_a_resumed_run_is_the_run_that_was_not_stopped(
    train: Train, recipe: Recipe, tmp_path: Path, settings: dict[str, Any]
) -> None:
    recipe = replace(recipe, **settings, epochs=3, augmentation=Augmentation())
    whole = train(recipe, tmp_path / "whole", seed=3)

    class Cut(Exception):
        """The power goes."""

    def cut(*_: object) -> None:
        raise Cut

    with pytest.MonkeyPatch.context() as patch:
        from mien.train.run import KeepEpochs

        patch.setattr(
            KeepEpochs,
            "on_epoch_begin",
            lambda self, epoch, logs=None: cut() if epoch == 2 else setattr(self, "_began", 0.0),
        )
        with pytest.raises(Cut):
            train(recipe, tmp_path / "cut", seed=3)
    assert len(history(tmp_path / "cut")) == 2
    resumed = train(recipe, tmp_path / "cut", seed=3, resume=True)
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    assert resumed == whole
    # and a run that is complete has nothing left to do
    assert train(recipe, tmp_path / "cut", seed=3, resume=True) == whole


@pytest.mark.slow
def test_a_run_that_gave_up_stays_as_it_is(train: Train, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, epochs=9, learning_rate=1e-9, monitor="val_accuracy", early_stopping=2)
    train(recipe, tmp_path / "run")
    rows = history(tmp_path / "run")
    assert 3 <= len(rows) < 9
    train(recipe, tmp_path / "run", resume=True)
    assert history(tmp_path / "run") == rows


@pytest.mark.slow
def test_same_seed_same_first_epoch(train: Train, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, epochs=1, augmentation=Augmentation())
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(recipe, tmp_path / name, seed=seed)
    assert history(tmp_path / "a") == history(tmp_path / "b") != history(tmp_path / "c")


@pytest.mark.slow
def test_a_run_is_not_overwritten_nor_mixed(train: Train, recipe: Recipe, tmp_path: Path) -> None:
    recipe = replace(recipe, epochs=1)
    with pytest.raises(ConfigError, match="holds no run to resume: leave out --resume"):
        train(recipe, tmp_path / "new", resume=True)
    train(recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match="already holds a run: add --resume"):
        train(recipe, tmp_path / "run")
    with pytest.raises(ConfigError, match="begun with another seed"):
        train(recipe, tmp_path / "run", seed=1, resume=True)
    with pytest.raises(ConfigError, match="begun with another recipe"):
        train(replace(recipe, learning_rate=0.1), tmp_path / "run", resume=True)
    train(replace(recipe, epochs=2), tmp_path / "run", resume=True)
    assert len(history(tmp_path / "run")) == 2


def test_mixed_precision_trains_and_leaves_float32(train: Train, recipe: Recipe, tmp_path: Path) -> None:
    train(replace(recipe, epochs=1, precision="mixed_bfloat16"), tmp_path)
    model = keras.models.load_model(tmp_path / "model.keras")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


def test_auto_precision_follows_the_processor() -> None:
    flags = set(Path("/proc/cpuinfo").read_text().split())
    expected = "mixed_bfloat16" if flags & {"avx512_bf16", "amx_bf16"} else "float32"
    assert choose_precision("auto") == expected
    assert choose_precision("float32") == "float32"


def test_cosine_schedule_warms_up_and_ends_at_zero() -> None:
    recipe = Recipe(schedule="cosine", warmup_epochs=2, epochs=10, learning_rate=0.5, weight_decay=0.1)
    optimizer = make_optimizer(recipe, steps=100)
    assert isinstance(optimizer, keras.optimizers.AdamW)
    rate = optimizer._learning_rate
    assert [round(float(rate(step)), 3) for step in (0, 100, 200, 600, 1000)] == [0.0, 0.25, 0.5, 0.25, 0.0]
