"""Muon for convolutions: how long and how orthogonal its steps are, and mirrored networks."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from mien.train.mirror import keep_mirrored, mirror
from mien.train.model import build
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import make_optimizer

RATE = 0.01
RECIPE = Recipe(optimizer="muon", learning_rate=RATE, schedule="cosine")


def steps(model: keras.Model, recipe: Recipe) -> list[tuple[keras.Variable, np.ndarray, np.ndarray]]:
    """Each trained weight, its value before a step by a gradient of chance, and the step."""
    optimizer = make_optimizer(recipe, steps=1000)
    before = [np.array(weight) for weight in model.trainable_variables]
    rng = np.random.default_rng(3)
    gradients = [keras.ops.convert_to_tensor(rng.normal(size=w.shape).astype(np.float32)) for w in before]
    optimizer.apply(gradients, model.trainable_variables)
    return [(w, old, np.array(w) - old) for w, old in zip(model.trainable_variables, before, strict=True)]


def matrix(kernel: np.ndarray) -> np.ndarray:
    return kernel.reshape(-1, kernel.shape[-1])


def test_a_convolutions_step_is_orthogonal_and_as_long_as_adams() -> None:
    kinds = set()
    for weight, _, step in steps(build("separable", (48, 48, 1), 5), RECIPE):
        size = np.sqrt(np.square(step).mean()) / RATE
        if step.ndim != 4 or step.shape[-1] == 1:
            assert size == pytest.approx(1, abs=0.05), weight.path  # Adam's first step is the rate, whatever the slope
        else:
            values = np.linalg.svd(matrix(step), compute_uv=False)
            # Five iterations leave the singular values about 1, which is all that is wanted of them.
            assert values.min() > 0.4 * values.max(), weight.path
            # Of r columns of unit length in n rows the mean square is r/(r·n); the step is √n · 0.2 times that.
            assert size == pytest.approx(0.2, abs=0.06), weight.path
        kinds.add(step.ndim)
    assert kinds == {1, 2, 4}


def test_kernels_alone_decay() -> None:
    model = build("small", (48, 48, 1), 5)
    start = model.get_weights()
    plain = steps(model, RECIPE)
    model.set_weights(start)
    decayed = steps(model, replace(RECIPE, weight_decay=0.5))
    for (weight, old, step), (_, _, again) in zip(plain, decayed, strict=True):
        wanted = step - RATE * 0.5 * old if old.ndim > 1 else step
        assert again == pytest.approx(wanted, abs=1e-5), weight.path


def test_a_mirrored_kernels_step_is_mirrored_and_orthogonal() -> None:
    model = build("small", (48, 48, 1), 5)
    keep_mirrored(model)
    taken = [step for _, _, step in steps(model, RECIPE) if step.ndim == 4]
    kept = model.get_weights()
    mirror(model)
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(kept, model.get_weights(), strict=True))
    for step in taken[1:]:  # of one picture's nine places three alone tell left from right: too few for four channels
        values = np.linalg.svd(matrix(step), compute_uv=False)
        assert values.min() > 0.4 * values.max(), step.shape
