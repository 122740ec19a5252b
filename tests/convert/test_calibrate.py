from __future__ import annotations

import numpy as np
import pytest

from mien.convert.calibrate import certain_from, fit_temperature
from mien.edge.classifier import temper
from mien.edge.metrics import calibration_error


def faces(temperature: float, count: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a model whose logits are `temperature` times too large, and labels drawn by the right ones."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (count, 5))
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (right.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)
    return temper(right, 1 / temperature), labels


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_finds_by_how_much_a_model_is_too_sure(temperature: float) -> None:
    scores, labels = faces(temperature)
    found = fit_temperature(scores, labels)
    assert found == pytest.approx(temperature, rel=0.05)
    tempered = temper(scores, found)
    assert calibration_error(tempered.max(axis=1), tempered.argmax(axis=1) == labels) < 0.015


def test_the_least_confidence_that_is_right_often_enough() -> None:
    scores, labels = faces(1.0)
    threshold = certain_from(scores, labels)
    right = scores.argmax(axis=1) == labels
    certain = scores.max(axis=1) >= threshold
    assert right[certain].mean() >= 0.9 and 0 < certain.mean() < 1
    less = scores.max(axis=1) >= threshold - 0.01
    assert right[less].mean() < 0.9, "one percent lower isn't enough"


def test_a_model_that_is_never_right_enough_is_always_uncertain() -> None:
    assert certain_from(np.full((10, 2), 0.5), np.ones(10, int)) == 1.0


def test_a_model_that_is_always_right_is_never_uncertain() -> None:
    assert certain_from(np.array([[0.6, 0.4], [0.2, 0.8]]), np.array([0, 1])) == 0.0
