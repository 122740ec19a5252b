"""The labelled faces that a run learns from and is judged by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset, read_dataset
from mien.edge.errors import DataError


def read_for_training(
    path: Path,
    classes: str,
    spec: InputSpec,
    *,
    seed: int = 0,
    set_aside: float = 0.0,
    skip_bad: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """The data set at `path`, with at least one training face of every class. Raises DataError.

    With `set_aside` that share of the training faces, the same for every `seed`, takes the validation split's place.
    """
    drawn: dict[str, Any] = {"redraw": True, "validation_share": set_aside} if set_aside else {}
    dataset = read_dataset(
        path,
        classes,
        height=spec.height,
        width=spec.width,
        seed=0 if set_aside else seed,
        skip_bad=skip_bad,
        progress=progress,
        **drawn,
    )
    counts = dataset.counts()
    for split in ("train", "validation"):
        if split not in counts:
            raise DataError(f"{path} has no {split} faces: a split/class/image tree or a CSV with Usage says which are")
    if empty := [label for label, count in counts["train"].items() if not count]:
        raise DataError(
            f"{path} has no training face of class {', '.join(empty)}: add some, or leave it out of --classes"
        )
    return dataset
