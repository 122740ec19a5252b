"""Networks that learn from networks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError
from mien.train.distill import blended, smoothed, teacher_recipe
from mien.train.distribute import Workers
from mien.train.fit import fit, predict
from mien.train.recipe import Distillation, Recipe, find_recipe, load_recipe


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, alone: Workers) -> Path:
    """A finished run of one epoch."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    recipe = Recipe(arch="compact", epochs=1, precision="float32")
    fit(dataset, recipe, out, spec=InputSpec(), workers=alone, verbose=0)
    return out


def test_smoothing_worked_out_by_hand() -> None:
    rows = smoothed(np.array([1, 0]), 4, 0.2)
    assert rows.dtype == np.float32
    assert rows == pytest.approx(np.array([[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]))


def test_targets_are_labels_and_the_mean_reading_of_face_and_mirror(dataset: Dataset, teacher: Path) -> None:
    faces = dataset.splits["train"]
    model = keras.models.load_model(teacher / "model.keras")
    mirrored = faces.images[:, :, ::-1, np.newaxis].astype(np.float32) / 255
    reading = (predict(model, faces, InputSpec()) + model.predict(mirrored, verbose=0)) / 2
    labels, steps = smoothed(faces.labels, 5, 0.1), []
    path = teacher / "model.keras"
    once = blended(labels, faces, [path], 0.7, InputSpec(), lambda: steps.append(1))
    assert once == pytest.approx(0.3 * labels + 0.7 * reading, abs=1e-4)
    assert len(steps) == 1 and once.dtype == np.float32 and once.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert blended(labels, faces, [path, path], 0.7, InputSpec(), lambda: None) == pytest.approx(once, abs=1e-5)


def test_teachers_are_trained_first_and_only_once(
    dataset: Dataset, recipe: Recipe, alone: Workers, tmp_path: Path
) -> None:
    taught = replace(recipe, epochs=1, distillation=Distillation(teachers=2, weight=0.5))
    fit(dataset, taught, tmp_path / "run", spec=InputSpec(), workers=alone, seed=7, verbose=0)
    configs = [json.loads((tmp_path / "run" / "teachers" / k / "config.json").read_text()) for k in ("1", "2")]
    assert [config["seed"] for config in configs] == [8, 9]
    assert all(config["recipe"]["distillation"]["teachers"] == 0 for config in configs)
    first = (tmp_path / "run" / "teachers" / "1" / "model.keras").stat().st_mtime_ns
    # Killed while the second teacher was in training: it is begun again, the first is not.
    shutil.rmtree(tmp_path / "run" / "teachers" / "2")
    again = replace(taught, epochs=2)
    assert fit(dataset, again, tmp_path / "run", spec=InputSpec(), workers=alone, seed=7, resume=True, verbose=0)
    assert (tmp_path / "run" / "teachers" / "1" / "model.keras").stat().st_mtime_ns == first
    assert (tmp_path / "run" / "teachers" / "2" / "model.keras").exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 2


def test_teachers_may_have_a_recipe_of_their_own() -> None:
    reference = load_recipe(find_recipe("reference"))
    student = Recipe(arch="compact", precision="float32", distillation=Distillation(2, 0.5, "reference"))
    assert teacher_recipe(student) == replace(reference, precision="float32")
    assert teacher_recipe(replace(student, distillation=Distillation(2))) == replace(
        student, distillation=Distillation()
    )


def test_several_machines_are_refused(dataset: Dataset, recipe: Recipe, alone: Workers, tmp_path: Path) -> None:
    taught = replace(recipe, distillation=Distillation(teachers=1))
    with pytest.raises(ConfigError, match="a recipe with teachers is for one machine"):
        fit(dataset, taught, tmp_path / "run", spec=InputSpec(), workers=replace(alone, shard=(0, 2)), verbose=0)
