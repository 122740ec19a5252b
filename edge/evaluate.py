"""How good a bundle is on labelled faces, measured on the device itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .classifier import Classifier, normalize
from .corrupt import KINDS, SEVERITIES, corrupt
from .dataset import FaceSet, read_dataset
from .errors import DataError
from .metrics import Metrics, measure
from .records import Image

_STEP = 64
"""Faces between two calls of `progress`."""

Progress = Callable[[str, int, int], None]
"""Is told (what is done, how often so far, how often in all; 0 while that isn't known)."""


@dataclass(frozen=True)
class Evaluation:
    """A bundle's figures on one split of a data set."""

    metrics: Metrics
    classes: tuple[str, ...]
    """In the order of the confusion matrix: the bundle's labels, or those that were asked for."""
    split: str
    ms_per_face: float
    """Wall-clock milliseconds from 8-bit face to probabilities, mean."""
    notices: tuple[str, ...]
    """What was left out of the data set, or made up for it."""
    corrupted: dict[str, tuple[float, ...]] | None = None
    """Corruption → accuracy at severities 1 to 5; None if that wasn't asked for."""

    @property
    def relative_accuracy(self) -> float:
        """Mean accuracy over all corruptions and severities as a share of the accuracy on clean faces."""
        accuracies = [value for row in (self.corrupted or {}).values() for value in row]
        return float(np.mean(accuracies)) / self.metrics.accuracy if accuracies and self.metrics.accuracy else 0.0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        values = {
            "split": self.split,
            "classes": list(self.classes),
            **self.metrics.to_json(),
            "ms_per_face": round(self.ms_per_face, 3),
            "notices": list(self.notices),
        }
        if self.corrupted is not None:
            values["corrupted"] = {kind: [round(value, 5) for value in row] for kind, row in self.corrupted.items()}
            values["relative_accuracy"] = round(self.relative_accuracy, 5)
        return values

    def to_text(self) -> str:
        """A few figures, and the confusion matrix: a row for each true class, a column for each predicted one."""
        m = self.metrics
        figures = {
            "faces": f"{m.faces:,} of {self.split}",
            "accuracy": f"{m.accuracy:.4f}",
            "macro-F1": f"{m.macro_f1:.4f}",
            "loss": f"{m.loss:.4f} nats",
            "calibration error": f"{m.calibration_error:.4f}",
            "certain": f"{m.coverage:.4f} of the faces, of which {m.certain_accuracy:.4f} are read right",
            "time per face": f"{self.ms_per_face:.2f} ms",
        }
        rows = [["true \\ predicted", *self.classes, "recall"]]
        for name, counts in zip(self.classes, m.confusion, strict=True):
            rows.append([name, *map(str, counts), f"{m.recall[name]:.3f}"])
        lines = [*(f"{name:18}{value}" for name, value in figures.items()), "", *_table(rows)]
        if self.corrupted is not None:
            rows = [["accuracy, corrupted", *(f"severity {severity}" for severity in SEVERITIES), "of clean"]]
            for kind, values in self.corrupted.items():
                share = float(np.mean(values)) / m.accuracy if m.accuracy else 0.0
                rows.append([kind, *(f"{value:.3f}" for value in values), f"{share:.3f}"])
            lines += ["", *_table(rows), "", f"mean accuracy on corrupted faces: {self.relative_accuracy:.3f} of clean"]
        return "\n".join(lines)


def _table(rows: list[list[str]]) -> list[str]:
    """Lines: the first column to the left, the others to the right."""
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(first), *(cell.rjust(width) for cell, width in zip(row[1:], others, strict=True))])
        for row in rows
    ]


def evaluate(
    classifier: Classifier,
    data: Path,
    classes: str | None = None,
    split: str = "validation",
    skip_bad: bool = False,
    progress: Progress = lambda what, done, total: None,
    corruptions: bool = False,
) -> Evaluation:
    """Reads `data` and classifies one split of it; `classes` as read_dataset's, the bundle's labels if None.

    With fewer classes than labels each face is read as the likeliest of those classes.
    With `corruptions` it does so again for each corruption and severity of mien.edge.corrupt. Raises DataError.
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
    asked = tuple(label for label in labels if label in dataset.classes)
    columns = [labels.index(label) for label in asked]
    numbers = np.array([asked.index(name) for name in dataset.classes], np.int64)[faces.labels]

    def read(images: Image) -> np.ndarray:
        return normalize(classifier.scores(images)[:, columns])

    scores, seconds = _classify(read, len(asked), faces, progress)
    corrupted = _corrupted(read, faces, numbers, progress) if corruptions else None
    metrics = measure(scores, numbers, asked, classifier.uncertain_below)
    return Evaluation(metrics, asked, split, 1000 * seconds / len(faces), dataset.notices, corrupted)


Read = Callable[[Image], np.ndarray]
"""Gray faces uint8 [N, H, W] → probabilities float32 [N, classes]."""


def _classify(read: Read, classes: int, faces: FaceSet, progress: Progress) -> tuple[np.ndarray, float]:
    """Probabilities float32 [N, classes], and the seconds that they took."""
    scores = np.empty((len(faces), classes), np.float32)
    seconds = 0.0
    for start in range(0, len(faces), _STEP):
        rows = np.arange(start, min(start + _STEP, len(faces)))
        images = faces.take(rows)
        begun = time.perf_counter()
        scores[rows] = read(images)
        seconds += time.perf_counter() - begun
        progress("classified", int(rows[-1]) + 1, len(faces))
    return scores, seconds


def _corrupted(read: Read, faces: FaceSet, numbers: np.ndarray, progress: Progress) -> dict[str, tuple[float, ...]]:
    """Corruption → accuracy at each severity; `numbers` (int [N]) are the true labels."""
    hits = np.zeros((len(KINDS), len(SEVERITIES)))
    for start in range(0, len(faces), _STEP):  # in parts, so that a set larger than memory is never in memory
        rows = np.arange(start, min(start + _STEP, len(faces)))
        images = faces.take(rows)
        for i, kind in enumerate(KINDS):
            for j, severity in enumerate(SEVERITIES):
                predicted = read(corrupt(images, kind, severity, seed=start)).argmax(axis=1)
                hits[i, j] += (predicted == numbers[rows]).sum()
        progress("corrupted and classified", int(rows[-1]) + 1, len(faces))
    return {kind: tuple((hits[i] / len(faces)).tolist()) for i, kind in enumerate(KINDS)}
