"""The engine torch, in a process of its own: Keras computes with one library in a process."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from mien.train.model import ARCHITECTURES, build

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="needs PyTorch, which is installed by hand"),
    pytest.mark.slow,
]

RECIPE = """arch = "compact"
epochs = 3
batch_size = 8
learning_rate = 0.003
weight_decay = 0.02
label_smoothing = 0.1
schedule = "cosine"
warmup_epochs = 1
early_stopping = 0
monitor = "last"
ema = 0.9
precision = "float32"

[augmentation]
rotation = 5
shear = 0
zoom = 0
shift = 0.02
flip = false
light = 0.1
erase = 0.1
mixup = 0.3
cutmix = 0.3
"""


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("mien-train")), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def history(out: Path) -> list[dict[str, float]]:
    with (out / "history.csv").open() as stream:
        return [{k: float(v) for k, v in row.items() if k != "seconds"} for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "mine.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, blobs: Path, recipe: Path) -> Path:
    out = tmp_path_factory.mktemp("torch") / "run"
    result = run("fit", "--data", blobs, "--out", out, "--recipe", recipe, "--engine", "torch", "--epochs", 8)
    assert result.returncode == 0, result.stderr
    return out


def test_it_learns_and_leaves_what_the_other_engine_leaves(teacher: Path) -> None:
    metrics = json.loads((teacher / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.6  # five classes: chance is 0.2
    assert json.loads((teacher / "config.json").read_text())["engine"] == "torch"
    rows = history(teacher)
    assert len(rows) == 8 and rows[-1]["loss"] < rows[0]["loss"]
    assert rows[-1]["val_accuracy"] == pytest.approx(metrics["accuracy"], abs=1e-4)
    assert {"model.keras", "curves.png", "confusion.png", "samples.png"} < {file.name for file in teacher.iterdir()}


def test_its_network_is_the_same_in_tensorflow(teacher: Path, dataset: object) -> None:
    from mien.edge.bundle import InputSpec
    from mien.train.fit import predict

    model = keras.models.load_model(teacher / "model.keras")
    faces = dataset.splits["validation"]  # type: ignore[attr-defined]
    scores = predict(model, faces, InputSpec())
    right = float((scores.argmax(1) == faces.labels).mean())
    assert right == pytest.approx(json.loads((teacher / "metrics.json").read_text())["accuracy"], abs=1e-4)


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(blobs: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = ("fit", "--data", blobs, "--recipe", recipe, "--engine", "torch", "--epochs", 5, "--out")
    assert run(*arguments, tmp_path / "whole").returncode == 0
    command = [str(Path(sys.executable).with_name("mien-train")), *map(str, arguments), str(tmp_path / "cut")]
    cut = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert cut.stdout is not None
    for line in cut.stdout:
        if "epoch 2 of 5" in line:
            break
    cut.kill()
    cut.wait()
    assert 2 <= len(history(tmp_path / "cut")) < 5
    assert run(*arguments, tmp_path / "cut", "--resume").returncode == 0
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    assert [file.suffix for file in (tmp_path / "cut" / "state").glob("epoch-*")] == [".pt"]


def test_it_learns_from_teachers_that_know_more_classes(
    teacher: Path, blobs: Path, recipe: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "taught.toml"
    mine.write_text(recipe.read_text() + f'[distillation]\nteachers = ["{recipe}"]\nclasses = "five"\n')
    result = run(
        *("fit", "--data", blobs, "--out", tmp_path / "run", "--recipe", mine, "--engine", "torch"),
        *("--teacher", teacher, "--classes", "happy,sad,neutral", "--epochs", 6),
    )
    assert result.returncode == 0, result.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["classes"] == ["happy", "sad", "neutral"]
    assert config["teachers"][0]["classes"] == ["angry", "happy", "neutral", "sad", "surprise"]
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["accuracy"] > 0.6


def test_a_bundled_model_may_teach(blobs: Path) -> None:
    program = f"""
