"""Keras network → TFLite model: full integer, dynamic range, float16 or float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from mien.edge.bundle import InputSpec
from mien.edge.dataset import FaceSet
from mien.edge.errors import ConfigError, DataError
from mien.edge.preprocess import pixel_table
from mien.edge.records import Image

from .network import import_keras

if TYPE_CHECKING:
    import keras

Quantization = Literal["int8", "dynamic", "float16", "none"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)
IO = Literal["int8", "uint8"]

MIN_SAMPLES = 500
"""Fewest representative faces."""


def representative_faces(
    faces: FaceSet, classes: tuple[str, ...], samples: int, seed: int
) -> tuple[Image, dict[str, int]]:
    """uint8 [samples, H, W]: different training faces, drawn by `seed`, as evenly over the classes as they allow.

    And how many are of each class. The classes take turns; one that has no more faces leaves its turns to the
    others. Faces with the same pixels count once: FER2013 has some twice. Raises DataError if there are too few.
    """
    rng = np.random.default_rng(seed)
    queues = [iter(rng.permutation(np.flatnonzero(faces.labels == i))) for i in range(len(classes))]
    waiting = list(range(len(classes)))
    counts = dict.fromkeys(classes, 0)
    seen: set[bytes] = set()
    chosen: list[Image] = []
    while waiting and len(chosen) < samples:
        for i in waiting.copy():
            face = _next_new(faces, queues[i], seen)
            if face is None:
                waiting.remove(i)
            elif len(chosen) < samples:
                chosen.append(face)
                counts[classes[i]] += 1
    if len(chosen) < samples:
        raise DataError(
            f"only {len(chosen)} different training faces for calibration, {samples} are needed: "
            "give more data, fewer --samples, or --quantize float16, which needs none"
        )
    return np.stack(chosen), counts


def _next_new(faces: FaceSet, queue: Iterator[int], seen: set[bytes]) -> Image | None:
    """The queue's next face whose pixels weren't seen before."""
    for index in queue:
        face: Image = faces.take(np.array([index]))[0]
        if (pixels := face.tobytes()) not in seen:
            seen.add(pixels)
            return face
    return None


def convert(
    network: keras.Model, spec: InputSpec, quantization: Quantization, faces: Image | None = None, io: IO = "int8"
) -> bytes:
    """The TFLite model of a network, for one face at a time, in inference mode.

    int8 calculates in integers throughout, from `faces` (uint8 [N, H, W], representative), and takes and gives `io`.
    Source: https://ai.google.dev/edge/litert/models/post_training_quantization. Raises ConfigError.
    """
    import tensorflow as tf

    if quantization == "int8":
        if faces is None:
            raise ValueError("int8 needs representative faces")
        converter = int8_converter(network, spec, faces)
        converter.inference_input_type = converter.inference_output_type = tf.dtypes.as_dtype(io)
    else:
        converter = _converter(network, spec)
        if quantization == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if quantization == "none":
            converter.optimizations = []
        # Per-channel weights of a dense layer make it FULLY_CONNECTED version 12 in dynamic-range mode, which
        # tflite-runtime 2.14 doesn't know. In full integer mode they are version 4, which it calculates rightly.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    try:
        return bytes(converter.convert())
    except Exception as error:  # the converter raises its own ConverterError, RuntimeError and ValueError
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"TensorFlow can't convert the network to {quantization}: {reason}") from error


def int8_converter(network: keras.Model, spec: InputSpec, faces: Image) -> Any:
    """A full-integer TFLiteConverter, calibrated on gray faces uint8 [N, H, W], with float input and output."""
    import tensorflow as tf

    converter = _converter(network, spec)
    converter.representative_dataset = representative(faces, spec)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    return converter


def representative(faces: Image, spec: InputSpec) -> Callable[[], Iterator[list[np.ndarray]]]:
    """A representative data set as TensorFlow wants it: float32 [1, H, W, 1] of each gray face of uint8 [N, H, W]."""
    table = pixel_table(spec.scale, spec.offset)
    return lambda: ([table[face][np.newaxis, ..., np.newaxis]] for face in faces)


def _converter(network: keras.Model, spec: InputSpec) -> Any:
    keras = import_keras()
    import tensorflow as tf

    face = keras.Input(batch_shape=(1, spec.height, spec.width, spec.channels), name="face")
    # Not the network called on `face`: it would be a scope of its own, and its name in that of every tensor twice.
    single = keras.models.clone_model(network, input_tensors=face)
    single.set_weights(network.get_weights())
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return converter
