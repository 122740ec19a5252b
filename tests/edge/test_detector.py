from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.edge.detector import CASCADE, HaarDetector
from mien.edge.errors import ConfigError, RuntimeMissing
from mien.edge.preprocess import to_gray
from mien.edge.records import Box
from mien.edge.tracker import intersection_over_union


def test_finds_faces_from_left_to_right() -> None:
    boxes = HaarDetector().detect(to_gray(scene((200, 100, 100), (30, 40, 120))))
    assert len(boxes) == 2 and all(isinstance(value, int) for box in boxes for value in box)
    assert intersection_over_union(boxes[0], Box(30, 40, 120, 120)) > 0.6
    assert intersection_over_union(boxes[1], Box(200, 100, 100, 100)) > 0.6


def test_finds_the_astronaut(astronaut: np.ndarray) -> None:
    boxes = HaarDetector().detect(to_gray(astronaut))
    assert any(intersection_over_union(box, Box(170, 60, 110, 110)) > 0.5 for box in boxes)


def test_least_face_as_a_share_and_in_pixels() -> None:
    gray = to_gray(scene((30, 40, 60), (150, 40, 150)))
    assert len(HaarDetector(min_face=0.08).detect(gray)) == 2
    assert len(HaarDetector(min_face=0.4).detect(gray)) == 1  # 96 of 240 pixels
    assert len(HaarDetector(min_face=96).detect(gray)) == 1


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_pictures_of_any_size(height: int, width: int, level: int) -> None:
    assert HaarDetector().detect(np.full((height, width), level, np.uint8)) == []


def test_a_picture_that_is_not_contiguous() -> None:
    wide = np.zeros((240, 400), np.uint8)
    wide[:, :320] = to_gray(scene((30, 40, 120)))
    assert len(HaarDetector().detect(wide[:, :320])) == 1


def test_without_the_cascade(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no face cascade at .*gone\.xml: install mien again"):
        HaarDetector(cascade=tmp_path / "gone.xml")
    (tmp_path / "bad.xml").write_text("<nothing/>")
    with pytest.raises(ConfigError, match=r"bad\.xml is not a face cascade"):
        HaarDetector(cascade=tmp_path / "bad.xml")


def test_an_opencv_without_cascades(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(RuntimeMissing, match=r"has no CascadeClassifier: install one below 5, pip install"):
        HaarDetector()


def test_the_cascade_keeps_its_licence() -> None:
    head = CASCADE.read_text()[:3000]
    assert "Intel License Agreement" in head and "Copyright (C) 2000, Intel Corporation" in head
