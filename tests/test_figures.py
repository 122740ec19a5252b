"""The figures that are published agree with each other, and with what the commands print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
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


def test_pages_give_the_cards_figures() -> None:
    script = ROOT / "scripts" / "figures.py"
    if not script.exists():
        pytest.skip("not in a checkout")
    done = subprocess.run([sys.executable, str(script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_runs_that_are_kept_are_whole() -> None:
    runs = sorted((ROOT / "docs" / "runs").glob("*/config.json"))
    if not runs:
        pytest.skip("not in a checkout")
    for config in runs:
        settings = json.loads(config.read_text(encoding="utf-8"))
        rows = (config.parent / "history.csv").read_text(encoding="utf-8").splitlines()
        assert settings["data"]["counts"]["train"] and len(rows) > 1, config.parent.name
        assert rows[0].startswith("epoch,")
