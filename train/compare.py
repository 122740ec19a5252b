"""Runs side by side: how each learned, what it confuses, and what its converted model costs on the device."""

from __future__ import annotations

import csv
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier
from mien.edge.errors import ConfigError

from . import plots

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")


@dataclass(frozen=True)
class Run:
    """What a training run left behind; without the network itself, as in docs/runs, it still is one."""

    name: str
    config: dict[str, Any]
    history: list[dict[str, float]]
    """A row an epoch, as in history.csv."""
    metrics: dict[str, Any]
    """Of the float network on the validation split."""
    bundle: Bundle | None
    """In the run's folder `bundle`, where it was converted."""

    @property
    def quantized(self) -> dict[str, Any]:
        """Figures of the converted model on the validation split; empty without one."""
        return self.bundle.card.metrics.get("quantized", {}) if self.bundle else {}

    def row(self, milliseconds: float | None) -> dict[str, Any]:
        """The run's figures as plain values; what isn't known is None."""
        training = self.bundle.card.training if self.bundle else {}
        return {
            "run": self.name,
            "arch": self.config.get("arch"),
            "seed": self.config.get("seed"),
            "classes": len(self.config.get("classes", ())),
            "epochs": len(self.history),
            "parameters": training.get("parameters"),
            "multiply_accumulates": training.get("multiply_accumulates"),
            "accuracy": self.metrics.get("accuracy"),
            "macro_f1": self.metrics.get("macro_f1"),
            "worst_recall": min(self.metrics["recall"].values()) if self.metrics.get("recall") else None,
            "loss": self.metrics.get("loss"),
            "quantization": self.bundle.card.quantization if self.bundle else None,
            "quantized_accuracy": self.quantized.get("accuracy"),
            "bytes": len(self.bundle.model) if self.bundle else None,
            "ms_per_face": milliseconds,
        }


def read_run(path: Path) -> Run:
    """The run in a folder. Raises ConfigError if the folder holds none, or one that isn't finished."""
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        with (path / "history.csv").open(encoding="utf-8", newline="") as file:
            history = [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    except OSError as error:
        raise ConfigError(
            f"{path} holds no finished run ({Path(error.filename).name}: {error.strerror}): "
            "give a folder that mien-train fit wrote"
        ) from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{path} holds a damaged run ({error}): train it again") from error
    bundle = Bundle.load(path / "bundle") if (path / "bundle" / "card.json").is_file() else None
    return Run(path.name, config, history, metrics, bundle)


def latencies(runs: Sequence[Run], repeats: int = 15, faces: int = 40) -> list[float | None]:
    """Median milliseconds a face of each run's converted model on one thread; None where there is none.

    The models take turns, so that what else the machine does meets all of them.
    """
    noise = np.random.default_rng(0)
    classifiers = [Classifier(run.bundle) if run.bundle else None for run in runs]
    inputs = {
        c.face_size: noise.integers(0, 256, (faces, *c.face_size)).astype(np.uint8)
        for c in classifiers
        if c is not None
    }
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats + 1):
        for classifier, measured in zip(classifiers, times, strict=True):
            if classifier is not None:
                images = inputs[classifier.face_size]
                start = time.perf_counter()
                classifier.scores(images)
                measured.append(1000 * (time.perf_counter() - start) / faces)
    return [round(statistics.median(measured[1:]), 4) if measured else None for measured in times]


def draw(path: Path, runs: Sequence[Run], milliseconds: Sequence[float | None]) -> None:
    """Writes a picture: curves above, confusion matrices below, and latency against accuracy where it is known."""
    columns = max(3, len(runs))
    figure = plt.figure(figsize=(4.2 * columns, 8.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.05))
    panels = above.subplots(1, 3)
    for axes, key, name in zip(
        panels[:2], ("val_loss", "val_accuracy"), ("Validation loss", "Validation accuracy"), strict=True
    ):
        for run, colour in zip(runs, _cycle(len(runs)), strict=True):
            axes.plot([r["epoch"] for r in run.history], [r[key] for r in run.history], color=colour, label=run.name)
        axes.set(title=name, xlabel="epoch")
        axes.grid(alpha=0.3)
    panels[0].legend(fontsize=8)
    _scatter(panels[2], runs, milliseconds)
    for i, axes in enumerate(np.ravel(below.subplots(1, columns))):
        if i < len(runs):
            plots.draw_confusion(axes, runs[i].metrics["confusion"], runs[i].config["classes"], runs[i].name)
        else:
            axes.set_axis_off()
    plots.save(figure, path)


def _scatter(axes: plt.Axes, runs: Sequence[Run], milliseconds: Sequence[float | None]) -> None:
    known = [
        (run, ms, colour)
        for run, ms, colour in zip(runs, milliseconds, _cycle(len(runs)), strict=True)
        if ms is not None and run.bundle is not None
    ]
    axes.set(title="Converted model", xlabel="ms a face, one thread", ylabel="validation accuracy")
    if not known:
        axes.text(0.5, 0.5, "no run was converted", ha="center", va="center", transform=axes.transAxes)
        return
    # Words go to the right and the left in turns, so that those of neighbours don't cover one another.
    for i, (run, ms, colour) in enumerate(sorted(known, key=lambda each: each[1])):
        assert run.bundle is not None
        accuracy, size = run.quantized["accuracy"], len(run.bundle.model)
        axes.scatter(ms, accuracy, s=size / 2000, color=colour, alpha=0.6)
        axes.annotate(
            f"{run.name}\n{size / 1000:,.0f} kB",
            (ms, accuracy),
            xytext=(-10 if i % 2 else 10, 0),
            ha="right" if i % 2 else "left",
            va="center",
            textcoords="offset points",
            fontsize=8,
        )
    axes.margins(0.25)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _cycle(count: int) -> list[str]:
    return [_COLOURS[i % len(_COLOURS)] for i in range(count)]
