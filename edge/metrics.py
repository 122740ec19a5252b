"""How good a classifier is: accuracy, macro-F1, recall, loss, calibration, confusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metrics:
    """Figures of one classifier on one set of labelled faces; all but `loss` and `faces` lie in 0 to 1."""

    faces: int
    accuracy: float
    macro_f1: float
    """Mean over the classes of the harmonic mean of precision and recall."""
    recall: dict[str, float]
    """Class → share of its faces that were recognised."""
    loss: float
    """Mean cross-entropy, nats."""
    calibration_error: float
    """Expected calibration error over CALIBRATION_BINS equal bins of confidence."""
    confusion: tuple[tuple[int, ...], ...]
    """Counts; row: true class, column: predicted class."""
    coverage: float = 1.0
    """Share of the faces that are not called uncertain."""
    certain_accuracy: float = 0.0
    """Accuracy on those; 0 if there are none."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, floats rounded to five digits."""
        values = asdict(self)
        for key in ("accuracy", "macro_f1", "loss", "calibration_error", "coverage", "certain_accuracy"):
            values[key] = round(values[key], 5)
        values["recall"] = {label: round(recall, 5) for label, recall in self.recall.items()}
        values["confusion"] = [list(row) for row in self.confusion]
        return values


def measure(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], uncertain_below: float = 0.0) -> Metrics:
    """Metrics of probabilities `scores` (float [N, C]) against true class numbers `labels` (int [N]), N ≥ 1.

    A face is uncertain if its highest probability lies below `uncertain_below`; it still counts in all
    figures but the last two. A class without faces has recall 0. Raises ValueError if shapes don't agree or N is 0.
    """
    if scores.shape != (len(labels), len(classes)) or not len(labels):
        raise ValueError(f"scores {list(scores.shape)} don't fit {len(labels)} labels of {len(classes)} classes")
    predicted = scores.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, predicted), 1)
    hits = confusion.diagonal()
    truths, guesses = confusion.sum(axis=1), confusion.sum(axis=0)
    recall = hits / np.maximum(truths, 1)
    f1 = 2 * hits / np.maximum(truths + guesses, 1)
    certain = scores.max(axis=1) >= uncertain_below
    true_scores = scores[np.arange(len(labels)), labels].astype(np.float64)
    return Metrics(
        faces=len(labels),
        accuracy=float(hits.sum() / len(labels)),
        macro_f1=float(f1.mean()),
        recall={label: float(value) for label, value in zip(classes, recall, strict=True)},
        loss=float(-np.log(np.clip(true_scores, 1e-7, 1)).mean()),
        calibration_error=calibration_error(scores.max(axis=1), predicted == labels),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
        coverage=float(certain.mean()),
        certain_accuracy=float((predicted == labels)[certain].mean()) if certain.any() else 0.0,
    )


def calibration_error(confidence: np.ndarray, correct: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Expected calibration error: mean over bins of |accuracy − confidence|, weighted by faces.

    `confidence` is float [N] in 0 to 1, `correct` bool [N].
    Source: Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, equation 3.
    """
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(which, confidence - correct, minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
