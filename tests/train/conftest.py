"""A small data set that a network can learn in seconds, and a recipe that does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="training needs TensorFlow: pip install 'mien[train]'")

from mien.edge.bundle import InputSpec
from mien.edge.dataset import FIVE_CLASSES, Dataset
from mien.train.augment import Augmentation
from mien.train.data import read_for_training
from mien.train.distribute import choose_workers
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import TensorflowEngine

STILL = Augmentation(rotation=0, shear=0, zoom=0, shift=0, flip=False)


def write_blobs(path: Path, train: int = 24, validation: int = 8, seed: int = 0) -> Path:
    """A folder tree split/class/image; each class has a bright spot in its own place on noise."""
    rng = np.random.default_rng(seed)
    places = [(12, 12), (12, 36), (24, 24), (36, 12), (36, 36)]
    for split, count in (("train", train), ("validation", validation)):
        for label, place in zip(FIVE_CLASSES, places, strict=True):
            (path / split / label).mkdir(parents=True)
            for i in range(count):
                face = rng.integers(0, 120, (48, 48)).astype(np.uint8)
                cv2.circle(face, place, int(rng.integers(5, 9)), int(rng.integers(160, 256)), -1)
                cv2.imwrite(str(path / split / label / f"{i}.png"), face)
    return path


@pytest.fixture(scope="session")
def write_data() -> Callable[..., Path]:
    return write_blobs


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_blobs(tmp_path_factory.mktemp("data") / "blobs")


@pytest.fixture(scope="session")
def dataset(blobs: Path) -> Dataset:
    return read_for_training(blobs, "five", InputSpec())


@pytest.fixture
def recipe() -> Recipe:
    return replace(Recipe(arch="compact", epochs=3, precision="float32"), augmentation=STILL)


@pytest.fixture(scope="session")
def alone() -> TensorflowEngine:
    return TensorflowEngine(choose_workers("single"))
