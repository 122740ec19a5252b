"""mien-convert profile, on the model that Mien ships and on one whose operators are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from mien.convert.profile import profile_model
from mien.edge.bundle import DEFAULT_BUNDLE, Bundle
from mien.edge.errors import BundleError

Command = Callable[..., Any]


def test_the_operators_make_up_the_model() -> None:
    bundle = Bundle.load(DEFAULT_BUNDLE)
    done = []
    whole, parts = profile_model(bundle.model, 20, done.append)
    assert done == list(range(1, 26))
    assert {part.operator for part in parts} == set(bundle.card.operators)
    assert parts[-1].operator == "SOFTMAX" and parts[-1].output == (1, 5) == whole.output
    assert whole.multiply_accumulates == sum(part.multiply_accumulates for part in parts) > 1e6
    assert all(part.microseconds > 0 for part in parts)
    weights = sum(part.bytes for part in parts)
    assert 0.8 * whole.bytes < weights < whole.bytes


def test_prints_a_table_or_json(command: Command) -> None:
    done = command("profile", "mien-base", "--repeats", "3")
    assert done.exit_code == 0, done.output
    assert "CONV_2D" in done.stdout and "whole model" in done.stdout
    values = json.loads(command("profile", "mien-base", "--repeats", "3", "--json").stdout)
    assert values["operators"][0]["operator"] == "CONV_2D"
    assert values["operators"][0]["multiply_accumulates"] == 48 * 48 * 9 * values["operators"][0]["output"][3]


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(BundleError, match="a damaged TFLite model"):
        profile_model(b"\x00" * 64)
