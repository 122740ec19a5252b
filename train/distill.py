"""What a network learns from: its labels, and the readings of teachers that were trained before it.

Source: Hinton et al., Distilling the Knowledge in a Neural Network, https://arxiv.org/abs/1503.02531. Teacher and
student see the same augmented face, as in Beyer et al., Knowledge distillation: A good teacher is patient and
consistent, https://arxiv.org/abs/2106.05237.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from mien.edge.bundle import Bundle, InputSpec, bundled_models, find_bundle
from mien.edge.classifier import Classifier
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


def load_teacher(path: Path, spec: InputSpec) -> tuple[keras.Model | Classifier, tuple[str, ...]]:
    """A finished run's network in the precision that is set, or a bundle's model, and its classes.

    `path` may be a bundled model's name; `spec` is what the student reads. Raises ConfigError, BundleError.
    """
    teacher: keras.Model | Classifier
    if _is_run(path):
        teacher, classes = _load_run(path)
        size = teacher.input_shape[1:3]
    else:
        teacher = Classifier(Bundle.load(find_bundle(str(path))))
        classes, size = teacher.labels, teacher.face_size
    if size != (spec.height, spec.width):
        raise ConfigError(
            f"{path} reads faces of {size[0]}×{size[1]} pixels, its student of {spec.height}×{spec.width}: "
            "take another teacher"
        )
    return teacher, classes


def describe_teacher(path: Path) -> dict[str, Any]:
    """What a teacher that wasn't trained for this run is, for config.json. Raises ConfigError, BundleError."""
    if not _is_run(path):
        card = Bundle.load(find_bundle(str(path))).card
        known = {"bundle": card.name, "version": card.version, "sha256": card.sha256, "classes": list(card.labels)}
        return known | {"accuracy": card.metrics.get("quantized", {}).get("accuracy")}
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unfinished(path, error) from error
    return {key: config[key] for key in ("arch", "recipe", "classes", "seed")} | {"accuracy": metrics["accuracy"]}


def beside_softened(pixels: Any, still: Any, sigma: float) -> Any:
    """Faces float32 [N, H, W, 1] and what their teachers see, of Keras' backend: float32 [N, H, W, 2].

    Teachers see those that are `still` (bool [N]) blurred by a Gaussian of `sigma` pixels, at most 0.6, of which three
    taps a direction hold all but half a percent; borders are repeated. Both are channels of one picture, so that mixing
    does the same to both.
    """
    tap = math.exp(-0.5 / sigma**2)
    soft = pixels
    for axis in (1, 2):
        size = pixels.shape[axis]
        before, after = ([max(i - 1, 0) for i in range(size)], [min(i + 1, size - 1) for i in range(size)])
        soft = (soft + tap * (ops.take(soft, before, axis) + ops.take(soft, after, axis))) / (1 + 2 * tap)
    return ops.concatenate([pixels, ops.where(still[:, None, None, None], soft, pixels)], axis=-1)


def read_faces(classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
    """float32 [N, labels]: a bundle's reading of augmented faces float [N, height, width, 1], pixels 0–255.

    Every class gets something: an int8 softmax may give all of the student's classes 0 where others take it all,
    and a share of nothing is no number.
    """
    scores: np.ndarray = np.maximum(
        classifier.scores(np.rint(np.clip(pixels[..., 0], 0, 255)).astype(np.uint8)), np.float32(1e-6)
    )
    return scores


def _is_run(path: Path) -> bool:
    return (path / "config.json").exists() or not (str(path) in bundled_models() or (path / "card.json").exists())


def _load_run(run: Path) -> tuple[keras.Model, tuple[str, ...]]:
    try:
        config = json.loads((run / "config.json").read_text(encoding="utf-8"))
        kept = keras.models.load_model(run / "model.keras")
    except (OSError, ValueError) as error:
        raise _unfinished(run, error) from error
    model = build(config["arch"], kept.input_shape[1:], len(config["classes"]))
    model.set_weights(kept.get_weights())
    model.trainable = False
    return model, tuple(config["classes"])


def _unfinished(run: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"{run} holds no finished run to learn from ({error}): finish it with --resume, or give a bundle"
    )
