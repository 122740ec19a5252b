"""Networks that learn from networks."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from mien.edge.bundle import Bundle, InputSpec, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError
from mien.train.augment import Augmentation
from mien.train.batches import training_batches
from mien.train.distill import beside_softened, describe_teacher, known, smoothed, teacher_recipe
from mien.train.fit import fit
from mien.train.recipe import Distillation, Recipe, find_recipe, load_recipe
from mien.train.tensorflow_engine import Teachers, TensorflowEngine

STILL = Augmentation(rotation=0, shear=0, zoom=0, shift=0, flip=False)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, alone: TensorflowEngine) -> Path:
    """A finished run of one epoch."""
    out = tmp_path_factory.mktemp("runs") / "teacher"
    recipe = Recipe(arch="compact", epochs=1, precision="float32")
    fit(dataset, recipe, out, spec=InputSpec(), engine=alone, verbose=0)
    return out


def test_smoothing_worked_out_by_hand() -> None:
    rows = smoothed(np.array([1, 0]), 4, 0.2)
    assert rows.dtype == np.float32
    assert rows == pytest.approx(np.array([[0.05, 0.85, 0.05, 0.05], [0.85, 0.05, 0.05, 0.05]]))


def some_draws(count: int) -> np.ndarray:
    """Float32 [count] of 0 to 1: who reads which face."""
    return np.random.default_rng(0).random(count, dtype=np.float32)


def test_a_teacher_says_what_it_says_alone(dataset: Dataset, teacher: Path) -> None:
    pixels = dataset.splits["train"].images[..., np.newaxis].astype(np.float32)
    draws = some_draws(len(pixels))
    reading = keras.models.load_model(teacher / "model.keras").predict(pixels / 255, verbose=0)
    keras.config.set_dtype_policy("float32")
    once = np.asarray(Teachers([teacher], dataset.classes, InputSpec())(pixels, draws))
    assert once == pytest.approx(reading, abs=1e-5)
    twice = Teachers([teacher, teacher], dataset.classes, InputSpec())(pixels, draws)
    assert np.asarray(twice) == pytest.approx(once, abs=1e-6)
    # Asked for some of its classes only, it says which of those it is.
    three = np.asarray(Teachers([teacher], ("happy", "angry", "sad"), InputSpec())(pixels, draws))
    some = reading[:, [1, 0, 3]]
    assert three == pytest.approx(some / some.sum(axis=1, keepdims=True), abs=1e-5)
    with pytest.raises(ConfigError, match="a teacher doesn't know the class fear"):
        Teachers([teacher], ("happy", "fear"), InputSpec())
    with pytest.raises(ConfigError, match="reads faces of 48×48 pixels, its student of 64×64: take another"):
        Teachers([teacher], ("happy",), InputSpec(64, 64))


def test_a_bundle_and_a_run_may_teach_each_its_share_of_the_faces(dataset: Dataset, teacher: Path) -> None:
    faces = dataset.splits["train"].images[:119]
    pixels = faces[..., np.newaxis].astype(np.float32)
    bundle = Bundle.load(find_bundle("mien-small"))
    own = Classifier(bundle).scores(faces)
    chosen = [bundle.card.labels.index(label) for label in dataset.classes]
    draws = some_draws(len(faces))
    run = np.asarray(Teachers([teacher], dataset.classes, InputSpec())(pixels, draws))
    both = Teachers([Path("mien-small"), teacher], dataset.classes, InputSpec())
    is_first = draws < np.sort(draws)[60]
    expected = np.where(is_first[:, None], own[:, chosen], run)
    assert np.asarray(both(pixels, draws)) == pytest.approx(expected, abs=1e-5)
    described = describe_teacher(Path("mien-small"))
    assert (described["bundle"], described["sha256"]) == ("mien-small", bundle.card.sha256)
    assert described["accuracy"] == bundle.card.metrics["quantized"]["accuracy"]
    # In the pipeline, where several threads make batches.
    batches = training_batches(
        dataset.splits["train"], 16, 5, InputSpec(), STILL, seed=0, targets=np.zeros((120, 5), np.float32), teach=both
    )
    alone = [Teachers([path], dataset.classes, InputSpec()) for path in (Path("mien-small"), teacher)]
    shares = []
    for scaled, taught in batches.take(8):
        each = [np.asarray(one(np.asarray(scaled) * 255, some_draws(16))) for one in alone]
        said = np.array([np.abs(one - taught).max(axis=1) < 1e-5 for one in each])
        assert said.any(axis=0).all() and said.sum(axis=1).tolist() == [8, 8]
        shares.append(tuple(said[0]))
    assert len(set(shares)) > 1  # others in each batch


def test_a_bundle_that_is_sure_of_another_class_still_teaches(monkeypatch: pytest.MonkeyPatch) -> None:
    sure = np.array([[1, 0, 0, 0, 0]], np.float32)  # as an int8 softmax says it
    monkeypatch.setattr(Classifier, "scores", lambda self, faces: np.repeat(sure, len(faces), axis=0))
    three = Teachers([Path("mien-small")], ("happy", "neutral", "sad"), InputSpec())
    said = three(np.zeros((2, 48, 48, 1), np.float32), some_draws(2))
    assert np.asarray(said) == pytest.approx(np.full((2, 3), 1 / 3), abs=1e-5)


def test_what_is_known_of_faces_of_other_classes(dataset: Dataset) -> None:
    recipe = Recipe(label_smoothing=0.1, distillation=Distillation(("base",), 0.75))
    rows = known(dataset, ("sad", "happy"), recipe)
    labels = dataset.splits["train"].labels
    assert rows.shape == (len(labels), 2) and rows.dtype == np.float32
    assert rows[labels == dataset.classes.index("sad")] == pytest.approx(0.25 * np.array([[0.95, 0.05]] * 24))
    assert not rows[labels == dataset.classes.index("neutral")].any()  # all of it is the teachers'
    alone = known(dataset, dataset.classes, Recipe())
    assert alone == pytest.approx(np.eye(5)[labels])


def test_teachers_see_faces_that_were_not_moved_softer(dataset: Dataset) -> None:
    faces = dataset.splits["train"].images[:8].astype(np.float32)
    still = np.arange(8) % 2 == 0
    shown, seen = np.moveaxis(np.asarray(beside_softened(faces[..., None], still, 0.5)), -1, 0)
    assert (shown == faces).all() and (seen[~still] == faces[~still]).all()
    soft = [cv2.GaussianBlur(face, (3, 3), 0.5, borderType=cv2.BORDER_REPLICATE) for face in faces[still]]
    assert seen[still] == pytest.approx(np.array(soft), abs=1e-2)
    assert np.abs(seen[still] - faces[still]).max() > 5


def test_softened_faces_are_mixed_as_the_sharp_ones(dataset: Dataset) -> None:
    how = replace(STILL, still=1, mixup=1, cutmix=1)
    faces = dataset.splits["train"]
    teaching = {"targets": np.zeros((len(faces), 5), np.float32), "teach": lambda seen, _: seen[:, 20, 20:25, 0]}
    batches = training_batches(faces, 16, 5, InputSpec(), how, seed=0, **teaching, blur=0.5)
    pixels, taught = (np.asarray(each) for each in next(iter(batches)))
    assert pixels.shape == (16, 48, 48, 1)
    shown = pixels[..., 0] * 255
    # Blending and blurring are both sums, so that their order is all one; but for the row where one face ends.
    soft = np.array([cv2.GaussianBlur(face, (3, 3), 0.5) for face in shown])[:, 20, 20:25]
    off = np.abs(taught - soft).max(axis=1)
    assert np.median(off) < 0.05
    assert np.abs(taught - shown[:, 20, 20:25]).max() > 5


def test_batches_have_the_teachers_share(dataset: Dataset, teacher: Path) -> None:
    faces = dataset.splits["train"]
    targets = known(dataset, dataset.classes, Recipe(distillation=Distillation(("base",), 0.75)))
    teach = Teachers([teacher], dataset.classes, InputSpec())
    batch = training_batches(faces, 16, 5, InputSpec(), STILL, seed=0, targets=targets, teach=teach)
    pixels, taught = next(iter(batch))
    plain = next(iter(training_batches(faces, 16, 5, InputSpec(), STILL, seed=0, targets=targets)))
    reading = np.asarray(teach(np.asarray(pixels) * 255, some_draws(16)))
    assert np.asarray(taught) == pytest.approx(np.asarray(plain[1]) + 0.75 * reading, abs=1e-5)
    # What a camera does to a face comes after the teachers have read it.
    bad = replace(STILL, camera=1)
    spoilt, same = next(iter(training_batches(faces, 16, 5, InputSpec(), bad, seed=0, targets=targets, teach=teach)))
    assert np.abs(np.asarray(spoilt) - np.asarray(pixels)).mean(axis=(1, 2, 3)).max() > 0.02
    assert np.asarray(same) == pytest.approx(np.asarray(taught), abs=1e-5)


def test_teachers_are_trained_first_and_only_once(
    dataset: Dataset, recipe: Recipe, alone: TensorflowEngine, tmp_path: Path
) -> None:
    for name in ("first", "second"):
        (tmp_path / f"{name}.toml").write_text('arch = "compact"\nepochs = 1\nbatch_size = 32\n')
    names = tuple(str(tmp_path / f"{name}.toml") for name in ("first", "second"))
    taught = replace(recipe, epochs=1, distillation=Distillation(names, 0.5))
    fit(dataset, taught, tmp_path / "run", spec=InputSpec(), engine=alone, seed=7, verbose=0)
    configs = [json.loads((tmp_path / "run" / "teachers" / k / "config.json").read_text()) for k in ("1", "2")]
    assert [config["seed"] for config in configs] == [8, 9]
    assert all(config["recipe"]["distillation"]["teachers"] == [] for config in configs)
    first = (tmp_path / "run" / "teachers" / "1" / "model.keras").stat().st_mtime_ns
    # Killed while the second teacher was in training: it is begun again, the first is not.
    shutil.rmtree(tmp_path / "run" / "teachers" / "2")
    again = replace(taught, epochs=2)
    assert fit(dataset, again, tmp_path / "run", spec=InputSpec(), engine=alone, seed=7, resume=True, verbose=0)
    assert (tmp_path / "run" / "teachers" / "1" / "model.keras").stat().st_mtime_ns == first
    assert (tmp_path / "run" / "teachers" / "2" / "model.keras").exists()
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["epochs"] == 2


@pytest.mark.slow
def test_a_finished_run_may_teach(
    dataset: Dataset, recipe: Recipe, alone: TensorflowEngine, teacher: Path, tmp_path: Path
) -> None:
    taught = replace(recipe, epochs=1, distillation=Distillation(("base",), 0.5))
    run = tmp_path / "run"
    fit(dataset, taught, run, spec=InputSpec(), engine=alone, verbose=0, teachers=[teacher])
    assert not (run / "teachers").exists()
    (about,) = json.loads((run / "config.json").read_text())["teachers"]
    assert about["arch"] == "compact" and about["seed"] == 0 and 0 <= about["accuracy"] <= 1
    with pytest.raises(ConfigError, match=r"holds no finished run to learn from .*: finish it with --resume"):
        fit(dataset, taught, tmp_path / "b", spec=InputSpec(), engine=alone, verbose=0, teachers=[tmp_path])


def test_teachers_have_recipes_of_their_own() -> None:
    reference = load_recipe(find_recipe("reference"))
    student = Recipe(arch="compact", precision="float32", distillation=Distillation(("reference",), 0.5))
    assert teacher_recipe(student, "reference") == replace(reference, precision="float32")
    small = load_recipe(find_recipe("small"))
    assert teacher_recipe(student, "small") == replace(
        small, precision="float32", crop=student.crop, distillation=Distillation()
    )


def test_several_machines_are_refused(
    dataset: Dataset, recipe: Recipe, alone: TensorflowEngine, tmp_path: Path
) -> None:
    taught = replace(recipe, distillation=Distillation(("base",)))
    many = TensorflowEngine(replace(alone.workers, shard=(0, 2)))
    with pytest.raises(ConfigError, match="a recipe with teachers is for one machine"):
        fit(dataset, taught, tmp_path / "run", spec=InputSpec(), engine=many, verbose=0)
