"""One device, several devices of a machine, or several machines, through TensorFlow's tf.distribute."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from mien.edge.errors import ConfigError

_PATIENCE = 900.0
"""Seconds that a worker waits for the others, which may be reading data or saving; by default it were for ever."""
STRATEGIES = ("auto", "single", "mirrored", "multiworker")


@dataclass(frozen=True)
class Workers:
    """Who takes part in a training run, and which part this process has."""

    name: str
    """One of STRATEGIES but "auto"."""
    strategy: tf.distribute.Strategy
    shard: tuple[int, int] = (0, 1)
    """(k, n): this process is number k of n."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's files and prints."""
        return self.shard[0] == 0

    @property
    def replicas(self) -> int:
        """Devices over all machines; a batch is divided among them."""
        return int(self.strategy.num_replicas_in_sync)

    def feed(self, dataset: tf.data.Dataset, batch_size: int) -> Any:
        """What `fit` takes: `dataset`, this process's part, in batches of `batch_size` for each of its devices."""
        if self.name != "multiworker":
            return dataset  # Keras divides each batch among the devices of one process itself
        return self.strategy.distribute_datasets_from_function(lambda _: dataset.rebatch(batch_size))

    def prepare(self, model: keras.Model, shape: tuple[int, int, int], classes: int) -> None:
        """Makes a compiled model train as one device alone would with the whole batch."""
        if self.replicas > 1:
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True  # else each device has statistics of its own part alone
        if self.name != "multiworker":
            return
        # Keras 3 builds a model from the first batch of its data, outside of any replica, and returns scalars
        # from its steps; both fail with several machines (seen with Keras 3.15: "Variable … on replica" and a
        # reduction of rank-0 values). So it is built here, and its steps return vectors of one value.
        with self.strategy.scope():
            model._symbolic_build(data_batch=(tf.zeros((1, *shape)), tf.zeros((1, classes))))
        model._maybe_symbolic_build = lambda *_, **__: None
        for name in ("train_step", "test_step"):
            setattr(model, name, _with_vectors(getattr(model, name)))


def choose_workers(name: str = "auto") -> Workers:
    """The workers that `name`, one of STRATEGIES, stands for on this machine.

    "auto" is "multiworker" where TF_CONFIG names several workers, "mirrored" with several GPUs, else "single".
    TF_CONFIG is as TensorFlow documents it: https://www.tensorflow.org/guide/distributed_training.
    Raises ConfigError.
    """
    if name not in STRATEGIES:
        raise ConfigError(f"unknown strategy {name!r}: choose one of {', '.join(STRATEGIES)}")
    index, count = _place()
    gpus = len(tf.config.list_physical_devices("GPU"))
    if name == "auto":
        name = "multiworker" if count > 1 else "mirrored" if gpus > 1 else "single"
    if name == "single":
        return Workers(name, tf.distribute.get_strategy())
    if name == "mirrored":
        return Workers(name, tf.distribute.MirroredStrategy())
    if not count:
        raise ConfigError("strategy multiworker needs the environment variable TF_CONFIG with all workers' addresses")
    patience = tf.distribute.experimental.CommunicationOptions(timeout_seconds=_PATIENCE)
    return Workers(name, tf.distribute.MultiWorkerMirroredStrategy(communication_options=patience), (index, count))


def _place() -> tuple[int, int]:
    """This process's number and the number of workers by TF_CONFIG; (0, 0) without it."""
    text = os.environ.get("TF_CONFIG", "")
    if not text:
        return 0, 0
    try:
        config = json.loads(text)
        workers, task = config["cluster"]["worker"], config["task"]
        index = int(task["index"])
        if task["type"] != "worker" or not 0 <= index < len(workers):
            raise ValueError(f"task {task} is none of {len(workers)} workers")
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"TF_CONFIG can't be used ({type(error).__name__}: {error}): it must be JSON such as "
            '{"cluster": {"worker": ["host1:port", "host2:port"]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    return index, len(workers)


def _with_vectors(step: Any) -> Any:
    return lambda data: {name: tf.reshape(value, (1,)) for name, value in step(data).items()}
