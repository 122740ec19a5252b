"""An existing bundle's operators against tflite-runtime 2.14."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier
from mien.edge.quiet import quiet
from mien.edge.runtime import runtime_name

from .old_runtime import old_python, try_model
from .opcheck import operators, unsupported
from .operators_2_14 import HIGHEST_VERSION
from .variant import old_runtime_verdict

_NOISE_FACES = 64


@dataclass(frozen=True)
class Verdict:
    """What `check_bundle` found."""

    bundle: str
    name: str
    operators: dict[str, int]
    """Operator → highest version used."""
    known: dict[str, int | None]
    """Operator → highest version that tflite-runtime 2.14 knows; None if it doesn't know it."""
    runtime: str
    """The runtime here, which loads the model."""
    old_runtime: str
    """Whether tflite-runtime 2.14 takes it, and how that is known."""
    problems: list[str]
    """A phrase each; empty if all is well."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def check_bundle(path: Path, silent: bool = True) -> Verdict:
    """Checks the bundle in folder `path`. Raises BundleError if it is damaged, RuntimeMissing, ConfigError."""
    bundle, python = Bundle.load(path), old_python()
    found = operators(bundle.model)
    trial = None
    problems = unsupported(found)
    if found != bundle.card.operators:
        problems.append("the card's operators are not the model's")
    with quiet(silent):
        classifier = Classifier(bundle)
        if python:
            # No data set is at hand. Noise shows that the model runs, not that both give the same labels: those of
            # noise hang on the last bit.
            shape = (_NOISE_FACES, *classifier.face_size)
            faces = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
            trial = try_model(python, bundle.model, bundle.card.input, faces)
            problems += [f"{trial.runtime} doesn't run it: {trial.error}"] if trial.error else []
    return Verdict(
        bundle=str(path),
        name=bundle.card.name,
        operators=found,
        known={name: HIGHEST_VERSION.get(name) for name in found},
        runtime=runtime_name(),
        old_runtime=old_runtime_verdict(found, trial),
        problems=problems,
    )
