"""A small network trained for a moment on pictures that can be learned, and a hand to run the command with."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

CLASSES = ("happy", "sad", "surprise")
SIZE = 16
"""Pixels; the face's height and width."""
TRAINING = {"happy": 260, "sad": 200, "surprise": 170}
VALIDATION = 100
"""Faces of each class."""


def draw_face(rng: np.random.Generator, kind: int) -> np.ndarray:
    """uint8 [SIZE, SIZE]: a bright spot whose place tells the class, on noise that makes some of them hard."""
    face = rng.normal(90, 45, (SIZE, SIZE))
    row, column = ((4, 4), (11, 4), (8, 11))[kind] + rng.integers(-2, 3, 2)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    face += rng.uniform(30, 130) * np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)
    return np.clip(face, 0, 255).astype(np.uint8)


def write_faces(folder: Path, counts: Iterable[tuple[str, int]], draw: Callable[[int], np.ndarray]) -> None:
    """Writes count faces of each class as folder/class/number.png; `draw` takes the class number."""
    for label, count in counts:
        (folder / label).mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / label / f"{i}.png"), draw(CLASSES.index(label)))


@dataclass(frozen=True)
class Trained:
    """A trained network, and the data it was trained on."""

    model: Path
    data: Path


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder tree train/class/*.png and validation/class/*.png."""
    folder = tmp_path_factory.mktemp("convert") / "faces"
    rng = np.random.default_rng(1)
    write_faces(folder / "train", TRAINING.items(), lambda kind: draw_face(rng, kind))
    write_faces(folder / "validation", dict.fromkeys(CLASSES, VALIDATION).items(), lambda kind: draw_face(rng, kind))
    return folder


@pytest.fixture(scope="session")
def trained(data: Path) -> Trained:
    """The network after three epochs, saved as training saves it, with both orders of BatchNorm and ReLU."""
    from mien.convert.network import import_keras
    from mien.edge.dataset import read_dataset

    keras = import_keras()
    layers = keras.layers
    keras.utils.set_random_seed(3)
    faces = read_dataset(data, ",".join(CLASSES), height=SIZE, width=SIZE)
    network = keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 1)),
            layers.Conv2D(8, 3, padding="same"),
            layers.ReLU(),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Conv2D(16, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(16),
            layers.ReLU(),
            layers.BatchNormalization(),
            layers.Dense(len(CLASSES)),
            layers.Softmax(),
        ],
        name="spots",
    )
    network.compile("adam", loss="sparse_categorical_crossentropy")
    train = faces.splits["train"]
    network.fit(train.images[..., None] / 255.0, train.labels, batch_size=16, epochs=5, verbose=0)
    model = data.parent / "run" / "model.keras"
    model.parent.mkdir()
    network.save(model)
    write_config(model.parent, data={"name": "faces", "fingerprint": faces.fingerprint})
    return Trained(model, data)


def write_config(folder: Path, **values: Any) -> None:
    """config.json as training writes it; keywords replace values, None leaves one out."""
    config: dict[str, Any] = {
        "arch": "spots",
        "recipe": {"epochs": 5},
        "classes": list(CLASSES),
        "input": {"height": SIZE, "width": SIZE, "channels": 1, "scale": 1 / 255, "offset": 0.0},
        "seed": 3,
        "data": {"name": "faces", "fingerprint": "0"},
        "versions": {"keras": "3"},
    }
    config |= values
    (folder / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Runs ``mien-convert`` in this process: ``command("check", folder)`` has exit_code, stdout and stderr."""
    from typer.testing import CliRunner

    from mien.convert.main import app

    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: CliRunner().invoke(
        app, [str(argument) for argument in arguments], prog_name="mien-convert"
    )


@pytest.fixture
def old_python() -> str:
    """A Python that has tflite-runtime 2.14."""
    python = os.environ.get("MIEN_TFLITE214_PYTHON")
    if not python:
        pytest.skip("MIEN_TFLITE214_PYTHON is not set: it names a Python with tflite-runtime 2.14 and NumPy 1")
    return python
