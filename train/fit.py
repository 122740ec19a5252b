"""Training: reads top to bottom in `fit`."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset, FaceSet
from mien.edge.errors import ConfigError
from mien.edge.files import replacing, write_text
from mien.edge.metrics import Metrics, measure
from mien.edge.preprocess import scale_pixels

from . import plots
from .augment import Augment, Augmentation, RandomCamera
from .distill import TEACHERS, describe_teacher, known, teacher_recipe
from .engine import Engine, Job
from .mirror import mirror
from .model import build
from .recipe import Recipe
from .run import RunFolder

_PACKAGES = ("mien", "tensorflow", "torch", "keras", "numpy", "opencv-python", "opencv-python-headless")


def fit(
    data: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    spec: InputSpec,
    engine: Engine,
    seed: int = 0,
    resume: bool = False,
    verbose: int = 1,
    wide: Dataset | None = None,
    teachers: Sequence[Path] = (),
) -> Metrics | None:
    """Trains a network on `data` by `recipe` and leaves everything about the run in folder `out`.

    `wide` is the same data set with the classes that the recipe's teachers learn, by default `data` itself; `teachers`
    are finished runs, bundles or bundled models' names that take the place of teachers trained for this run.

    Afterwards `out` has model.keras (float32, the best epoch), metrics.json, history.csv, config.json, curves.png,
    confusion.png and samples.png. Returns the metrics of the validation split, or None in all workers but the first.
    Raises ConfigError, DataError, BundleError.
    """
    recipe = replace(recipe, precision=engine.precision(recipe.precision))
    if recipe.mirror:
        mirror(
            build(recipe.arch, (spec.height, spec.width, spec.channels), len(data.classes))
        )  # fails before it writes
    folder = RunFolder(out, writes=engine.is_first)
    config = describe(data, recipe, spec, seed, engine)
    if teachers:
        config["teachers"] = [describe_teacher(path) for path in teachers]
    folder.start(config, resume)
    if recipe.distillation.teachers:
        if not engine.alone:
            raise ConfigError(
                "a recipe with teachers is for one machine: set its distillation.teachers to [] for several machines"
            )
        teachers = teachers or _trained(wide or data, recipe, out, spec, engine, seed, verbose)
        learned = wide or data
    else:
        teachers, learned = (), data
    faces = learned.splits["train"]
    job = Job(
        recipe,
        spec,
        data.classes,
        faces,
        known(learned, data.classes, recipe),
        tuple(teachers),
        data.splits["validation"],
        seed,
    )
    engine.seed(seed)
    if engine.is_first:
        _sample_sheet(out / "samples.png", faces, recipe.augmentation, seed)
    engine.train(job, folder, verbose)
    return finish(data, recipe, folder, spec) if engine.is_first else None


def _trained(
    data: Dataset, recipe: Recipe, out: Path, spec: InputSpec, engine: Engine, seed: int, verbose: int
) -> list[Path]:
    """The runs of the recipe's teachers; those that aren't there yet are trained, or trained on."""
    runs = []
    for k, name in enumerate(recipe.distillation.teachers, 1):
        run = out / TEACHERS / str(k)
        runs.append(run)
        if (run / "model.keras").exists():
            continue
        if verbose:
            print(f"teacher {k} of {len(recipe.distillation.teachers)} ({name}), in {run}", flush=True)
        began = (run / "config.json").exists()
        own = teacher_recipe(recipe, name)
        fit(data, own, run, spec=spec, engine=engine, seed=seed + k, resume=began, verbose=verbose)
        keras.backend.clear_session()
    return runs


def finish(data: Dataset, recipe: Recipe, folder: RunFolder, spec: InputSpec) -> Metrics:
    """Writes the best epoch's network in float32, its metrics and its pictures."""
    keras.config.set_dtype_policy("float32")
    model = build(recipe.arch, (spec.height, spec.width, spec.channels), len(data.classes))
    model.load_weights(folder.best_weights())
    if recipe.mirror:
        mirror(model)  # statistics and averages of weights are so but for rounding
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


def describe(data: Dataset, recipe: Recipe, spec: InputSpec, seed: int, engine: Engine) -> dict[str, Any]:
    """Everything that a run depends on, for config.json."""
    return {
        "arch": recipe.arch,
        "recipe": recipe.to_json(),
        "classes": list(data.classes),
        "input": asdict(spec),
        "crop": asdict(recipe.crop),
        "seed": seed,
        "data": {"name": data.path.name, "fingerprint": data.fingerprint, "counts": data.counts()},
        "engine": engine.name,
        **engine.describe(),
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
    augment, camera = Augment(augmentation, seed), RandomCamera(augmentation, seed)
    batch = originals[..., np.newaxis].astype(np.float32)
    versions = [keras.ops.convert_to_numpy(camera(augment(batch)))[..., 0] for _ in range(11)]
    rows = {f"face {i + 1}": np.stack([original, *(v[i] for v in versions)]) for i, original in enumerate(originals)}
    plots.face_sheet(path, rows, "Training faces: the original (first column), then as augmentation draws them")
