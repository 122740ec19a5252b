"""Shared by all tests: a small model bundle, real faces and videos where they can be had."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "edge"))  # for patterns and faces, from anywhere

from faces import scene, write_video
from patterns import LABELS

ASSETS = Path(__file__).parent / "edge" / "assets"

MakeBundle = Callable[..., Path]


def write_bundle(folder: Path, kind: str = "int8", model: bytes | None = None, **card: object) -> Path:
    """A bundle of a tiny model (kind int8 or float); keywords replace the card's values."""
    folder.mkdir(parents=True)
    if model is None:
        model = (ASSETS / f"tiny_{kind}.tflite").read_bytes()
    values = {
        "name": "tiny",
        "version": "1",
        "labels": list(LABELS),
        "input": {"height": 48, "width": 48, "channels": 1, "scale": 1 / 255, "offset": 0.0},
        "sha256": hashlib.sha256(model).hexdigest(),
        "quantization": "int8" if kind == "int8" else "none",
        **card,
    }
    (folder / "model.tflite").write_bytes(model)
    (folder / "card.json").write_text(json.dumps(values))
    return folder


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Makes bundles in the test's folder: ``make_bundle("name", labels=[…])``."""
    return lambda folder="bundle", **options: write_bundle(tmp_path / folder, **options)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good bundle of a tiny int8 model."""
    return write_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real face videos, which are not part of the project."""
    root = os.environ.get("MIEN_SHARED_DATA")
    if not root:
        pytest.skip("MIEN_SHARED_DATA is not set: it names a folder with media/ (face videos) and data/ (FER2013)")
    return Path(root) / "media"


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """uint8 [512, 512, 3], B, G, R: a photograph with one frontal, smiling face."""
    try:
        data = importlib.import_module("skimage.data")
    except ImportError:
        pytest.skip("scikit-image is not installed: pip install 'mien[demo]'")
    return np.ascontiguousarray(data.astronaut()[:, :, ::-1])


@pytest.fixture(scope="session")
def face_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 frames, 10 a second, 320×240: one drawn face moves right, from the sixth frame on a second one stands."""
    images = [scene((20 + 4 * i, 60, 90), *([(210, 80, 70)] if i >= 5 else [])) for i in range(12)]
    return write_video(tmp_path_factory.mktemp("videos") / "faces.avi", images, rate=10)
