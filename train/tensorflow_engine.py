"""Training with TensorFlow: one device, several, or several machines."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mien.edge.bundle import InputSpec
from mien.edge.classifier import Classifier
from mien.edge.errors import MienError
from mien.edge.preprocess import scale_pixels

from .batches import EVALUATION_BATCH, evaluation_batches, training_batches
from .distill import columns, load_teacher, read_faces
from .distribute import Workers
from .engine import Job, has_bfloat16
from .mirror import keep_mirrored
from .model import build
from .muon import Muon
from .recipe import Recipe
from .run import KeepEpochs, RunFolder
from .schedule import has_stopped


@dataclass(frozen=True)
class TensorflowEngine:
    """Keras' own `fit`; the same seed on the same machine gives the same run, resumed or not."""

    workers: Workers
    name: str = "tensorflow"

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's files, if several train together."""
        return self.workers.is_first

    @property
    def alone(self) -> bool:
        """Whether no other process takes part."""
        return self.workers.shard[1] == 1

    def precision(self, wanted: str) -> str:
        """What a recipe's precision is on this machine: one of PRECISIONS but "auto"."""
        return choose_precision(wanted)

    def describe(self) -> dict[str, Any]:
        """What a run depends on beside the recipe, for config.json."""
        return {"strategy": {"name": self.workers.name, "workers": self.workers.shard[1]}}

    def seed(self, seed: int) -> None:
        """Makes what is drawn from now on follow from `seed`."""
        keras.utils.set_random_seed(seed)

    def train(self, job: Job, folder: RunFolder, verbose: int) -> None:
        """Trains the epochs that `folder` lacks, and keeps each in it."""
        recipe, workers, classes = job.recipe, self.workers, len(job.classes)
        tf.config.experimental.enable_op_determinism()
        keras.config.set_dtype_policy(recipe.precision)
        teachers = Teachers(job.teachers, job.classes, job.spec) if job.teachers else None
        batches = training_batches(
            job.faces,
            recipe.batch_size,
            classes,
            job.spec,
            recipe.augmentation,
            seed=job.seed,
            targets=job.targets,
            teach=teachers,
            blur=recipe.distillation.blur,
            first_epoch=folder.epochs,
            mixed_epochs=recipe.mixed_epochs,
            shard=workers.shard,
        )
        with workers.strategy.scope():
            model = build(recipe.arch, job.shape, classes)
            if recipe.mirror:
                keep_mirrored(model)
            model.compile(
                make_optimizer(recipe, job.steps),
                keras.losses.CategoricalCrossentropy(),  # the targets are smoothed already
                metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            )
            if folder.epochs:
                folder.restore(model)
        workers.prepare(model, job.shape, classes)
        stopping = keras.callbacks.EarlyStopping(
            "val_loss" if recipe.monitor == "last" else recipe.monitor, patience=recipe.early_stopping or recipe.epochs
        )
        kept: list[keras.callbacks.Callback] = [stopping]
        if recipe.schedule == "plateau":
            kept.append(
                keras.callbacks.ReduceLROnPlateau("val_loss", recipe.plateau_factor, recipe.plateau_patience, verbose=0)
            )
        callbacks = [*kept, KeepEpochs(folder, recipe.monitor, kept)]
        if recipe.ema:
            callbacks.insert(0, keras.callbacks.SwapEMAWeights())  # validation sees the average
        if workers.is_first:
            callbacks.append(keras.callbacks.TensorBoard(folder.path / "tensorboard", write_graph=False))
        if folder.epochs >= recipe.epochs or has_stopped(recipe, folder.history):
            return
        try:
            model.fit(
                workers.feed(batches, recipe.batch_size // workers.replicas),
                epochs=recipe.epochs,
                initial_epoch=folder.epochs,
                steps_per_epoch=job.steps,
                # every worker judges all of it, so that all slow down and stop together
                validation_data=workers.feed(evaluation_batches(job.validation, classes, job.spec), EVALUATION_BATCH),
                validation_steps=-(-len(job.validation) // EVALUATION_BATCH),
                callbacks=callbacks,
                shuffle=False,  # the batches are shuffled already
                verbose=verbose if workers.is_first else 0,
            )
        except (tf.errors.UnavailableError, tf.errors.DeadlineExceededError) as error:
            raise MienError(
                f"another worker is gone or silent: start all again with --resume ({error.message})"
            ) from error


class Teachers:
    """Several teachers as one.

    Each face is read by one of them: on average the gradient is that of the mean of all, at the cost of one.
    """

    def __init__(self, paths: Sequence[Path], classes: Sequence[str], spec: InputSpec) -> None:
        """`classes` are the student's: a teacher that knows more is asked which of these it is. `spec` is its input.

        Raises ConfigError, BundleError.
        """
        self._spec = spec
        self._teachers = []
        for path in paths:
            teacher, own = load_teacher(path, spec)
            self._teachers.append((teacher, columns(own, classes)))
        self._lock = threading.Lock()
        """Batches are made in several threads; an interpreter serves one at a time."""

    def __call__(self, pixels: Any, draws: Any) -> tf.Tensor:
        """float32 [N, classes] of faces float32 [N, H, W, 1] with pixels 0–255; each row sums to 1.

        `draws` (float [N], at random) share the faces out: the first teacher reads those with the least.
        """
        count = len(self._teachers)
        sizes = [len(range(k, pixels.shape[0], count)) for k in range(count)]
        order = tf.argsort(draws)
        readings = []
        for (teacher, chosen), rows in zip(self._teachers, tf.split(order, sizes), strict=True):
            scores = tf.gather(self._scores(teacher, tf.gather(pixels, rows)), chosen, axis=1)
            readings.append(scores / tf.reduce_sum(scores, axis=1, keepdims=True))
        return tf.gather(tf.concat(readings, axis=0), tf.argsort(order))

    def _scores(self, teacher: keras.Model | Classifier, pixels: tf.Tensor) -> tf.Tensor:
        """float32 [N, the teacher's classes]."""
        if not isinstance(teacher, Classifier):
            return teacher(scale_pixels(pixels, self._spec.scale, self._spec.offset), training=False)
        scores = tf.numpy_function(partial(self._read, teacher), [pixels], tf.float32)
        return tf.ensure_shape(scores, (pixels.shape[0], len(teacher.labels)))

    def _read(self, classifier: Classifier, pixels: np.ndarray) -> np.ndarray:
        with self._lock:
            return read_faces(classifier, pixels)


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's; `steps` is the number of steps an epoch."""
    rate: float | keras.optimizers.schedules.LearningRateSchedule = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = round(recipe.warmup_epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else recipe.learning_rate,
            decay_steps=max(recipe.epochs * steps - warmup, 1),
            warmup_target=recipe.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    options: dict[str, Any] = {"use_ema": True, "ema_momentum": recipe.ema} if recipe.ema else {}
    decay = recipe.weight_decay
    if recipe.optimizer == "muon":
        optimizer = Muon(rate, weight_decay=decay, adam_weight_decay=decay, **options)
    elif decay:
        optimizer = keras.optimizers.AdamW(rate, decay, **options)
    else:
        return keras.optimizers.Adam(rate, **options)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def choose_precision(precision: str) -> str:
    """The dtype policy of a recipe's precision: "auto" is mixed_bfloat16 where the processor has bfloat16 arithmetic.

    With AVX-512 BF16 it trained the reference network about twice as fast; without such instructions
    TensorFlow emulates it and loses. `mien-train bench` measures both.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability", (0, 0))
        return "mixed_bfloat16" if capability >= (8, 0) else "float32"
    return "mixed_bfloat16" if has_bfloat16() else "float32"
