"""From faces to batches (tf.data), the same for one process and for many workers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from mien.edge.bundle import InputSpec
from mien.edge.dataset import FaceSet
from mien.edge.errors import DataError
from mien.edge.preprocess import scale_pixels

from .augment import Augment, Augmentation, Mix, RandomCamera
from .distill import beside_softened, smoothed

EVALUATION_BATCH = 128


def training_batches(
    faces: FaceSet,
    batch_size: int,
    classes: int,
    spec: InputSpec,
    augmentation: Augmentation,
    *,
    seed: int,
    targets: np.ndarray | None = None,
    teach: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
    blur: float = 0.0,
    first_epoch: int = 0,
    mixed_epochs: int | None = None,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Endless shuffled, augmented batches: float32 [b, H, W, 1] and their rows of `targets`, float32 [b, classes].

    `targets` (float32 [N, classes]) say what each face is; by default its label alone, one-hot. What a row lacks to a
    sum of 1 is the share of `teach`, which reads each augmented batch: [b, H, W, 1] with pixels 0–255, and b random
    numbers of 0 to 1 that say which teacher reads which face → [b, classes]. `blur` is Distillation's.

    Each epoch has len(faces) // batch_size steps; what is left over takes its turn in another epoch. Order
    and augmentation follow from `seed`, the epoch and the step alone, so that a resumed run goes on as it
    would have. After `mixed_epochs` faces are no longer mixed. `shard` (k, n) is the k-th of n equal parts
    of exactly the batch that one worker alone would see. Only indices are shuffled: the faces themselves
    may be larger than memory.
    """
    size, steps = len(faces), len(faces) // batch_size
    if not steps:
        raise DataError(f"{size} training faces don't fill a batch of {batch_size}: lower the recipe's batch_size")
    if batch_size % shard[1]:
        raise DataError(f"a batch of {batch_size} can't be split evenly over {shard[1]} workers")
    mix = Mix(augmentation)
    if mix.used and batch_size // shard[1] % 2:
        raise DataError(
            f"mixup and cutmix take faces by twos: a batch of {batch_size} over {shard[1]} workers isn't even"
        )
    part = slice(shard[0] * batch_size // shard[1], (shard[0] + 1) * batch_size // shard[1])
    # With a seed of its own it takes none from the generator that the network's first weights are drawn with.
    augment, camera = Augment(augmentation), RandomCamera(augmentation, seed)
    mixed_steps = np.iinfo(np.int64).max if mixed_epochs is None else mixed_epochs * steps
    wanted = smoothed(faces.labels, classes, 0) if targets is None else targets

    def epoch_steps(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(tf.range(size, dtype=tf.int64), seed=[seed, epoch])
        batches = tf.reshape(order[: steps * batch_size], (steps, batch_size))[:, part]
        numbers = epoch * steps + tf.range(steps, dtype=tf.int64)
        return tf.data.Dataset.from_tensor_slices((batches, numbers))

    def augmented(indices: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = _gather(faces, indices, wanted)
        draws = tf.random.stateless_uniform((batch_size, Augment.DRAWS + Mix.DRAWS), seed=[seed, step])[part]
        pixels = augment(pixels, draws[:, Mix.DRAWS :])
        if teach is not None and blur:
            pixels = beside_softened(pixels, augment.are_still(draws[:, Mix.DRAWS :]), blur)
        if mix.used:
            # A draw of 1 is in no share of the images.
            mixing = tf.where(step < mixed_steps, draws[:, : Mix.DRAWS], 1.0)
            pixels, labels = mix(pixels, labels, mixing)
        if teach is not None:
            draws = tf.random.stateless_uniform(
                (batch_size,), seed=tf.random.experimental.stateless_fold_in([seed, step], 1)
            )[part]
            labels += (1 - tf.reduce_sum(labels, axis=1, keepdims=True)) * teach(pixels[..., -1:], draws)
        pixels = pixels[..., :1]
        if camera.used:
            draws = tf.random.stateless_uniform((batch_size, RandomCamera.DRAWS), seed=[~seed, step])[part]
            pixels = camera(pixels, draws)
        return scale_pixels(pixels, spec.scale, spec.offset), labels

    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    dataset = epochs.flat_map(epoch_steps).map(augmented, num_parallel_calls=tf.data.AUTOTUNE)
    return _unsharded(dataset.prefetch(tf.data.AUTOTUNE))


def evaluation_batches(
    faces: FaceSet, classes: int, spec: InputSpec, batch_size: int = EVALUATION_BATCH
) -> tf.data.Dataset:
    """All faces once, in order: float32 [b, H, W, 1] and one-hot float32 [b, classes]; the last batch may be short."""

    wanted = smoothed(faces.labels, classes, 0)

    def scaled(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, labels = _gather(faces, indices, wanted)
        return scale_pixels(pixels, spec.scale, spec.offset), labels

    dataset = tf.data.Dataset.range(len(faces)).batch(batch_size).map(scaled, num_parallel_calls=tf.data.AUTOTUNE)
    return _unsharded(dataset.prefetch(tf.data.AUTOTUNE))


def _gather(faces: FaceSet, indices: tf.Tensor, targets: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
    """Pixels float32 [b, H, W, 1] (0–255) and targets float32 [b, classes] of the faces `indices`."""

    def fetch(rows: np.ndarray) -> tuple[Any, Any]:
        return faces.take(rows), targets[rows]

    pixels, labels = tf.numpy_function(fetch, [indices], (tf.uint8, tf.float32))
    pixels = tf.ensure_shape(pixels, (indices.shape[0], *faces.store.shape[1:]))
    labels = tf.ensure_shape(labels, (indices.shape[0], targets.shape[1]))
    return tf.cast(pixels, tf.float32)[..., tf.newaxis], labels


def _unsharded(dataset: tf.data.Dataset) -> tf.data.Dataset:
    # Every worker builds its own part already; tf.distribute's own sharding would take a part of the part.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)
