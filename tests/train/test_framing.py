"""mien-train crop, on two real photographs whose faces are framed in a way that is known."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from mien.edge.bundle import Crop
from mien.edge.demo import _PHOTOGRAPHS, find_photograph
from mien.edge.detector import HaarDetector
from mien.edge.preprocess import crop_face, part_of
from mien.edge.sources.pictures import read_picture
from mien.train.framing import measure_eyes
from mien.train.main import app

FRAMED = Crop(1.25, 0.03, 0.06)


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    return [cv2.cvtColor(read_picture(find_photograph(*each)), cv2.COLOR_BGR2GRAY) for each in _PHOTOGRAPHS]


@pytest.fixture(scope="module")
def portraits(photographs: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of the two faces, each cut as FRAMED says, in many brightnesses."""
    root = tmp_path_factory.mktemp("portraits")
    for number, gray in enumerate(photographs):
        box = max(HaarDetector().detect(gray), key=lambda box: box.width)
        face = crop_face(gray, part_of(box, FRAMED), 48, 48)
        for label in ("happy", "sad"):
            folder = root / "train" / label
            folder.mkdir(parents=True, exist_ok=True)
            for i in range(15):
                dimmed = np.clip(face * (0.6 + i / 40), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{number}-{i}.png"), dimmed)
    return root


def test_the_framing_is_found_again(portraits: Path, photographs: list[np.ndarray], tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 10, (512, 512))
    for _ in range(25):
        writer.write(cv2.cvtColor(photographs[0], cv2.COLOR_GRAY2BGR))
    writer.release()
    result = CliRunner().invoke(app, ["crop", "--data", str(portraits), str(film), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["faces"] == 54 and found["found"] >= 40, "a tenth is set aside for validation"
    assert found["crop"]["scale"] == pytest.approx(FRAMED.scale, abs=0.08)
    assert found["crop"]["dx"] == pytest.approx(FRAMED.dx, abs=0.04)
    assert found["crop"]["dy"] == pytest.approx(FRAMED.dy, abs=0.04)
    assert set(found["eyes"]) == {portraits.name, "film.avi"}


def test_faces_without_a_framing_are_refused(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    for label in ("happy", "sad"):
        (tmp_path / "train" / label).mkdir(parents=True)
        for i in range(15):
            cv2.imwrite(str(tmp_path / "train" / label / f"{i}.png"), noise.integers(0, 256, (48, 48)).astype(np.uint8))
    result = CliRunner().invoke(app, ["crop", "--data", str(tmp_path)])
    assert result.exit_code == 1 and "pictures: too few to measure" in result.stderr


def test_eyes_are_found_where_they_are(photographs: list[np.ndarray]) -> None:
    """In Grace Hopper's face, which looks straight at the camera."""
    box = HaarDetector().detect(photographs[1])[0]
    face = crop_face(photographs[1], box, 96, 96)
    faces = [np.clip(face * (0.7 + i / 50), 0, 255).astype(np.uint8) for i in range(24)]
    eyes = measure_eyes(faces)
    assert eyes is not None
    assert eyes.x == pytest.approx(0.5, abs=0.05) and eyes.y == pytest.approx(0.4, abs=0.06)
    assert 0.3 < eyes.distance < 0.45
    assert measure_eyes(faces[:3]) is None, "three faces make no median"
