"""Makes tiny_int8.tflite and tiny_float.tflite, which stand for a model in the tests; needs mien[train].

Run from the repository's root: python tests/edge/assets/make_models.py
It trains a network of about 1,500 parameters on the patterns of tests/edge/patterns.py and converts it as
Mien converts its own: full integer with real samples, and plain float32.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from patterns import LABELS, patterns  # noqa: E402

keras.utils.set_random_seed(1)
faces, labels = patterns(300, seed=1)
inputs = faces[..., None].astype(np.float32) / 255

network = keras.Sequential(
    [
        keras.Input((48, 48, 1)),
        keras.layers.Conv2D(8, 5, strides=2, activation="relu"),
        keras.layers.Conv2D(14, 3, strides=2, activation="relu"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(len(LABELS), activation="softmax"),
    ]
)
network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
network.optimizer.learning_rate = 0.01
network.fit(inputs, labels, batch_size=32, epochs=12, verbose=2)


def samples() -> Iterator[list[np.ndarray]]:
    for face in inputs[::5]:
        yield [face[None]]


face = keras.Input(batch_shape=(1, 48, 48, 1), name="face")
single = keras.Model(face, network(face, training=False))
for name, integer in (("tiny_float", False), ("tiny_int8", True)):
    converter = tf.lite.TFLiteConverter.from_keras_model(single)
    if integer:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = samples
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        # Per-channel dense weights raise the operator's version beyond what tflite-runtime 2.14 knows.
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    (HERE / f"{name}.tflite").write_bytes(converter.convert())
