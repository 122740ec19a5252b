"""The gate: a converted model must read faces as the Keras network does, through the code that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from mien.edge.bundle import Bundle, Card
from mien.edge.classifier import Classifier
from mien.edge.metrics import Metrics, measure
from mien.edge.records import Image

_LATENCY_FACES = 100


@dataclass(frozen=True)
class Tolerances:
    """How far a converted model may be from the network; shares, not points."""

    accuracy_drop: float = 0.005
    agreement: float = 0.98
    """Share of faces that both give the same label, at least."""
    runtimes: float = 0.95
    """The same between two runtimes of one model. They round differently; one that calculates wrongly is far below."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """The network and a converted model on the same faces."""

    network: Metrics
    model: Metrics
    agreement: float
    """Share of faces that both give the same label, 0 to 1."""
    latency_ms: float
    """Median over single faces, one thread, this machine."""

    @property
    def accuracy_drop(self) -> float:
        """Share of faces; below 0 where the model is the better one."""
        return self.network.accuracy - self.model.accuracy


def model_scores(
    card: Card, model: bytes, faces: Image, progress: Callable[[int], None] | None = None
) -> tuple[np.ndarray, float]:
    """float32 [N, labels]: the device's classifier on gray faces uint8 [N, H, W]; and the median ms a face.

    `progress` is called with the number of faces done since the last call. Raises BundleError.
    """
    classifier = Classifier(Bundle(Path("the converted model"), card, model))
    scores, times = [], []
    for i in range(len(faces)):
        start = perf_counter()
        scores.append(classifier.scores(faces[i : i + 1]))
        times.append(perf_counter() - start)
        if progress:
            progress(1)
    # The first faces warm caches up.
    return np.concatenate(scores), float(np.median(times[_LATENCY_FACES:] or times)) * 1000


def compare(
    network: np.ndarray,
    model: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    latency_ms: float,
    uncertain_below: float = 0.0,
) -> Comparison:
    """Probabilities of both (float [N, C]) against the true class numbers (int [N])."""
    return Comparison(
        network=measure(network, labels, classes),
        model=measure(model, labels, classes, uncertain_below),
        agreement=float((network.argmax(axis=1) == model.argmax(axis=1)).mean()),
        latency_ms=latency_ms,
    )


def shortfalls(comparison: Comparison, allowed: Tolerances) -> list[str]:
    """Which figure falls short and by how much, a phrase each; empty if the model may pass."""
    found = []
    # Counted in faces, as 0.984 − 0.979 is a hair more than 0.005 in binary.
    faces = comparison.network.faces
    drop, agreement = comparison.accuracy_drop, comparison.agreement
    if round(drop * faces) > allowed.accuracy_drop * faces + 1e-6:
        found.append(
            f"accuracy is {comparison.model.accuracy:.2%} against {comparison.network.accuracy:.2%}, a drop of "
            f"{100 * drop:.2f} points where {100 * allowed.accuracy_drop:g} are allowed "
            f"({100 * (drop - allowed.accuracy_drop):.2f} too many)"
        )
    if round(agreement * faces) < allowed.agreement * faces - 1e-6:
        found.append(
            f"{agreement:.2%} of the labels agree where {allowed.agreement:.0%} must "
            f"({100 * (allowed.agreement - agreement):.2f} points short)"
        )
    return found


def spread(total: int, count: int) -> np.ndarray:
    """int [≤ count]: different row numbers below `total`, at equal distances."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(int))
