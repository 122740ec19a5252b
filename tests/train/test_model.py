"""The networks are what they are said to be."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from mien.convert.network import multiply_accumulates
from mien.edge.errors import ConfigError
from mien.train.model import ARCHITECTURES, build

REFERENCE_LAYERS = [
    *(320, 128, 9_248, 128),
    *(18_496, 256, 36_928, 256),
    *(73_856, 512, 147_584, 512),
    *(295_168, 1_024, 590_080, 1_024),
    *(147_520, 256, 4_160, 256, 325),
]


def test_reference_network_has_the_published_layers() -> None:
    model = build("reference", (48, 48, 1), 5)
    assert [layer.count_params() for layer in model.layers if layer.count_params()] == REFERENCE_LAYERS
    assert model.count_params() == 1_328_037
    assert sum(int(np.prod(weight.shape)) for weight in model.trainable_weights) == 1_325_861
    block = ["Conv2D", "ReLU", "BatchNormalization"] * 2 + ["MaxPooling2D", "Dropout"]
    head = ["Dense", "ReLU", "BatchNormalization", "Dropout"] * 2 + ["Dense", "Softmax"]
    assert [type(layer).__name__ for layer in model.layers] == ["InputLayer", *block * 4, "Flatten", *head]


@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if arch != "reference"])
def test_every_batch_normalization_folds(arch: str) -> None:
    """Each directly follows a convolution without a bias, whose weights take it up."""
    for layer in build(arch, (48, 48, 1), 5).layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = layer.input._keras_history.operation
            assert isinstance(before, keras.layers.Conv2D | keras.layers.DepthwiseConv2D) and not before.use_bias


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_networks_cost_what_their_docstrings_say(arch: str) -> None:
    model = build(arch, (48, 48, 1), 5)
    macs, parameters = multiply_accumulates(model), model.count_params()
    assert ARCHITECTURES[arch].__doc__ is not None
    said = " ".join(ARCHITECTURES[arch].__doc__.split())
    if arch != "reference":
        assert f"{macs / 1e6:.1f} M multiply-accumulates" in said
        assert f"{parameters / 1e6:.2f} M parameters" in said


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("classes", [2, 7])
def test_networks_give_probabilities(arch: str, classes: int) -> None:
    scores = np.asarray(build(arch, (48, 48, 1), classes)(np.random.default_rng(0).random((3, 48, 48, 1), np.float32)))
    assert scores.shape == (3, classes)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_unknown_architecture_and_tiny_input() -> None:
    with pytest.raises(
        ConfigError, match="unknown architecture 'vgg': choose one of reference, base, deep, small, deep_small, wide"
    ):
        build("vgg", (48, 48, 1), 5)
    with pytest.raises(ConfigError, match="8×8 pixels"):
        build("reference", (8, 8, 1), 5)
