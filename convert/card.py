"""What the card says of a converted model, its limits above all."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from mien.edge.bundle import Card
from mien.edge.dataset import FER_CLASSES

from .network import Settings, multiply_accumulates
from .verify import Comparison, Tolerances

if TYPE_CHECKING:
    import keras

INTENDED_USE = (
    "Reading which facial expression ({labels}) a face in a camera picture shows, on the device and at once: "
    "for art, games, teaching, prototypes and research with people who know of it and agree."
)
LIMITS = (
    "An expression is not a feeling: people scowl when they think and smile when they are afraid "
    "(Barrett et al. 2019, doi:10.1177/1529100619832930). "
    "Never base a decision about a person on a reading: not in hiring, schooling, policing, insurance, credit or "
    "health. The EU's AI Act (2024/1689, article 5.1 f) forbids emotion inference at work and in education. "
    "It knows {count} expressions only and calls every face one of them. "
    "It was measured on {faces} faces of {data}, {accuracy:.1%} of them read as labelled. How well it reads people of "
    "other ages, skin tones or cultures, or in other light, poses and cameras, with glasses, masks or beards, "
    "has not been measured; expect less, and unevenly so."
)
LIMITS_FER = (
    " FER2013-like sets hold many posed faces found on the web by search words, and noisy labels: people agree with "
    "them on about 65 % of the seven classes (Goodfellow et al. 2013, arXiv:1307.0414)."
)


def make_card(
    settings: Settings,
    network: keras.Model,
    model: bytes,
    *,
    name: str,
    version: str,
    quantization: str,
    operators: dict[str, int],
) -> Card:
    """A card with all that is known before the model is judged."""
    return Card(
        name=name,
        version=version,
        labels=settings.classes,
        input=settings.input,
        sha256=hashlib.sha256(model).hexdigest(),
        quantization=quantization,
        crop=settings.crop,
        operators=operators,
        training={
            **settings.provenance,
            "parameters": network.count_params(),
            "multiply_accumulates": multiply_accumulates(network),
            "metrics": settings.metrics,
        },
        intended_use=INTENDED_USE.format(labels=", ".join(settings.classes)),
    )


def limits(settings: Settings, comparison: Comparison) -> str:
    """The card's limits, from what was measured."""
    data = settings.provenance.get("data")
    text = LIMITS.format(
        count=len(settings.classes),
        faces=f"{comparison.model.faces:,}",
        data=data.get("name", "one data set") if isinstance(data, dict) else "one data set",
        accuracy=comparison.model.accuracy,
    )
    return text + (LIMITS_FER if set(settings.classes) <= set(FER_CLASSES) else "")


def card_metrics(
    comparison: Comparison, allowed: Tolerances, failed: list[str], runtime: str, old_runtime: str
) -> dict[str, Any]:
    """The card's metrics: both sets of figures on the validation split, and the gate's verdict."""
    return {
        "split": "validation",
        "faces": comparison.model.faces,
        "float": comparison.network.to_json(),
        "quantized": comparison.model.to_json(),
        "agreement": round(comparison.agreement, 5),
        "accuracy_drop": round(comparison.accuracy_drop, 5),
        "gate": {"passed": not failed, "shortfalls": failed, "tolerances": asdict(allowed)},
        "runtime": runtime,
        "old_runtime": old_runtime,
    }
