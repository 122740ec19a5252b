"""A Keras network's twin in PyTorch: the same graph and weights, computed by PyTorch's own operators.

Keras' PyTorch backend turns every picture's axes around for each layer and normalizes batches in single arithmetic
steps; PyTorch's own operators train the same network about three times as fast on a processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import keras
import torch
from torch import nn
from torch.nn import functional

from mien.edge.errors import ConfigError

from .mirror import Projection, projections

Function = Callable[..., torch.Tensor]


class TorchNetwork(nn.Module):
    """Reads float32 [N, channels, height, width] and gives logits float32 [N, classes]: it leaves out the Softmax."""

    def __init__(self, model: keras.Model) -> None:
        """A functional model of the layers that `train.model` uses. Raises ConfigError for any other layer."""
        super().__init__()
        self._input, self._output = id(model.inputs[0]), id(model.outputs[0])
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        self.steps = nn.ModuleList(_Step(layer) for layer in layers)
        self._projections = [projections(layer) for layer in layers]
        self._ways: list[tuple[list[int], int]] = []
        for layer in layers:
            inputs = layer.input if isinstance(layer.input, list) else [layer.input]
            self._ways.append(([id(tensor) for tensor in inputs], id(layer.output)))
        self.load(model)

    def forward(self, faces: torch.Tensor) -> torch.Tensor:
        """The logits."""
        values = {self._input: faces}
        for step, (inputs, output) in zip(self.steps, self._ways, strict=True):
            values[output] = step(*(values[tensor] for tensor in inputs))
        return values[self._output].float()

    def load(self, model: keras.Model) -> None:
        """Takes over the Keras model's weights."""
        for step, layer in self._pairs(model):
            for tensor, value in zip(step.tensors(), layer.get_weights(), strict=True):
                tensor.data.copy_(torch.from_numpy(value).permute(*step.order(value.ndim)))

    def save(self, model: keras.Model) -> None:
        """Gives its weights to the Keras model."""
        for step, layer in self._pairs(model):
            if tensors := step.tensors():
                layer.set_weights([t.detach().permute(*step.back(t.ndim)).float().cpu().numpy() for t in tensors])

    def mirror(self) -> None:
        """Makes weights and statistics mirrored ones, the nearest to what they are; see `train.mirror`."""
        for tensor, projection in self.projections():
            tensor.data.copy_(projection(tensor.detach()))

    def projections(self) -> Iterator[tuple[torch.Tensor, Projection]]:
        """Its weights and statistics that are mirrored, each with what mirrors a tensor of its shape."""
        for step, own in zip(self.steps, self._projections, strict=True):
            for tensor, projection in zip(step.tensors(), own, strict=True):
                if projection is not None:
                    yield tensor, partial(_reordered, projection, step.back(tensor.ndim), step.order(tensor.ndim))

    def _pairs(self, model: keras.Model) -> list[tuple[_Step, keras.layers.Layer]]:
        layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
        return list(zip(self.steps, layers, strict=True))


