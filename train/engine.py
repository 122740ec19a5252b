"""What trains a network: one kind of engine for each library that does the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.edge.bundle import InputSpec
from mien.edge.dataset import FaceSet

from .recipe import Recipe
from .run import RunFolder


@dataclass(frozen=True, eq=False)
class Job:
    """A network to be trained."""

    recipe: Recipe
    """Its precision is no longer "auto"."""
    spec: InputSpec
    classes: tuple[str, ...]
    faces: FaceSet
    """To learn from."""
    targets: np.ndarray
    """float32 [faces, classes]: what is known of each face; what a row lacks to a sum of 1 is the teachers' share."""
    teachers: tuple[Path, ...]
    """Runs and bundles that read every augmented face, and whose mean reading is learned from."""
    validation: FaceSet
    seed: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the network's input."""
        return self.spec.height, self.spec.width, self.spec.channels

    @property
    def steps(self) -> int:
        """Batches an epoch."""
        return len(self.faces) // self.recipe.batch_size


class Engine(Protocol):
    """Trains networks with one library."""

    @property
    def name(self) -> str:
        """Such as "torch"."""

    @property
    def is_first(self) -> bool:
        """Whether this process writes the run's files, if several train together."""

    @property
    def alone(self) -> bool:
        """Whether no other process takes part."""

    def precision(self, wanted: str) -> str:
        """What a recipe's precision is on this machine: one of PRECISIONS but "auto"."""

    def describe(self) -> dict[str, Any]:
        """What a run depends on beside the recipe, for config.json."""

    def seed(self, seed: int) -> None:
        """Makes what is drawn from now on follow from `seed`."""

    def train(self, job: Job, folder: RunFolder, verbose: int) -> None:
        """Trains the epochs that `folder` lacks, and keeps each in it."""


def has_bfloat16() -> bool:
    """Whether the processor has bfloat16 arithmetic."""
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))
