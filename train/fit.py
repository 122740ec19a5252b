"""Training: reads top to bottom in `fit`."""

from __future__ import annotations

import json
import platform
import time
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset, FaceSet
from mien.edge.errors import ConfigError
from mien.edge.files import replacing, write_text
from mien.edge.metrics import Metrics, measure
from mien.edge.preprocess import scale_pixels

from . import plots
from .augment import Augment, Augmentation
from .data import EVALUATION_BATCH, evaluation_batches, training_batches
from .distill import STEP, TEACHERS, blended, smoothed, teacher_recipe
from .distribute import Workers
from .model import build
from .recipe import Recipe
from .run import KeepEpochs, RunFolder

_PACKAGES = ("mien", "tensorflow", "keras", "numpy", "opencv-python", "opencv-python-headless")


def fit(
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    spec: InputSpec,
    workers: Workers,
    seed: int = 0,
    resume: bool = False,
    verbose: int = 1,
) -> Metrics | None:
    """Trains a network on `data` by `recipe` and leaves everything about the run in folder `out`.

    Afterwards `out` has model.keras (float32, the best epoch), metrics.json, history.csv, config.json,
    curves.png, confusion.png, samples.png and TensorBoard logs. Returns the metrics of the validation
    split, or None in all workers but the first. The same seed on the same machine gives the same run, resumed
    or not. Raises ConfigError, DataError.
    """
    recipe = replace(recipe, precision=choose_precision(recipe.precision))
    folder = RunFolder(out, writes=workers.is_first)
    folder.start(describe(data, recipe, spec, seed, workers), resume)
    teachers = _teachers(data, recipe, out, spec, workers, seed, verbose)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    keras.config.set_dtype_policy(recipe.precision)

    shape, classes = (spec.height, spec.width, spec.channels), len(data.classes)
    train_faces, validation_faces = data.splits["train"], data.splits["validation"]
    batches = training_batches(
        train_faces,
        recipe.batch_size,
        classes,
        spec,
        recipe.augmentation,
        seed=seed,
        targets=_targets(train_faces, classes, recipe, teachers, spec, verbose),
        first_epoch=folder.epochs,
        shard=workers.shard,
    )
    steps = len(train_faces) // recipe.batch_size
    if workers.is_first:
        _sample_sheet(out / "samples.png", train_faces, recipe.augmentation, seed)

    with workers.strategy.scope():
        model = build(recipe.arch, shape, classes)
        model.compile(
            make_optimizer(recipe, steps),
            keras.losses.CategoricalCrossentropy(),  # the targets are smoothed already
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        )
        if folder.epochs:
            folder.restore(model)
    workers.prepare(model, shape, classes)
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
        callbacks.append(keras.callbacks.TensorBoard(out / "tensorboard", write_graph=False))
    stopped = 0 < recipe.early_stopping <= folder.memory.get("EarlyStopping", {}).get("wait", -1)
    if folder.epochs < recipe.epochs and not stopped:
        model.fit(
            workers.feed(batches, recipe.batch_size // workers.replicas),
            epochs=recipe.epochs,
            initial_epoch=folder.epochs,
            steps_per_epoch=steps,
            # every worker judges all of it, so that all slow down and stop together
            validation_data=workers.feed(evaluation_batches(validation_faces, classes, spec), EVALUATION_BATCH),
            validation_steps=-(-len(validation_faces) // EVALUATION_BATCH),
            callbacks=callbacks,
            shuffle=False,  # the batches are shuffled already
            verbose=verbose if workers.is_first else 0,
        )
    return finish(data, recipe, folder, spec) if workers.is_first else None


def _teachers(
    data: Dataset, recipe: Recipe, out: Path, spec: InputSpec, workers: Workers, seed: int, verbose: int
) -> list[Path]:
    """The networks (model.keras) of the recipe's teachers; those that aren't there yet are trained, or trained on."""
    number = recipe.distillation.teachers
    if number and workers.shard[1] > 1:
        raise ConfigError(
            "a recipe with teachers is for one machine: set its distillation.teachers to 0 for several machines"
        )
    paths = []
    for k in range(1, number + 1):
        folder = out / TEACHERS / str(k)
        paths.append(folder / "model.keras")
        if paths[-1].exists():
            continue
        if verbose:
            print(f"teacher {k} of {number}, in {folder}", flush=True)
        began = (folder / "config.json").exists()
        fit(
            data,
            teacher_recipe(recipe),
            folder,
            spec=spec,
            workers=workers,
            seed=seed + k,
            resume=began,
            verbose=verbose,
        )
        keras.backend.clear_session()
    return paths


def _targets(
    faces: FaceSet, classes: int, recipe: Recipe, teachers: list[Path], spec: InputSpec, verbose: int
) -> np.ndarray:
    """float32 [N, classes]: what the network learns of each training face."""
    targets = smoothed(faces.labels, classes, recipe.label_smoothing)
    if not teachers:
        return targets
    steps = -(-len(faces) // STEP) * len(teachers)
    progress = keras.utils.Progbar(steps, verbose=verbose, unit_name="batch")
    if verbose:
        print("the teachers read the training faces", flush=True)
    return blended(targets, faces, teachers, recipe.distillation.weight, spec, lambda: progress.add(1))


def finish(data: Dataset, recipe: Recipe, folder: RunFolder, spec: InputSpec) -> Metrics:
    """Writes the best epoch's network in float32, its metrics and its pictures."""
    keras.config.set_dtype_policy("float32")
    model = build(recipe.arch, (spec.height, spec.width, spec.channels), len(data.classes))
    model.load_weights(folder.best_weights())
    scores = predict(model, data.splits["validation"], spec)
    metrics = measure(scores, data.splits["validation"].labels, data.classes)
    with replacing(folder.path / "model.keras") as partial:
        model.save(partial)
    plots.curves(folder.path / "curves.png", folder.history, folder.best_epoch)
    title = f"Validation: accuracy {metrics.accuracy:.3f}, macro-F1 {metrics.macro_f1:.3f}"
    plots.confusion(folder.path / "confusion.png", metrics.confusion, data.classes, title)
    summary = {
        "split": "validation",
        **metrics.to_json(),
        "best_epoch": folder.best_epoch,
        "epochs": folder.epochs,
        "seconds": round(sum(row["seconds"] for row in folder.history), 1),
    }
    write_text(folder.path / "metrics.json", json.dumps(summary, indent=1) + "\n")
    return metrics


def predict(model: keras.Model, faces: FaceSet, spec: InputSpec) -> np.ndarray:
    """float32 [N, classes]: a Keras network's probabilities of all faces, scaled as the device scales them."""
    batches = [
        model.predict_on_batch(
            scale_pixels(
                faces.take(np.arange(i, min(i + 256, len(faces)))).astype(np.float32), spec.scale, spec.offset
            )[..., np.newaxis]
        )
        for i in range(0, len(faces), 256)
    ]
    return np.concatenate(batches)


def make_optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    """Adam, or AdamW where the recipe decays weights; `steps` is the number of steps an epoch."""
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
    if not recipe.weight_decay:
        return keras.optimizers.Adam(rate, **options)
    optimizer = keras.optimizers.AdamW(rate, recipe.weight_decay, **options)
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
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return "float32"
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(flags) else "float32"


def describe(data: Dataset, recipe: Recipe, spec: InputSpec, seed: int, workers: Workers) -> dict[str, Any]:
    """Everything that a run depends on, for config.json."""
    return {
        "arch": recipe.arch,
        "recipe": recipe.to_json(),
        "classes": list(data.classes),
        "input": asdict(spec),
        "crop": asdict(recipe.crop),
        "seed": seed,
        "data": {"name": data.path.name, "fingerprint": data.fingerprint, "counts": data.counts()},
        "strategy": {"name": workers.name, "workers": workers.shard[1]},
        "versions": {"python": platform.python_version(), **_versions()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except ImportError:  # one of the two OpenCV packages is always missing
            continue
    return found


def _sample_sheet(path: Path, faces: FaceSet, augmentation: Augmentation, seed: int) -> None:
    """Eight faces (left) with eleven augmented versions each, so that a person can see that they still are faces."""
    originals = faces.take(np.random.default_rng(seed).choice(len(faces), min(8, len(faces)), replace=False))
    augment = Augment(augmentation, seed)
    versions = [np.asarray(augment(originals[..., np.newaxis].astype(np.float32)))[..., 0] for _ in range(11)]
    rows = {f"face {i + 1}": np.stack([original, *(v[i] for v in versions)]) for i, original in enumerate(originals)}
    plots.face_sheet(path, rows, "Training faces: the original (first column), then as augmentation draws them")
