"""Networks that read a face and its mirror image alike, whatever their weights have learned.

Half of each layer's channels are the other half's mirror images: what one sees on the left the other sees on the right.
A network that is only shown both learns the same thing twice, and not quite; one that is built so has half as many
weights to learn from the same faces. On the device nothing shows it: the layers are the plain ones, and so is the cost.

Source: Cohen & Welling, Group Equivariant Convolutional Networks, https://arxiv.org/abs/1602.07576, for the group of
the identity and the reflection. Weights are projected onto the equivariant ones after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
from keras import ops

from mien.edge.errors import ConfigError

Projection = Callable[[Any], Any]
"""Weights in Keras' order of axes → the nearest ones that are mirrored, of the same shape."""


def projections(layer: keras.layers.Layer) -> Sequence[Projection | None]:
    """For each of the layer's weights, in the order of `get_weights`, what mirrors it; None where nothing has to."""
    match type(layer).__name__:
        case "Conv2D":
            # The picture's own channels are not in pairs.
            kernel = partial(_mean, flipped=1, swapped=(2, 3) if layer.input.shape[-1] > 1 else (3,))
            return [kernel, partial(_mean, swapped=(0,))][: len(layer.weights)]
        case "DepthwiseConv2D":
            return [partial(_mean, flipped=1, swapped=(2,)), partial(_mean, swapped=(0,))][: len(layer.weights)]
        case "BatchNormalization":
            return [partial(_mean, swapped=(0,))] * len(layer.weights)
        case "Dense":
            return [partial(_mean, swapped=(0,)), None][: len(layer.weights)]
    return [None] * len(layer.weights)


def mirror(model: keras.Model) -> None:
    """Makes the model's weights and statistics mirrored ones, the nearest to what they are.

    Raises ConfigError for a network that can't be.
    """
    for layer in model.layers:
        if reason := _one_sided(layer):
            raise ConfigError(f"{model.name} can't be mirrored: {layer.name} {reason}; take another network")
    for layer in model.layers:
        for weight, projection in zip(layer.weights, projections(layer), strict=True):
            if projection is not None:
                weight.assign(projection(weight))


def _one_sided(layer: keras.layers.Layer) -> str:
    """Why a layer tells left from right whatever its weights; empty if it doesn't."""
    kind, strides = type(layer).__name__, getattr(layer, "strides", (1, 1))
    if kind == "Flatten":
        return "tells places apart"
    if kind == "MaxPooling2D" and layer.input.shape[2] % strides[1]:
        return "leaves out the last column"
    if kind.endswith("Conv2D") and strides != (1, 1):
        return "has strides, which begin at the left"  # of an even number of columns
    if kind.endswith("Conv2D") and layer.output.shape[-1] % 2:
        return "has an odd number of channels"
    return ""


def keep_mirrored(model: keras.Model) -> None:
    """Mirrors the model, and lets Keras' optimizer mirror its weights after each step."""
    mirror(model)
    for layer in model.layers:
        for weight, projection in zip(layer.weights, projections(layer), strict=True):
            if projection is not None and weight.trainable:
                weight.constraint = projection


def _mean(weights: Any, swapped: tuple[int, ...], flipped: int | None = None) -> Any:
    """The mean of `weights` and their mirror image's: `flipped` is the axis of the width, halves of others swap."""
    image = weights if flipped is None else ops.flip(weights, flipped)
    for axis in swapped:
        image = ops.roll(image, image.shape[axis] // 2, axis)
    return (weights + image) / 2