class _Step(nn.Module):
    """One layer: what has weights, and a function before and after it."""

    def __init__(self, layer: keras.layers.Layer) -> None:
        super().__init__()
        config = layer.get_config()
        self.depthwise = type(layer).__name__ == "DepthwiseConv2D"
        self.weighted, self._function = _parts(layer, config)
        self._stride = layer.strides if isinstance(self.weighted, nn.Conv2d) else (1, 1)
        self._activation = _activation(config.get("activation", "linear"), layer)

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        if self.weighted is None:
            return self._function(*inputs)
        (x,) = inputs
        if self._stride != (1, 1):
            x = functional.pad(x, self._padding(x))
        return self._activation(self.weighted(x))

    def _padding(self, x: torch.Tensor) -> list[int]:
        """TensorFlow's "same": of an odd number of pixels the last side gets one more."""
        assert isinstance(self.weighted, nn.Conv2d)
        sides: list[int] = []
        for axis in (1, 0):  # PyTorch wants the last axis first
            size, stride = x.shape[2 + axis], self._stride[axis]
            missing = max((-(-size // stride) - 1) * stride + self.weighted.kernel_size[axis] - size, 0)
            sides += [missing // 2, missing - missing // 2]
        return sides

    def tensors(self) -> list[torch.Tensor]:
        """The weights, in the order of the layer's `get_weights`."""
        if isinstance(self.weighted, nn.BatchNorm2d | nn.BatchNorm1d):
            mean, variance = self.weighted.running_mean, self.weighted.running_var
            assert mean is not None and variance is not None
            return [self.weighted.weight, self.weighted.bias, mean, variance]
        return [] if self.weighted is None else list(self.weighted.parameters())

    def order(self, axes: int) -> tuple[int, ...]:
        """From [height, width, in, out] to [out, in, height, width], from [in, out] to [out, in]."""
        return {1: (0,), 2: (1, 0), 4: (2, 3, 0, 1) if self.depthwise else (3, 2, 0, 1)}[axes]

    def back(self, axes: int) -> tuple[int, ...]:
        """The way back of `order`."""
        return {1: (0,), 2: (1, 0), 4: (2, 3, 0, 1) if self.depthwise else (2, 3, 1, 0)}[axes]


def _parts(layer: keras.layers.Layer, config: dict[str, Any]) -> tuple[nn.Module | None, Function]:
    """What has weights, or what is done instead."""
    match type(layer).__name__:
        case "Conv2D":
            return _convolution(layer, config, config["filters"], 1), _nothing
        case "DepthwiseConv2D":
            channels = layer.input.shape[-1]
            return _convolution(layer, config, channels * config["depth_multiplier"], channels), _nothing
        case "Dense":
            return nn.Linear(layer.input.shape[-1], config["units"], bias=config["use_bias"]), _nothing
        case "BatchNormalization":
            norm = nn.BatchNorm1d if len(layer.output.shape) == 2 else nn.BatchNorm2d
            return norm(layer.output.shape[-1], eps=config["epsilon"], momentum=1 - config["momentum"]), _nothing
        case "Dropout":
            return nn.Dropout(config["rate"]), _nothing
        case "MaxPooling2D":
            return nn.MaxPool2d(config["pool_size"], config["strides"]), _nothing
        case "GlobalAveragePooling2D":
            keep = config["keepdims"]
            return None, lambda x: x.mean((2, 3), keepdim=keep)
        case "Flatten":
            return None, lambda x: x.permute(0, 2, 3, 1).reshape(len(x), -1)  # Keras': height, width, channels
        case "ReLU":
            return None, torch.relu
        case "Add":
            return None, torch.add
        case "Multiply":
            return None, torch.mul
        case "Softmax":
            return None, lambda x: x
    raise _unknown(f"{type(layer).__name__} layer", layer)


def _reordered(
    projection: Projection, there: tuple[int, ...], back: tuple[int, ...], tensor: torch.Tensor
) -> torch.Tensor:
    mirrored: torch.Tensor = projection(tensor.permute(*there)).permute(*back)
    return mirrored


def _nothing(x: torch.Tensor) -> torch.Tensor:
    return x


def _convolution(layer: keras.layers.Layer, config: dict[str, Any], filters: int, groups: int) -> nn.Conv2d:
    size, strides = tuple(config["kernel_size"]), tuple(config["strides"])
    if (config["padding"] != "same" and size != (1, 1)) or tuple(config["dilation_rate"]) != (1, 1):
        raise _unknown("convolution without padding or with gaps", layer)
    padding = tuple(side // 2 for side in size) if strides == (1, 1) else 0
    return nn.Conv2d(layer.input.shape[-1], filters, size, strides, padding, groups=groups, bias=config["use_bias"])


def _activation(name: Any, layer: keras.layers.Layer) -> Function:
    known: dict[Any, Function] = {
        "linear": lambda x: x,
        "relu": torch.relu,
        "hard_sigmoid": functional.hardsigmoid,
    }
    if name not in known:
        raise _unknown(f"activation {name}", layer)
    return known[name]


def _unknown(what: str, layer: keras.layers.Layer) -> ConfigError:
    return ConfigError(f"the engine torch knows no {what} (in {layer.name}): use the engine tensorflow")
