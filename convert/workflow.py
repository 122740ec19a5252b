"""From a trained network to a verified bundle: reads top to bottom in `convert_model`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mien.edge.bundle import CARD_FILE, MODEL_FILE, Card
from mien.edge.dataset import Dataset, FaceSet, read_dataset
from mien.edge.errors import ConfigError, DataError, GateError
from mien.edge.quiet import quiet
from mien.edge.records import Image
from mien.edge.runtime import runtime_name

from . import report
from .card import card_metrics, limits
from .fold import fold_norms
from .folder import REPORT_FILE, check_target, write_folder
from .layers import LayerError, layer_errors
from .network import Settings, import_keras, keras_scores, load_network, read_settings, require_tensorflow
from .old_runtime import VARIABLE, old_python
from .quantize import IO, QUANTIZATIONS, Quantization, representative_faces
from .steps import Steps
from .variant import Variant, Workbench
from .verify import Tolerances

DEBUG_FACES = 50
"""Representative faces over which each layer's error is measured."""
FEW_FACES = 200
"""Validation faces below which the gate says little: one face is half a point."""


@dataclass(frozen=True)
class Request:
    """What the user asked for."""

    model: Path
    data: Path
    out: Path
    quantization: Quantization = "int8"
    classes: str | None = None
    samples: int = 500
    seed: int = 0
    name: str | None = None
    version: str = "1"
    io: IO = "int8"
    force: bool = False
    skip_bad: bool = False
    variants: bool = True
    """Also convert to the other quantizations, for the report."""
    tolerances: Tolerances = field(default_factory=Tolerances)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What `convert_model` wrote."""

    card: Card
    variants: tuple[Variant, ...]
    """The one that was asked for first."""
    layers: list[LayerError]
    """Of the int8 model, worst first; empty if there is none."""
    notices: list[str]
    """What the user should know."""


def convert_model(request: Request, steps: Steps, silent: bool = True) -> Outcome:
    """Converts, verifies and writes a bundle. Raises a MienError, and then leaves `request.out` as it was.

    Unless `silent`, what TensorFlow prints is let through.
    """
    require_tensorflow()
    check_target(request.out)
    settings, python = read_settings(request.model, request.classes), old_python()
    with steps.step("Reading the data set"):
        data = read_dataset(
            request.data,
            ",".join(settings.classes),
            height=settings.input.height,
            width=settings.input.width,
            skip_bad=request.skip_bad,
            seed=settings.seed,
        )
    if "validation" not in data.splits:
        raise DataError(f"{request.data} has no validation faces, by which the model is judged: add some")
    validation = data.splits["validation"]
    representatives, representation = _representatives(data, request)
    with quiet(silent):
        with steps.step("Loading TensorFlow and the network"):
            import_keras()
            network = load_network(request.model, settings)
        with steps.step("Reading the validation faces in Keras"):
            scores = keras_scores(network, validation.images, settings.input)
            _check_probabilities(scores, request.model)
            unfolded = fold_norms(network)
        bench = Workbench(
            settings=settings,
            network=network,
            validation=validation,
            float_scores=scores,
            representatives=representatives,
            io=request.io,
            name=request.name,
            version=request.version,
            tolerances=request.tolerances,
            old_python=python,
            steps=steps,
        )
        chosen = bench.make(request.quantization)
        if chosen.failed and not request.force:
            raise GateError(
                f"the {request.quantization} model falls short, so nothing was written: {'; '.join(chosen.failed)}. "
                "Try another --quantize, --seed or more --samples; --force writes it all the same"
            )
        variants, layers = [chosen], []
        if request.variants:
            others = (other for other in QUANTIZATIONS if other != request.quantization)
            variants += [bench.make(other) for other in others if other != "int8" or representatives is not None]
            if representatives is not None:
                with steps.step("Measuring each layer's error in int8"):
                    some = representatives[:DEBUG_FACES]
                    layers = layer_errors(network, settings.input, representatives, some)
        notices = [*data.notices, *_notices(settings, data, chosen, unfolded)]
    training = chosen.card.training
    if request.quantization == "int8":
        training = training | {"representative_faces": representation}
    card = replace(
        chosen.card,
        training=training,
        metrics=card_metrics(chosen.comparison, request.tolerances, chosen.failed, runtime_name(), chosen.old_runtime),
        limits=limits(settings, chosen.comparison),
    )
    outcome = Outcome(card, tuple(variants), layers, notices)
    write_folder(
        request.out,
        {
            MODEL_FILE: chosen.model,
            CARD_FILE: (json.dumps(card.to_json(), indent=1, ensure_ascii=False) + "\n").encode(),
            REPORT_FILE: report.render(outcome).encode(),
        },
    )
    return outcome


def _representatives(data: Dataset, request: Request) -> tuple[Image | None, dict[str, object]]:
    """The representative faces and what the card says of them; None where they lack and aren't asked for."""
    train: FaceSet | None = data.splits.get("train")
    try:
        if train is None:
            raise DataError(f"{request.data} has no training faces, by which int8 is calibrated: add some")
        faces, counts = representative_faces(train, data.classes, request.samples, request.seed)
    except DataError:
        if request.quantization == "int8":
            raise
        return None, {}
    return faces, {"split": "train", "faces": len(faces), "seed": request.seed, "counts": counts}


def _check_probabilities(scores: np.ndarray, path: Path) -> None:
    """Raises ConfigError unless each row of `scores` (float [N, C]) is a distribution."""
    if not np.isfinite(scores).all():
        raise ConfigError(f"{path} gives scores that aren't numbers (NaN or infinite): train it again")
    if scores.min() < 0 or abs(scores.sum(axis=1) - 1).max() > 1e-3:
        raise ConfigError(f"{path} gives scores that don't sum to 1: end the network with a softmax")


def _notices(settings: Settings, data: Dataset, chosen: Variant, unfolded: list[str]) -> list[str]:
    """What the user should know of this conversion."""
    found = []
    if settings.fingerprint and settings.fingerprint != data.fingerprint:
        found.append("these are not the data that the network was trained on (their fingerprints differ)")
    trained, faces = settings.metrics.get("accuracy"), chosen.comparison.network.faces
    measured = chosen.comparison.network.accuracy
    if settings.fingerprint == data.fingerprint and isinstance(trained, float) and abs(trained - measured) > 0.005:
        found.append(f"training measured an accuracy of {trained:.2%}, here the same network has {measured:.2%}")
    if faces < FEW_FACES:
        found.append(f"{faces} validation faces are few: the gate's figures are rough")
    if unfolded:
        found.append(
            f"{len(unfolded)} BatchNormalization layers don't directly follow a convolution or dense layer, so that "
            "an addition stays of each: slower, and less exact in int8"
        )
    if chosen.trial is None:
        found.append(f"not tried in a real tflite-runtime 2.14: {VARIABLE} names no Python that has one")
    return found
