"""Networks whose weights are mirrored: they read a face and its mirror image alike, and learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError
from mien.train.fit import fit
from mien.train.mirror import keep_mirrored, mirror
from mien.train.model import build
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import TensorflowEngine

SHAPE = (48, 48, 1)


def unlike(model: keras.Model) -> keras.Model:
    """The model with factors and statistics of its normalizations that have nothing in common."""
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    return model


def difference(model: keras.Model) -> float:
    """How differently it reads faces and their mirror images, against how differently it reads faces."""
    faces = np.random.default_rng(8).random((8, *SHAPE)).astype(np.float32)
    straight, mirrored = (np.log(np.asarray(model(view))) for view in (faces, faces[:, :, ::-1]))
    return float(np.abs(straight - mirrored).max() / np.ptp(straight - straight.mean(axis=0)))


@pytest.mark.parametrize("arch", ["base", "small", "wide"])
def test_a_mirrored_network_reads_both_alike(arch: str) -> None:
    model = unlike(build(arch, SHAPE, 5))
    assert difference(model) > 0.1
    mirror(model)
    assert difference(model) < 1e-3
    kept = model.get_weights()
    mirror(model)
    assert all(np.allclose(*pair, atol=1e-6) for pair in zip(kept, model.get_weights(), strict=True)), "as they were"


@pytest.mark.parametrize(
    ("arch", "why"),
    [
        ("reference", "flatten.* tells places apart"),
        ("residual", "has strides"),
        ("separable", "has strides"),
    ],
)
def test_networks_that_tell_left_from_right(arch: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"{arch} can't be mirrored: .*{why}"):
        mirror(build(arch, SHAPE, 5))


def test_odd_sides_and_channels() -> None:
    with pytest.raises(ConfigError, match="leaves out the last column"):
        mirror(build("base", (48, 36, 1), 5))
    inputs = keras.Input(SHAPE)
    with pytest.raises(ConfigError, match="has an odd number of channels"):
        mirror(keras.Model(inputs, keras.layers.Conv2D(3, 3, padding="same")(inputs)))


def test_it_stays_mirrored_while_it_learns() -> None:
    model = build("small", SHAPE, 5)
    keep_mirrored(model)
    model.compile(keras.optimizers.AdamW(0.01, 0.1), "categorical_crossentropy")
    rng = np.random.default_rng(9)
    faces, targets = rng.random((64, *SHAPE)).astype(np.float32), np.eye(5)[rng.integers(0, 5, 64)]
    before = model.get_weights()
    model.fit(faces, targets, batch_size=16, epochs=2, verbose=0)
    assert max(np.abs(a - b).max() for a, b in zip(before, model.get_weights(), strict=True)) > 0.01
    # The statistics, which no gradient moves, saw the faces from one side.
    statistics = [
        (variable.path, np.asarray(variable)) for variable in model.variables if "moving" not in variable.path
    ]
    mirror(model)
    for (path, kept), variable in zip(statistics, (v for v in model.variables if "moving" not in v.path), strict=True):
        assert np.allclose(kept, np.asarray(variable), atol=1e-6), path


def test_a_run_leaves_a_mirrored_network(
    dataset: Dataset, recipe: Recipe, alone: TensorflowEngine, tmp_path: Path
) -> None:
    fit(
        dataset,
        replace(recipe, arch="small", mirror=True, ema=0.9),
        tmp_path / "run",
        spec=InputSpec(),
        engine=alone,
        verbose=0,
    )
    assert difference(keras.models.load_model(tmp_path / "run" / "model.keras")) < 1e-3


def test_a_network_that_cannot_be_mirrored_leaves_nothing(
    dataset: Dataset, recipe: Recipe, alone: TensorflowEngine, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="can't be mirrored"):
        fit(dataset, replace(recipe, mirror=True), tmp_path / "run", spec=InputSpec(), engine=alone, verbose=0)
    assert not (tmp_path / "run").exists()
