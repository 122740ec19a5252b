"""What a network learns from: its labels, and the averaged readings of teachers that were trained before it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from mien.edge.bundle import InputSpec
from mien.edge.dataset import FaceSet
from mien.edge.preprocess import scale_pixels

from .recipe import Distillation, Recipe, find_recipe, load_recipe

TEACHERS = "teachers"
"""The folder of the teachers' own runs, in a run's folder."""
STEP = 256
"""Faces that a teacher reads at once."""


def teacher_recipe(recipe: Recipe) -> Recipe:
    """How the teachers of a network with this recipe are trained. Raises ConfigError."""
    named = recipe.distillation.recipe
    own = load_recipe(find_recipe(named)) if named else recipe
    return replace(own, precision=recipe.precision, crop=recipe.crop, distillation=Distillation())


def smoothed(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """float32 [N, classes]: one-hot rows of class numbers int [N], with `smoothing` spread over all classes.

    Source: Szegedy et al., Rethinking the Inception Architecture, https://arxiv.org/abs/1512.00567, section 7.
    """
    rows: np.ndarray = np.eye(classes, dtype=np.float32)[labels] * np.float32(1 - smoothing)
    return rows + np.float32(smoothing / classes)


def blended(
    targets: np.ndarray, faces: FaceSet, teachers: list[Path], weight: float, spec: InputSpec, step: Callable[[], None]
) -> np.ndarray:
    """float32 [N, classes]: `targets` with a share `weight` of the teachers' mean reading of each face.

    Each teacher (a model.keras) reads the face as it is and mirrored. `step` is called after every batch.
    """
    readings = np.zeros_like(targets)
    for path in teachers:
        model = keras.models.load_model(path)
        for start in range(0, len(faces), STEP):
            rows = np.arange(start, min(start + STEP, len(faces)))
            pixels = scale_pixels(faces.take(rows).astype(np.float32), spec.scale, spec.offset)[..., np.newaxis]
            for seen in (pixels, pixels[:, :, ::-1]):
                readings[rows] += model.predict_on_batch(np.ascontiguousarray(seen))
            step()
    readings /= 2 * len(teachers)
    return ((1 - weight) * targets + weight * readings).astype(np.float32)
