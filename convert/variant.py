"""One conversion of the network, measured and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mien.edge.bundle import Card
from mien.edge.classifier import temper
from mien.edge.dataset import FaceSet
from mien.edge.records import Image

from .calibrate import certain_from, fit_temperature
from .card import make_card
from .network import Settings
from .old_runtime import Trial, try_model
from .opcheck import operators, unsupported
from .quantize import IO, Quantization, convert
from .steps import Steps
from .verify import Comparison, Tolerances, compare, model_scores, shortfalls, spread

if TYPE_CHECKING:
    import keras

TRIAL_FACES = 100
"""Validation faces that the old runtime reads."""


@dataclass(frozen=True, eq=False)
class Variant:
    """One conversion of the network."""

    card: Card
    model: bytes
    comparison: Comparison
    trial: Trial | None
    """In tflite-runtime 2.14, where one is at hand."""
    failed: list[str]
    """In what it falls short of the gate, a phrase each."""

    @property
    def old_runtime(self) -> str:
        """Whether tflite-runtime 2.14 takes the model, and how that is known."""
        return old_runtime_verdict(self.card.operators, self.trial)


@dataclass(frozen=True, eq=False)
class Workbench:
    """What the conversions of one network have in common."""

    settings: Settings
    network: keras.Model
    validation: FaceSet
    float_scores: np.ndarray
    """float32 [N, classes]: the network's own probabilities of the validation faces."""
    representatives: Image | None
    """uint8 [M, H, W]; without them there is no int8."""
    io: IO
    name: str | None
    version: str
    tolerances: Tolerances
    old_python: str | None
    steps: Steps

    def make(self, quantization: Quantization) -> Variant:
        """Converts, measures on the validation faces and judges."""
        faces, labels = self.validation.images, self.validation.labels
        with self.steps.step(f"Converting to {quantization}"):
            model = convert(self.network, self.settings.input, quantization, self.representatives, self.io)
        card = make_card(
            self.settings,
            self.network,
            model,
            name=self.name or f"mien-{self.settings.provenance.get('arch', 'network')}-{quantization}",
            version=self.version,
            quantization=quantization,
            operators=operators(model),
        )
        with self.steps.step(f"Reading the validation faces in {quantization}", len(faces)) as advance:
            scores, latency = model_scores(card, model, faces, advance)
        temperature = fit_temperature(scores, labels)
        scores = temper(scores, temperature)
        card = replace(card, temperature=temperature, uncertain_below=certain_from(scores, labels))
        comparison = compare(self.float_scores, scores, labels, self.settings.classes, latency, card.uncertain_below)
        failed = shortfalls(comparison, self.tolerances) + unsupported(card.operators)
        trial = None
        if self.old_python:
            with self.steps.step(f"Trying {quantization} in tflite-runtime 2.14"):
                rows = spread(len(faces), TRIAL_FACES)
                trial = try_model(self.old_python, model, self.settings.input, faces[rows])
                failed += trial_shortfalls(trial, scores[rows].argmax(axis=1), self.tolerances)
        return Variant(card, model, comparison, trial, failed)


def trial_shortfalls(trial: Trial, labels: np.ndarray, allowed: Tolerances) -> list[str]:
    """What the old runtime did wrong, a phrase each; `labels` (int [N]) are those of the runtime here."""
    if trial.error:
        return [f"{trial.runtime} doesn't run it: {trial.error}"]
    agreement = float((np.array(trial.labels) == labels).mean())
    if agreement < allowed.runtimes:
        needed = f"{allowed.runtimes:.0%} must be"
        return [f"{trial.runtime} gives {agreement:.0%} of the labels that the runtime here gives where {needed}"]
    return []


def old_runtime_verdict(found: dict[str, int], trial: Trial | None) -> str:
    """Whether tflite-runtime 2.14 takes a model with these operators, and how that is known."""
    if problems := unsupported(found):
        return f"no: {'; '.join(problems)}"
    if trial is None:
        return "yes by its operator versions; not tried"
    if trial.error:
        return f"no: {trial.runtime}: {trial.error}"
    return f"yes: {trial.runtime} read {len(trial.labels)} faces"
