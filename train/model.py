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

    49.6 M multiply-accumulates and 0.53 M parameters for (48, 48, 1) and five classes, as all figures below.
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
    return _classified(inputs, x, classes, "compact")


def base(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Pairs of convolutions and a pooling, the first pair at full size: the network that Mien ships.

    59.5 M multiply-accumulates and 0.53 M parameters. The reference network's plan at two fifths of its width,
    with the order that folds, and without its dense layers, which held most of its weights.
    """
    return _pairs(shape, classes, ((20, 24), (48, 48), (96, 96), (160, 160)), "base")


def small(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`base` for the smallest boards: 11.2 M multiply-accumulates, 0.10 M parameters."""
    return _pairs(shape, classes, ((8, 12), (20, 20), (40, 40), (72, 72)), "small")


def wide(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`base` at the reference network's width, to teach the others: 117.4 M multiply-accumulates, 1.18 M parameters."""
    return _pairs(shape, classes, ((32, 32), (64, 64), (128, 128), (256, 256)), "wide", dropout=0.4)


def deep(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`base` with a fifth pair: 58.1 M multiply-accumulates, 0.92 M parameters.

    It has no dropout: it is to learn from teachers, of whose readings it misses as much on faces that it has learned
    from as on others.
    """
    return _pairs(shape, classes, ((20, 24), (48, 48), (88, 88), (136, 136), (176, 176)), "deep", dropout=0)


def broad(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`deep` at twice its width, to teach it: 223.0 M multiply-accumulates, 3.14 M parameters."""
    return _pairs(shape, classes, ((48, 48), (96, 96), (160, 160), (256, 256), (320, 320)), "broad", dropout=0.4)


def deep_small(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`deep` for the smallest boards: 12.0 M multiply-accumulates, 0.23 M parameters."""
    return _pairs(shape, classes, ((8, 12), (20, 20), (40, 40), (64, 64), (96, 96)), "deep_small", dropout=0)


def residual(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Convolutions in pairs with a way past them: 52.3 M multiply-accumulates, 0.56 M parameters.

    Source: He et al., Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385, with
    every activation after its normalization, so that all folds.
    """
    return _residual(shape, classes, (24, 32, 64, 128), (0, 1, 2, 1), "residual")


def squeeze(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """`residual` whose blocks weigh their channels by what the whole picture shows.

    52.3 M multiply-accumulates and 0.58 M parameters.

    Source: Hu et al., Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507.
    """
    return _residual(shape, classes, (24, 32, 64, 128), (0, 1, 2, 1), "squeeze", squeezed=True)


def separable(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Inverted residuals, with depthwise convolutions: 21.0 M multiply-accumulates, 0.26 M parameters.

    Source: Sandler et al., MobileNetV2, https://arxiv.org/abs/1801.04381, with plain ReLU.
    """
    x = inputs = keras.Input(shape)
    x = _conv_bn_relu(x, 16)
    x = _conv_bn_relu(x, 24, strides=2)
    for filters, strides in ((24, 1), (48, 2), (48, 1), (48, 1), (96, 2), (96, 1), (96, 1)):
        x = _inverted(x, filters, strides)
    return _classified(inputs, x, classes, "separable")


def bottleneck(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Residual blocks that narrow before their 3×3 convolution: 32.1 M multiply-accumulates, 0.51 M parameters.

    Source: He et al., https://arxiv.org/abs/1512.03385, figure 5.
    """
    x = inputs = keras.Input(shape)
    x = _conv_bn_relu(x, 16)
    x = _conv_bn_relu(x, 32, strides=2)
    for filters, blocks in ((32, 1), (96, 2), (192, 2)):
        if filters > 32:
            x = _conv_bn_relu(x, filters, strides=2)
        for _ in range(blocks):
            y = _conv_bn_relu(x, filters // 2, size=1)
            y = _conv_bn_relu(y, filters // 2)
            y = layers.BatchNormalization()(_conv(y, filters, size=1))
            x = layers.ReLU()(layers.Add()([x, y]))
    return _classified(inputs, x, classes, "bottleneck")


def _pairs(
    shape: tuple[int, int, int],
    classes: int,
    filters: tuple[tuple[int, int], ...],
    name: str,
    dropout: float = 0.3,
) -> keras.Model:
    x = inputs = keras.Input(shape)
    for stage, pair in enumerate(filters):
        if stage:
            x = layers.MaxPooling2D()(x)
        for width in pair:
            x = _conv_bn_relu(x, width)
    return _classified(inputs, x, classes, name, dropout)


def _residual(
    shape: tuple[int, int, int],
    classes: int,
    filters: tuple[int, ...],
    blocks: tuple[int, ...],
    name: str,
    squeezed: bool = False,
) -> keras.Model:
    """Stages that each halve height and width (but the first) and then have some residual blocks."""
    x = inputs = keras.Input(shape)
    for stage, (width, count) in enumerate(zip(filters, blocks, strict=True)):
        x = _conv_bn_relu(x, width, strides=2 if stage else 1)
        for _ in range(count):
            y = _conv_bn_relu(x, width)
            y = layers.BatchNormalization()(_conv(y, width))
            if squeezed:
                weights = layers.GlobalAveragePooling2D(keepdims=True)(y)
                weights = layers.Conv2D(max(8, width // 4), 1, activation="relu")(weights)
                weights = layers.Conv2D(width, 1, activation="hard_sigmoid")(weights)
                y = layers.Multiply()([y, weights])
            x = layers.ReLU()(layers.Add()([x, y]))
    return _classified(inputs, x, classes, name)


def _inverted(x: keras.KerasTensor, filters: int, strides: int, expansion: int = 4) -> keras.KerasTensor:
    y = _conv_bn_relu(x, x.shape[-1] * expansion, size=1)
    y = layers.DepthwiseConv2D(3, strides, padding="same", use_bias=False, depthwise_initializer="he_normal")(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.BatchNormalization()(_conv(y, filters, size=1))
    return layers.Add()([x, y]) if y.shape == x.shape else y


def _conv(x: keras.KerasTensor, filters: int, strides: int = 1, size: int = 3) -> keras.KerasTensor:
    return layers.Conv2D(filters, size, strides, padding="same", use_bias=False, kernel_initializer="he_normal")(x)


def _conv_bn_relu(x: keras.KerasTensor, filters: int, strides: int = 1, size: int = 3) -> keras.KerasTensor:
    return layers.ReLU()(layers.BatchNormalization()(_conv(x, filters, strides, size)))


def _classified(
    inputs: keras.KerasTensor, x: keras.KerasTensor, classes: int, name: str, dropout: float = 0.3
) -> keras.Model:
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(dropout)(x)
    return keras.Model(inputs, _probabilities(layers.Dense(classes)(x)), name=name)


def _probabilities(logits: keras.KerasTensor) -> keras.KerasTensor:
    # A softmax in float32, whatever the precision of the rest: bfloat16 has 8 bits of mantissa.
    return layers.Softmax(dtype="float32", name="probabilities")(logits)


ARCHITECTURES: dict[str, Callable[[tuple[int, int, int], int], keras.Model]] = {
    network.__name__: network
    for network in (
        reference,
        base,
        deep,
        small,
        deep_small,
        wide,
        broad,
        compact,
        residual,
        squeeze,
        separable,
        bottleneck,
    )
}


def build(arch: str, shape: tuple[int, int, int], classes: int) -> keras.Model:
    """A new network: float32 [N, height, width, 1] → probabilities [N, classes]. Raises ConfigError."""
    if arch not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {arch!r}: choose one of {', '.join(ARCHITECTURES)}")
    if min(shape[:2]) < 16:
        raise ConfigError(f"input of {shape[0]}×{shape[1]} pixels: the networks need at least 16×16")
    return ARCHITECTURES[arch](shape, classes)
