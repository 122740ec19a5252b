"""Corruptions change faces, the more the severer, each face in its own way."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from patterns import LABELS

from mien.edge.corrupt import KINDS, SEVERITIES, corrupt
from mien.edge.evaluate import Evaluation
from mien.edge.metrics import measure


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """uint8 [16, 48, 48]: smooth pictures with edges, as faces are."""
    rng = np.random.default_rng(0)
    images = np.zeros((16, 48, 48), np.uint8)
    for image in images:
        image[:] = cv2.GaussianBlur(rng.integers(0, 256, (48, 48)).astype(np.uint8), (0, 0), 5) // 2 + 60
        cv2.circle(image, (24, 24), 15, 180, -1)
        cv2.circle(image, (18, 20), 3, 20, -1)
        cv2.circle(image, (30, 20), 3, 20, -1)
    return images


@pytest.mark.parametrize("kind", KINDS)
def test_severer_changes_more(photographs: np.ndarray, kind: str) -> None:
    before = photographs.copy()
    changes = []
    for severity in SEVERITIES:
        corrupted = corrupt(photographs, kind, severity)
        assert corrupted.dtype == np.uint8
        assert corrupted.shape == photographs.shape
        changes.append(np.abs(corrupted.astype(int) - photographs).mean())
    assert changes[0] > 0.2
    assert all(earlier < later for earlier, later in pairwise(changes))
    assert np.array_equal(photographs, before)


@pytest.mark.parametrize("kind", ["shift", "rotation", "motion", "noise", "occlusion"])
def test_each_face_and_seed_is_drawn_for_itself(photographs: np.ndarray, kind: str) -> None:
    same = np.repeat(photographs[:1], 16, axis=0)
    corrupted = corrupt(same, kind, 3, seed=1)
    assert len({face.tobytes() for face in corrupted}) > 1
    assert np.array_equal(corrupted, corrupt(same, kind, 3, seed=1))
    assert not np.array_equal(corrupted, corrupt(same, kind, 3, seed=2))


def test_geometry_is_what_it_says() -> None:
    spot = np.zeros((1, 48, 48), np.uint8)
    spot[0, 10:13, 22:26] = 255  # above the centre

    def height(kind: str) -> float:
        rows = corrupt(spot, kind, 5)[0].astype(float).sum(axis=1)
        return float((rows * np.arange(48)).sum() / rows.sum())

    assert height("scale up") == pytest.approx(23.5 - 12.5 / 0.8, abs=0.3)  # a small box: away from the centre
    assert height("scale down") == pytest.approx(23.5 - 12.5 / 1.2, abs=0.3)


def test_wrong_severity_or_kind(photographs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="1 to 5"):
        corrupt(photographs, "blur", 6)
    with pytest.raises(KeyError):
        corrupt(photographs, "rain", 1)


def test_relative_accuracy_is_the_mean_over_clean() -> None:
    labels = np.array([0, 1, 2, 0])
    scores = np.eye(len(LABELS), dtype=np.float32)[[0, 1, 2, 1]]
    metrics = measure(scores, labels, LABELS)  # accuracy 0.75
    corrupted = {"blur": (0.6, 0.6, 0.6, 0.3, 0.3), "dark": (0.6, 0.6, 0.15, 0.0, 0.0)}
    evaluation = Evaluation(metrics, LABELS, "test", 1.0, (), corrupted)
    assert evaluation.relative_accuracy == pytest.approx(0.375 / 0.75)
    assert evaluation.to_json()["relative_accuracy"] == 0.5
    assert "mean accuracy on corrupted faces: 0.500 of clean" in evaluation.to_text()
    assert "corrupted" not in Evaluation(metrics, LABELS, "test", 1.0, ()).to_json()
