"""BatchNorm after ReLU, made fit for 8 bits: its scale moves through the ReLU into the layer before.

TensorFlow's converter folds a BatchNorm into a convolution or dense layer right before it. Conv → ReLU → BatchNorm,
the reference network's order, is left as a multiplication and an addition, or its scale goes into the *next* layer's
weights; a unit that is nearly dead has a scale of up to 31 there and takes the precision of all others. As ReLU(s·x) =
s·ReLU(x) for s > 0, the scale can go into the layer before instead, where every unit has its own quantization step.
The network calculates the same as before; the units' ranges are evened out as a gift.
Source: Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction,
https://arxiv.org/abs/1906.04721, section 4.1 (with the scale that BatchNorm learned in place of theirs).
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from .network import import_keras

if TYPE_CHECKING:
    import keras


def fold_norms(network: keras.Model) -> list[str]:
    """Moves the scales that can be moved, in place.

    Returns the BatchNormalization layers of which conversion will leave a multiplication or an addition
    all the same: those that don't directly follow a convolution or dense layer.
    """
    keras = import_keras()
    producer = _producers(network)
    unfolded = []
    for norm in network.layers:
        if not isinstance(norm, keras.layers.BatchNormalization):
            continue
        before = producer.get(norm)
        if _is_linear(before, keras.activations.linear):
            continue
        unfolded.append(norm.name)
        # The ReLU is a layer of its own, or the convolution's activation.
        source = producer.get(before) if _is_relu(before) else before
        if _is_linear(source, keras.activations.linear if _is_relu(before) else keras.activations.relu):
            _move(source, norm)
    return unfolded


def _producers(network: keras.Model) -> dict[Any, Any]:
    """Layer → the layer whose output it takes, where it takes one only and nothing else takes that."""
    keras = import_keras()
    inputs: defaultdict[Any, list[Any]] = defaultdict(list)
    consumers: defaultdict[Any, int] = defaultdict(int)
    # Keras has no public view of a network's edges. A new Functional holds this network's alone.
    by_depth = keras.Model(network.inputs, network.outputs)._nodes_by_depth
    for node in (node for nodes in by_depth.values() for node in nodes):
        for parent in node.parent_nodes:
            inputs[node.operation].append(parent.operation)
            consumers[parent.operation] += 1
    return {layer: parents[0] for layer, parents in inputs.items() if len(parents) == 1 and consumers[parents[0]] == 1}


def _is_linear(layer: Any, activation: Any) -> bool:
    """Whether it is a convolution or dense layer (its last weight axis counts the units) with this activation."""
    keras = import_keras()
    return isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) and layer.activation is activation


def _is_relu(layer: Any) -> bool:
    """Whether it is a ReLU for which ReLU(s·x) = s·ReLU(x)."""
    keras = import_keras()
    if isinstance(layer, keras.layers.ReLU):
        return layer.max_value is None and not layer.threshold
    return isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.relu


def _move(source: Any, norm: Any) -> None:
    """Turns a·ReLU(x) + b into sign(a)·ReLU(|a|·x) + b; leaves a layer without gamma or beta as it is."""
    if not (norm.scale and norm.center):
        return
    gamma, beta, mean, variance = norm.get_weights()
    scale = gamma / np.sqrt(variance + norm.epsilon)
    shift = beta - mean * scale
    size = np.where(scale == 0, 1, np.abs(scale))  # a unit of scale 0 gives its shift alone
    source.set_weights([weights * size for weights in source.get_weights()])
    one = np.float32(1) - np.float32(norm.epsilon)
    norm.set_weights([np.sign(scale), shift, np.zeros_like(shift), np.full_like(shift, one)])
