from __future__ import annotations

import json

import numpy as np
import pytest

from mien.edge.metrics import calibration_error, measure
from mien.edge.records import UNCERTAIN, Box, Face, Frame, Observation, Reading


def test_the_logs_form() -> None:
    frame = Frame(7, 1_700_000_000.25, np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8))
    scores = {"happy": 0.876543, "sad": 0.123457}
    read = Reading(Face(3, Box(-1, 2, 30, 40)), scores, "happy", {"happy": 0.4, "sad": 0.6})
    assert Observation(frame, (read,)).to_json() == {
        "time": "2023-11-14T22:13:20.250Z",
        "frame": 7,
        "faces": [
            {
                "id": 3,
                "box": [-1, 2, 30, 40],
                "emotion": "happy",
                "confidence": 0.8765,
                "scores": {"happy": 0.8765, "sad": 0.1235},
                "raw": {"emotion": "sad", "confidence": 0.6},
            }
        ],
    }
    assert json.loads(json.dumps(Observation(frame, ()).to_json()))["faces"] == []


def test_the_confidence_is_the_emotions_own() -> None:
    """Which needs not be the likeliest, while a label is held on to; an uncertain face has the likeliest's."""
    face, scores = Face(1, Box(0, 0, 9, 9)), {"happy": 0.55, "sad": 0.45}
    assert Reading(face, scores, "sad", scores).confidence == 0.45
    assert Reading(face, scores, UNCERTAIN, scores).confidence == 0.55


def test_metrics_worked_out_by_hand() -> None:
    scores = np.array([[0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.3, 0.7, 0.0], [0.5, 0.3, 0.2]], np.float32)
    result = measure(scores, np.array([0, 0, 1, 2]), ("a", "b", "c"))
    assert result.confusion == ((1, 1, 0), (0, 1, 0), (1, 0, 0))
    assert result.accuracy == 0.5
    assert result.recall == {"a": 0.5, "b": 1.0, "c": 0.0}
    # a: precision 1/2, recall 1/2; b: precision 1/2, recall 1; c: nothing found.
    assert result.macro_f1 == pytest.approx((1 / 2 + 2 / 3 + 0) / 3)
    assert (result.coverage, result.certain_accuracy) == (1.0, 0.5)
    certain = measure(scores, np.array([0, 0, 1, 2]), ("a", "b", "c"), uncertain_below=0.6)
    assert (certain.coverage, certain.certain_accuracy) == (0.75, pytest.approx(2 / 3))
    assert certain.confusion == result.confusion, "an uncertain face still counts in all other figures"
    nothing = measure(scores, np.array([0, 0, 1, 2]), ("a", "b", "c"), uncertain_below=0.9)
    assert (nothing.coverage, nothing.certain_accuracy) == (0.0, 0.0)
    assert result.loss == pytest.approx(-np.log([0.8, 0.4, 0.7, 0.2]).mean(), rel=1e-5)


def test_calibration_error_worked_out_by_hand() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    # The upper bin is right once of twice at 0.95, the lower always at 0.55.
    expected = (2 * abs(0.5 - 0.95) + 2 * abs(1 - 0.55)) / 4
    assert calibration_error(confidence, np.array([True, False, True, True])) == pytest.approx(expected)
    assert calibration_error(np.array([1.0, 1.0]), np.array([True, True])) == 0


def test_metrics_refuse_shapes_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="don't fit"):
        measure(np.zeros((2, 3)), np.array([0]), ("a", "b", "c"))
    with pytest.raises(ValueError, match="don't fit"):
        measure(np.zeros((0, 2)), np.array([], int), ("a", "b"))
