"""The networks. Plain Keras 3 layers only, so that they train on any backend and convert to TFLite."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import layers

from mien.edge.errors import ConfigError


def reference(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """The reference network: 1,328,037 parameters for (48, 48, 1) and five classes.

    Four blocks of twice Conv → ReLU → BatchNorm, MaxPool, Dropout; then two dense layers of 64.
    """
    x = inputs = keras.Input(shape)
    for filters in (32, 64, 128, 256):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", kernel_initializer="he_normal")(x)
            x = layers.ReLU()(x)
            x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.2)(x)
    x = layers.Flatten()(x)
    for _ in range(2):
        x = layers.Dense(64, kernel_initializer="he_normal")(x)
        x = layers.ReLU()(x)
        x = layers.BatchNormalization()(x)
        x = layers.Dropout(0.5)(x)
    x = layers.Dense(classes, kernel_initializer="he_normal")(x)
    return keras.Model(inputs, _probabilities(x), name="reference")


def compact(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A small network whose every BatchNorm folds into the convolution before it.

    49.6 M multiply-accumulates and 0.53 M parameters for (48, 48, 1) and five classes.
    """
    x = inputs = keras.Input(shape)
    x = _conv_bn_relu(x, 24)
    x = _conv_bn_relu(x, 48, strides=2)
    for filters in (48, 96, 160):
        x = _conv_bn_relu(x, filters)
        if filters > 48:
            x = _conv_bn_relu(x, filters)
        if filters < 160:
            x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(0.3)(x)
    x = layers.Dense(classes)(x)
    return keras.Model(inputs, _probabilities(x), name="compact")


def _conv_bn_relu(x: keras.KerasTensor, filters: int, strides: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(layers.BatchNormalization()(x))


def _probabilities(logits: keras.KerasTensor) -> keras.KerasTensor:
    # A softmax in float32, whatever the precision of the rest: bfloat16 has 8 bits of mantissa.
    return layers.Softmax(dtype="float32", name="probabilities")(logits)


ARCHITECTURES: dict[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    "reference": reference,
    "compact": compact,
}


def build(arch: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A new network: float32 [N, height, width, 1] → probabilities [N, classes]. Raises ConfigError."""
    if arch not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {arch!r}: choose one of {', '.join(ARCHITECTURES)}")
    if min(shape[:2]) < 16:
        raise ConfigError(f"input of {shape[0]}×{shape[1]} pixels: the networks need at least 16×16")
    return ARCHITECTURES[arch](shape, classes)
