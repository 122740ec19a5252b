"""Pictures of a data set and of a training run, as PNG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from mien.edge.files import replacing


def face_sheet(path: Path, rows: dict[str, np.ndarray], title: str) -> None:
    """Writes rows of faces: name → float or uint8 [n, H, W] with pixels 0–255; rows may differ in n."""
    columns = max(len(faces) for faces in rows.values())
    height, width = next(iter(rows.values())).shape[1:3]
    sheet = np.full((len(rows) * height, columns * width), 255.0)
    for i, faces in enumerate(rows.values()):
        for j, face in enumerate(faces):
            sheet[i * height : (i + 1) * height, j * width : (j + 1) * width] = face
    figure, axes = plt.subplots(figsize=(1.5 + columns * 0.6, 0.7 + len(rows) * 0.6), layout="constrained")
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_yticks([(i + 0.5) * height for i in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.set_frame_on(False)
    axes.set_title(title, fontsize=10, loc="left")
    save(figure, path)


def curves(path: Path, history: Sequence[dict[str, float]], best_epoch: int) -> None:
    """Writes loss, accuracy and learning rate over the epochs; the best epoch is marked."""
    figure, panels = plt.subplots(1, 3, figsize=(13, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    for axes, key, name in zip(
        panels, ("loss", "accuracy", "learning_rate"), ("Loss", "Accuracy", "Learning rate"), strict=True
    ):
        axes.plot(epochs, [row[key] for row in history], "o-", markersize=3, color="#0072b2", label="training")
        if f"val_{key}" in history[0]:
            values = [row[f"val_{key}"] for row in history]
            axes.plot(epochs, values, "o-", markersize=3, color="#d55e00", label="validation")
        axes.axvline(best_epoch, color="0.5", linewidth=1, linestyle="--", label=f"kept: epoch {best_epoch}")
        axes.set(title=name, xlabel="epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    panels[2].set_yscale("log")
    panels[0].legend()
    save(figure, path)


def confusion(path: Path, counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> None:
    """Writes a confusion matrix; rows are true classes, each cell its share of the row and its count."""
    side = 1.8 + 0.8 * len(classes)
    figure, axes = plt.subplots(figsize=(side, side), layout="constrained")
    draw_confusion(axes, counts, classes, title)
    save(figure, path)


def draw_confusion(axes: plt.Axes, counts: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> None:
    """Draws what `confusion` writes."""
    matrix = np.array(counts)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(matrix.shape):
        color = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, f"{shares[i, j]:.0%}\n{matrix[i, j]}", ha="center", va="center", color=color, fontsize=9)
    axes.set_xticks(range(len(classes)), classes, rotation=30)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=title)


def save(figure: plt.Figure, path: Path) -> None:
    """Writes a picture and forgets the figure."""
    with replacing(path) as partial:
        figure.savefig(partial, dpi=110)
    plt.close(figure)
