"""What a network learns from: its labels, and the readings of teachers that were trained before it.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531. Teacher and
student see the same augmented face, as in Beyer et al., Knowledge distillation: A good teacher is patient and
consistent, https://arxiv.org/abs/2106.05237.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError

from .model import build
from .recipe import Distillation, Recipe, find_recipe, load_recipe

TEACHERS = "teachers"
"""The folder of the teachers' own runs, in a run's folder."""


def teacher_recipe(recipe: Recipe, name: str) -> Recipe:
    """How a network's teacher of that name is trained. Raises ConfigError."""
    own = load_recipe(find_recipe(name))
    return replace(own, precision=recipe.precision, crop=recipe.crop, distillation=Distillation())


def smoothed(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """float32 [N, classes]: one-hot rows of class numbers int [N], with `smoothing` spread over all classes.

    Source: Szegedy et al., Rethinking the Inception Architecture, https://arxiv.org/abs/1512.00567, section 7.
    """
    rows: np.ndarray = np.eye(classes, dtype=np.float32)[labels] * np.float32(1 - smoothing)
    return rows + np.float32(smoothing / classes)


def known(data: Dataset, classes: Sequence[str], recipe: Recipe) -> np.ndarray:
    """float32 [N, classes]: what labels say of the training faces, before any teacher.

    A row sums to the label's share. Of a face whose label isn't among `classes` nothing is known: only teachers can
    say which of the classes it looks like.
    """
    faces = data.splits["train"]
    share = 1 - recipe.distillation.weight if recipe.distillation.teachers else 1.0
    number = np.array([classes.index(label) if label in classes else -1 for label in data.classes])[faces.labels]
    rows: np.ndarray = smoothed(np.maximum(number, 0), len(classes), recipe.label_smoothing) * np.float32(share)
    rows[number < 0] = 0
    return rows


def columns(teacher: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Where `classes` are among a teacher's classes. Raises ConfigError if one is missing."""
    if missing := [label for label in classes if label not in teacher]:
        raise ConfigError(f"a teacher doesn't know the class {missing[0]}: it reads {', '.join(teacher)}")
    return [list(teacher).index(label) for label in classes]


def load_teacher(run: Path) -> tuple[keras.Model, tuple[str, ...]]:
    """A finished run's network in the precision that is set, and its classes. Raises ConfigError."""
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        kept = keras.models.load_model(run / "model.keras")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{run} holds no finished run to learn from ({error}): finish it with --resume") from error
    model = build(config["arch"], kept.input_shape[1:], len(config["classes"]))
    model.set_weights(kept.get_weights())
    model.trainable = False
    return model, tuple(config["classes"])


class Teachers:
    """Several teachers as one: the mean of their readings."""

    def __init__(self, runs: Sequence[Path], classes: Sequence[str]) -> None:
        """`classes` are the student's. A teacher that knows more is asked which of these it is. Raises ConfigError."""
        self._teachers = []
        for run in runs:
            model, own = load_teacher(run)
            self._teachers.append((model, columns(own, classes)))

    def __call__(self, faces: Any) -> Any:
        """float32 [N, classes] of scaled faces float32 [N, H, W, 1]; each row sums to 1."""
        readings = []
        for model, chosen in self._teachers:
            scores = ops.take(model(faces, training=False), chosen, axis=1)
            readings.append(scores / ops.sum(scores, axis=1, keepdims=True))
        return ops.mean(ops.stack(readings), axis=0)
