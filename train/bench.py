"""Does the input pipeline keep up with the network? Steps a second with real and with constant data."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset

from .batches import training_batches
from .model import build
from .recipe import Recipe
from .tensorflow_engine import choose_precision, make_optimizer


def bench(data: Dataset, recipe: Recipe, spec: InputSpec, steps: int, repeats: int) -> dict[str, Any]:
    """Trains `repeats` times `steps` steps with real and with constant data in turn, in each precision.

    The constant data is one batch of the real data, held in memory. Figures are medians over the repeats:
    steps a second, their ratio, and the speed of the precision that "auto" takes against float32.
    """
    chosen = choose_precision("auto")
    results = {}
    for precision in dict.fromkeys(("float32", chosen)):
        keras.config.set_dtype_policy(precision)
        keras.utils.set_random_seed(0)
        model = build(recipe.arch, (spec.height, spec.width, spec.channels), len(data.classes))
        model.compile(make_optimizer(replace(recipe, epochs=1), steps), keras.losses.CategoricalCrossentropy())
        faces = data.splits["train"]
        real = training_batches(faces, recipe.batch_size, len(data.classes), spec, recipe.augmentation, seed=0)
        constant = tf.data.Dataset.from_tensors(next(iter(real))).repeat()
        feeds = {"real": iter(real), "constant": iter(constant)}
        speeds: dict[str, list[float]] = {name: [] for name in feeds}
        for turn in range(repeats + 1):
            for name, feed in feeds.items():
                began = time.perf_counter()
                for _ in range(steps):
                    loss = model.train_on_batch(*next(feed))
                float(loss)
                if turn:  # the first turn traces and warms up
                    speeds[name].append(steps / (time.perf_counter() - began))
        medians = {name: statistics.median(values) for name, values in speeds.items()}
        ratios = [r / c for r, c in zip(speeds["real"], speeds["constant"], strict=True)]
        results[precision] = {
            "real_steps_per_second": round(medians["real"], 2),
            "constant_steps_per_second": round(medians["constant"], 2),
            "real_to_constant": round(statistics.median(ratios), 3),
            "images_per_second": round(medians["real"] * recipe.batch_size, 1),
        }
    keras.config.set_dtype_policy("float32")
    speed = {precision: result["real_steps_per_second"] for precision, result in results.items()}
    return {
        "arch": recipe.arch,
        "batch_size": recipe.batch_size,
        "steps": steps,
        "repeats": repeats,
        "precisions": results,
        "auto_precision": chosen,
        "auto_to_float32": round(speed[chosen] / speed["float32"], 2),
    }