import numpy as np
import torch
from pathlib import Path
from mien.edge.bundle import Bundle, InputSpec, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.dataset import read_dataset
from mien.train.augment import Augmentation
from mien.train.engine import Job
from mien.train.recipe import Recipe
from mien.train.torch_engine import _Feed

data = read_dataset(Path({str(blobs)!r}), "five")
still = Augmentation(rotation=0, shear=0, zoom=0, shift=0, flip=False)
recipe = Recipe(batch_size=8, augmentation=still)
faces, small = data.splits["train"], Path("mien-small")
nothing = np.zeros((len(faces), 5), np.float32)
job = Job(recipe, InputSpec(), data.classes, faces, nothing, (small,), data.splits["validation"], 0)
feed = _Feed(job, torch.device("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=False))
classifier = Classifier(Bundle.load(find_bundle("mien-small")))
assert classifier.labels == data.classes
seen = 0
for scaled, targets in feed.epoch(0):
    pixels = np.rint(scaled.numpy()[:, 0] * 255).astype(np.uint8)
    assert np.abs(classifier.scores(pixels) - targets.numpy()).max() < 1e-5
    seen += len(pixels)
assert seen == job.steps * 8 > 0
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr


def test_a_face_is_read_by_one_of_the_teachers_and_not_mixed_in_the_last_epochs(blobs: Path) -> None:
    program = f"""
import numpy as np
import torch
from pathlib import Path
from mien.edge.bundle import Bundle, InputSpec, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.dataset import read_dataset
from mien.train.augment import Augmentation
from mien.train.engine import Job
from mien.train.recipe import Recipe
from mien.train.torch_engine import _Feed

data = read_dataset(Path({str(blobs)!r}), "five")
still = Augmentation(rotation=0, shear=0, zoom=0, shift=0, flip=False, mixup=1)
recipe = Recipe(batch_size=8, epochs=2, unmixed_epochs=1, augmentation=still)
faces, names = data.splits["train"], ("mien-small", "mien-base")
nothing = np.zeros((len(faces), 5), np.float32)
job = Job(recipe, InputSpec(), data.classes, faces, nothing, tuple(map(Path, names)), data.splits["validation"], 0)
feed = _Feed(job, torch.device("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=False))
readers = [Classifier(Bundle.load(find_bundle(name))) for name in names]
known = {{face.tobytes() for face in faces.images}}
for epoch in range(2):
    whole = 0
    for scaled, targets in feed.epoch(epoch):
        pixels = np.rint(scaled.numpy()[:, 0] * 255).astype(np.uint8)
        whole += sum(face.tobytes() in known for face in pixels)
        if epoch == 1:
            apart = [np.abs(reader.scores(pixels) - targets.numpy()).max(axis=1) for reader in readers]
            assert np.minimum(*apart).max() < 1e-5
            assert [int((distance < 1e-5).sum()) for distance in apart] == [4, 4]
    assert whole == job.steps * 8 if epoch else whole < job.steps * 8 / 2, (epoch, whole)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr


def test_a_teacher_sees_faces_that_were_not_moved_softer(blobs: Path) -> None:
    program = f"""
import cv2
import numpy as np
import torch
from pathlib import Path
from mien.edge.bundle import Bundle, InputSpec, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.dataset import read_dataset
from mien.train.augment import Augmentation
from mien.train.engine import Job
from mien.train.recipe import Distillation, Recipe
from mien.train.torch_engine import _Feed

data = read_dataset(Path({str(blobs)!r}), "five")
how = Augmentation(flip=False, still=1)
recipe = Recipe(batch_size=8, augmentation=how, distillation=Distillation(("small",), 1, blur=0.5))
faces, small = data.splits["train"], Path("mien-small")
nothing = np.zeros((len(faces), 5), np.float32)
job = Job(recipe, InputSpec(), data.classes, faces, nothing, (small,), data.splits["validation"], 0)
feed = _Feed(job, torch.device("cpu"), torch.autocast("cpu", torch.bfloat16, enabled=False))
classifier = Classifier(Bundle.load(find_bundle("mien-small")))
for scaled, targets in feed.epoch(0):
    assert scaled.shape == (8, 1, 48, 48)
    sharp = scaled.numpy()[:, 0] * 255
    soft = np.array([cv2.GaussianBlur(face, (3, 3), 0.5, borderType=cv2.BORDER_REPLICATE) for face in sharp])
    readings = [classifier.scores(np.rint(seen).astype(np.uint8)) for seen in (soft, sharp)]
    off = [np.abs(reading - targets.numpy()).max(axis=1) for reading in readings]
    assert np.median(off[0]) < 1e-5 < np.median(off[1]), off  # a pixel halfway between two may be rounded to either
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr


def test_the_references_schedule_stops_early_and_stays_stopped(blobs: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.toml"
    recipe.write_text(
        'arch = "compact"\nepochs = 9\nbatch_size = 8\nlearning_rate = 1e-9\nplateau_patience = 1\n'
        'early_stopping = 2\nprecision = "float32"\n'
    )
    arguments = ("fit", "--data", blobs, "--recipe", recipe, "--engine", "torch", "--out", tmp_path / "run")
    assert run(*arguments).returncode == 0
    rows = history(tmp_path / "run")
    assert len(rows) < 9 and rows[-1]["learning_rate"] < 1e-9  # it can't learn: the rate falls and it gives up
    assert run(*arguments, "--resume").returncode == 0
    assert history(tmp_path / "run") == rows


def test_what_it_cannot_do_is_said(blobs: Path, tmp_path: Path) -> None:
    arguments = ("fit", "--data", blobs, "--out", tmp_path / "run")
    for more, why in (
        (("--engine", "jax"), "unknown engine 'jax': choose tensorflow or torch"),
        (("--engine", "torch", "--strategy", "mirrored"), "the engine torch trains in one process"),
        (("--teacher", tmp_path, "--recipe", "compact"), "--teacher is for a recipe with [distillation]"),
    ):
        result = run(*arguments, *more)
        assert result.returncode == 1 and why in result.stderr and result.stderr.count("\n") == 1, result.stderr


_TWINS = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np, torch
from mien.train.torch_network import TorchNetwork
for path in sys.argv[1:]:
    model = keras.models.load_model(path + ".keras")
    twin = TorchNetwork(model).eval()
    faces = torch.from_numpy(np.load(path + ".npy"))
    with torch.no_grad():
        scores = twin(faces.permute(0, 3, 1, 2)).softmax(1).numpy()
    wanted = np.load(path + ".wanted.npy")
    print(model.name, float(np.abs(scores - wanted).max()))
    before = model.get_weights()
    twin.save(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights()))
"""


def test_every_network_has_a_twin(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    paths = []
    for name in ARCHITECTURES:
        model = build(name, (50, 46, 1), 5)  # sizes whose halves are odd: padding differs between libraries there
        model.set_weights([w + rng.uniform(0, 0.2, w.shape).astype(np.float32) for w in model.get_weights()])
        faces = rng.random((3, 50, 46, 1), dtype=np.float32)
        paths.append(str(tmp_path / name))
        model.save(paths[-1] + ".keras")
        np.save(paths[-1] + ".npy", faces)
        np.save(paths[-1] + ".wanted.npy", model.predict(faces, verbose=0))
    result = subprocess.run([sys.executable, "-c", _TWINS, *paths], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    differences = dict(line.split() for line in result.stdout.splitlines())
    assert set(differences) == set(ARCHITECTURES)
    assert max(map(float, differences.values())) < 1e-4, differences


def test_it_mirrors_weights_as_the_other_engine_does() -> None:
    program = """
import numpy as np
from mien.train.mirror import mirror
from mien.train.model import build
from mien.train.torch_network import TorchNetwork

for arch in ("base", "small"):
    model = build(arch, (48, 48, 1), 5)
    rng = np.random.default_rng(0)
    model.set_weights([w + rng.uniform(0, 0.2, w.shape) for w in model.get_weights()])
    twin = TorchNetwork(model)
    twin.mirror()
    mirror(model)
    wanted = model.get_weights()
    twin.save(model)
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(wanted, model.get_weights(), strict=True))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr


def test_muon_steps_as_the_other_engine_does() -> None:
    program = """
import numpy as np
import torch
from mien.train.mirror import keep_mirrored
from mien.train.model import build
from mien.train.muon import Muon
from mien.train.recipe import Recipe
from mien.train.torch_muon import TorchMuon
from mien.train.torch_network import TorchNetwork

for arch, mirrored in (("base", True), ("separable", False)):
    model = build(arch, (48, 48, 1), 5)
    if mirrored:
        keep_mirrored(model)
    twin = TorchNetwork(model).to(memory_format=torch.channels_last)
    before = model.get_weights()
    rng = np.random.default_rng(0)
    recipe = Recipe(optimizer="muon", learning_rate=0.01, weight_decay=0.1, mirror=mirrored)
    ours, keras_own = TorchMuon(twin, recipe), Muon(0.01, weight_decay=0.1, adam_weight_decay=0.1)
    keras_own.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    for _ in range(2):
        ours.zero_grad()
        slopes = []
        for step, layer in zip(twin.steps, model.layers[1:], strict=True):  # the first is the input
            for tensor, weight in zip(step.tensors(), layer.trainable_weights):
                slope = rng.normal(size=weight.shape).astype(np.float32)
                slopes.append(torch.from_numpy(slope))
                tensor.grad = torch.empty_like(tensor).copy_(slopes[-1].permute(*step.order(slope.ndim)))
        ours.step()
        if mirrored:
            twin.mirror()
        with torch.no_grad():
            keras_own.apply(slopes, model.trainable_weights)
    wanted = model.get_weights()
    twin.save(model)
    for old, a, b in zip(before, wanted, model.get_weights(), strict=True):
        moved = np.abs(a - old).max()
        assert np.abs(a - b).max() <= 0.05 * moved, (arch, a.shape, np.abs(a - b).max(), moved)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr


def test_a_run_leaves_a_mirrored_network(blobs: Path, recipe: Path, tmp_path: Path) -> None:
    arguments = ("fit", "--data", blobs, "--recipe", recipe, "--engine", "torch", "--arch", "small", "--epochs", 2)
    result = run(*arguments, "--set", "mirror=true", "--set", "optimizer=muon", "--out", tmp_path / "run")
    assert result.returncode == 0, result.stderr
    model = keras.models.load_model(tmp_path / "run" / "model.keras")
    faces = np.random.default_rng(1).random((8, 48, 48, 1), np.float32)
    straight, mirrored = (model.predict(view, verbose=0) for view in (faces, faces[:, :, ::-1].copy()))
    assert np.ptp(straight, axis=0).max() > 1e-3
    assert straight == pytest.approx(mirrored, abs=1e-5)


def test_its_augmentation_is_the_other_engines() -> None:
    program = """
import torch
from mien.train.augment import Augment, Augmentation, RandomCamera
from mien.train.torch_augment import TorchAugment

torch.manual_seed(5)
images, draws = torch.rand(64, 48, 40, 1) * 255, torch.rand(64, Augment.DRAWS)
for how in (Augmentation(), Augmentation(shear=20, light=0.2, erase=0.5), Augmentation(flip=False, still=0.5)):
    difference = TorchAugment(how)(images, draws) - Augment(how)(images, draws)
    assert difference.abs().max() < 0.05, difference.abs().max()
camera, draws = RandomCamera(Augmentation(camera=0.5)), torch.rand(64, RandomCamera.DRAWS)
assert (camera(images, draws) != images).flatten(1).any(1).equal(draws[:, 0] < 0.5)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "KERAS_BACKEND": "torch"}
    )
    assert done.returncode == 0, done.stderr
