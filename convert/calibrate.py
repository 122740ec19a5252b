"""How sure a model may be: a temperature for its confidence, and the confidence below which it had better not say."""

from __future__ import annotations

import numpy as np

from mien.edge.classifier import temper

PRECISION = 0.9
"""Share of the readings that aren't uncertain that must be right."""
_TEMPERATURES = np.geomspace(0.2, 5.0, 322)
"""Steps of 1 %: finer than one validation split can tell apart."""


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which probabilities float [N, C] have the least cross-entropy with labels int [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, section 4.2.
    """
    rows = np.arange(len(labels))
    losses = [
        -np.log(np.clip(temper(scores, temperature)[rows, labels], 1e-7, 1)).mean() for temperature in _TEMPERATURES
    ]
    return round(float(_TEMPERATURES[int(np.argmin(losses))]), 3)


def certain_from(scores: np.ndarray, labels: np.ndarray, precision: float = PRECISION) -> float:
    """The least confidence from which on at least `precision` of the readings are right; 1 if there is none.

    `scores` float [N, C] are probabilities after the temperature, `labels` int [N]. In whole percents, rounded up.
    """
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == labels
    for percent in range(101):
        certain = confidence >= percent / 100
        if certain.any() and right[certain].mean() >= precision:
            return percent / 100
    return 1.0
