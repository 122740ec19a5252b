"""One process of a training run, started by test_distribute with its own TF_CONFIG; not a test itself."""

from __future__ import annotations

import sys
from pathlib import Path

import keras
import tensorflow as tf
from keras import layers

from mien.edge.bundle import InputSpec
from mien.train import model as networks
from mien.train.augment import Augmentation
from mien.train.data import read_for_training
from mien.train.distribute import Workers, choose_workers
from mien.train.fit import fit
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import TensorflowEngine


def small(shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Has batch normalisation, which must see the whole batch; no dropout, which each device draws for itself."""
    x = inputs = keras.Input(shape)
    for filters in (4, 8):
        x = layers.Conv2D(filters, 3, 2, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Dense(classes)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Softmax(name="probabilities")(x))


if __name__ == "__main__":
    data, out, strategy = sys.argv[1:]
    networks.ARCHITECTURES["small"] = small
    recipe = Recipe(arch="small", epochs=2, batch_size=24, precision="float32", augmentation=Augmentation())
    if strategy == "two-devices":
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        workers = Workers("mirrored", tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    else:
        workers = choose_workers(strategy)
    dataset = read_for_training(Path(data), "five", InputSpec())
    fit(dataset, recipe, Path(out), spec=InputSpec(), engine=TensorflowEngine(workers), seed=1, verbose=0)
