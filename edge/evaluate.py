"""How good a bundle is on labelled faces, measured on the device itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier
from .dataset import read_dataset
from .errors import DataError
from .metrics import Metrics, measure

_STEP = 64
"""Faces between two calls of `progress`."""


@dataclass(frozen=True)
class Evaluation:
    """A bundle's figures on one split of a data set."""

    metrics: Metrics
    classes: tuple[str, ...]
    """In the order of the confusion matrix: the bundle's labels."""
    split: str
    ms_per_face: float
    """Wall-clock milliseconds from 8-bit face to probabilities, mean."""
    notices: tuple[str, ...]
    """What was left out of the data set, or made up for it."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "split": self.split,
            "classes": list(self.classes),
            **self.metrics.to_json(),
            "ms_per_face": round(self.ms_per_face, 3),
            "notices": list(self.notices),
        }

    def to_text(self) -> str:
        """A few figures, and the confusion matrix: a row for each true class, a column for each predicted one."""
        m = self.metrics
        figures = {
            "faces": f"{m.faces:,} of {self.split}",
            "accuracy": f"{m.accuracy:.4f}",
            "macro-F1": f"{m.macro_f1:.4f}",
            "loss": f"{m.loss:.4f} nats",
            "calibration error": f"{m.calibration_error:.4f}",
            "time per face": f"{self.ms_per_face:.2f} ms",
        }
        rows = [["true \\ predicted", *self.classes, "recall"]]
        for name, counts in zip(self.classes, m.confusion, strict=True):
            rows.append([name, *map(str, counts), f"{m.recall[name]:.3f}"])
        first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
        table = [
            "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
            for row in rows
        ]
        return "\n".join([*(f"{name:18}{value}" for name, value in figures.items()), "", *table])


def evaluate(
    classifier: Classifier,
    data: Path,
    classes: str | None = None,
    split: str = "validation",
    skip_bad: bool = False,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Reads `data` and classifies one split of it; `classes` as read_dataset's, the bundle's labels if None.

    `progress` is told (what, done, total), total 0 while it isn't known. Raises DataError.
    """
    labels = classifier.labels
    height, width = classifier.face_size
    dataset = read_dataset(
        data,
        classes or ",".join(labels),
        height=height,
        width=width,
        skip_bad=skip_bad,
        progress=lambda count: progress("read", count, 0),
    )
    # Faces of a class that the model can't say would count as errors that no model could avoid.
    if foreign := sorted(set(dataset.classes) - set(labels)):
        raise DataError(
            f"the model doesn't know the class {foreign[0]!r} of {data}: its labels are {', '.join(labels)}"
        )
    if split not in dataset.splits:
        raise DataError(f"{data} has no split {split!r}: it has {', '.join(dataset.splits)}")
    faces = dataset.splits[split]
    scores = np.empty((len(faces), len(labels)), np.float32)
    seconds = 0.0
    for start in range(0, len(faces), _STEP):
        rows = np.arange(start, min(start + _STEP, len(faces)))
        images = faces.take(rows)
        begun = time.perf_counter()
        scores[rows] = classifier.scores(images)
        seconds += time.perf_counter() - begun
        progress("classified", int(rows[-1]) + 1, len(faces))
    numbers = np.array([labels.index(name) for name in dataset.classes], np.int64)[faces.labels]
    metrics = measure(scores, numbers, labels)
    return Evaluation(metrics, labels, split, 1000 * seconds / len(faces), dataset.notices)
