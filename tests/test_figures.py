"""The figures that are published agree with each other, and with what the commands print."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from mien.edge.bundle import Bundle, bundled_models, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.evaluate import evaluate

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", bundled_models())
def test_a_bundled_card_is_what_evaluate_measures(name: str) -> None:
    root = os.environ.get("MIEN_SHARED_DATA")
    if not root:
        pytest.skip("MIEN_SHARED_DATA is not set: it names a folder with data/fer2013.zip")
    bundle = Bundle.load(find_bundle(name))
    measured = evaluate(Classifier(bundle), Path(root) / "data" / "fer2013.zip").metrics.to_json()
    written = bundle.card.metrics["quantized"]
    assert written["faces"] == measured["faces"] == 3037
    # Processors round some sums of the softmax differently; a face or two may fall to the other side.
    for key in ("accuracy", "macro_f1", "calibration_error", "coverage", "certain_accuracy"):
        assert written[key] == pytest.approx(measured[key], abs=0.002), key
    assert bundle.card.metrics["gate"]["passed"]


@pytest.mark.parametrize("name", bundled_models())
@pytest.mark.parametrize("page", ["README.md", "docs/model-card.md", "docs/models.md"])
def test_pages_give_the_cards_figures(name: str, page: str) -> None:
    if not (ROOT / page).exists():
        pytest.skip("not in a checkout")
    text = (ROOT / page).read_text(encoding="utf-8")
    card = Bundle.load(find_bundle(name)).card
    figures = card.metrics["quantized"]
    worst = min(figures["recall"], key=figures["recall"].__getitem__)
    for figure in (
        f"{figures['accuracy']:.3f}",
        f"{figures['macro_f1']:.3f}",
        f"{worst} {figures['recall'][worst]:.3f}",
        f"{figures['calibration_error']:.3f}",
    ):
        assert figure in text, f"{page} doesn't give {name}'s {figure}"


def test_runs_that_are_kept_are_whole() -> None:
    runs = sorted((ROOT / "docs" / "runs").glob("*/config.json"))
    if not runs:
        pytest.skip("not in a checkout")
    for config in runs:
        settings = json.loads(config.read_text(encoding="utf-8"))
        rows = (config.parent / "history.csv").read_text(encoding="utf-8").splitlines()
        assert settings["data"]["counts"]["train"] and len(rows) > 1, config.parent.name
        assert re.match("epoch,", rows[0])
