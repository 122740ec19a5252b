"""How much each layer loses by being calculated in 8-bit integers."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien.edge.bundle import InputSpec
from mien.edge.records import Image

from .quantize import int8_converter, representative

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class LayerError:
    """One operator's own error: integer against float arithmetic on the same inputs."""

    position: int
    """From 1, in the model's order."""
    operator: str
    layers: str
    """The Keras layers that the operator does the work of."""
    rmse: float
    """Root mean square error in the network's own units."""
    scale: float
    """The output's quantization step, in the same units."""

    @property
    def steps(self) -> float:
        """The error in quantization steps. Rounding alone gives 1/√12 ≈ 0.29; much more means a real loss."""
        return self.rmse / self.scale


def layer_errors(network: keras.Model, spec: InputSpec, representatives: Image, faces: Image) -> list[LayerError]:
    """Every operator's error over `faces` (uint8 [N, H, W]) in the int8 model, worst first.

    Source: https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_debugger
    """
    import tensorflow as tf

    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=int8_converter(network, spec, representatives), debug_dataset=representative(faces, spec)
    )
    debugger.run()
    table = io.StringIO()
    debugger.layer_statistics_dump(table)
    table.seek(0)
    errors = [
        LayerError(
            position=position,
            operator=row["op_name"],
            layers=_layer_names(row["tensor_name"], {layer.name for layer in network.layers}),
            rmse=float(row["mean_squared_error"]) ** 0.5,
            scale=float(row["scale"]),
        )
        for position, row in enumerate(csv.DictReader(table), 1)
    ]
    return sorted(errors, key=lambda error: error.steps, reverse=True)


def _layer_names(tensor: str, known: set[str]) -> str:
    """The layers named in a tensor name such as ``reference_1/re_lu_1/Relu;reference_1/conv2d_1/BiasAdd``."""
    found: dict[str, None] = {}
    for path in tensor.split(";"):
        for part in path.split("/"):
            # TensorFlow numbers scopes once more: conv2d becomes conv2d_1, and conv2d_1 becomes conv2d_1_2.
            name = next((name for name in (part.rpartition("_")[0], part) if name in known), None)
            if name:
                found[name] = None
    return ", ".join(found) or "the output"
