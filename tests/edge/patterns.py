"""Labelled 48×48 pictures that a tiny network can learn: each emotion is a pattern of stripes, squares or rings."""

from __future__ import annotations

import numpy as np

LABELS = ("angry", "happy", "neutral", "sad", "surprise")


def pattern(label: int, rng: np.random.Generator) -> np.ndarray:
    """uint8 [48, 48]: stripes across, down or aslant, squares, or rings, of random period, phase and contrast."""
    y, x = np.mgrid[:48, :48].astype(np.float64)
    angle = 2 * np.pi / rng.uniform(7, 10)
    phase = rng.uniform(0, 2 * np.pi, 2)
    waves = (
        lambda: np.sin(y * angle + phase[0]),
        lambda: np.sin(x * angle + phase[0]),
        lambda: np.sin((x + y) * angle * 0.7 + phase[0]),
        lambda: np.sign(np.sin(x * angle + phase[0]) * np.sin(y * angle + phase[1])),
        lambda: np.sin(np.hypot(x - 24, y - 24) * angle + phase[0]),
    )
    picture = rng.uniform(100, 150) + rng.uniform(40, 90) * waves[label]() + rng.normal(0, 8, (48, 48))
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def patterns(per_class: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [5·per_class, 48, 48] and their labels, int64."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(LABELS)), per_class)
    return np.stack([pattern(label, rng) for label in labels]), labels
