"""The gate's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.convert.verify import Comparison, Tolerances, compare, shortfalls, spread

CLASSES = ("happy", "sad")


def make_comparison(faces: int, network_hits: int, model_hits: int, differing: int | None = None) -> Comparison:
    """A network and a model that read the first `…_hits` of `faces` rightly; all faces are happy.

    `differing` of the labels differ; by default as few as the hits allow.
    """
    network, model = np.zeros((faces, 2), np.float32), np.zeros((faces, 2), np.float32)
    overlap = 0 if differing is None else (differing - abs(network_hits - model_hits)) // 2
    right_network, right_model = np.zeros(faces, bool), np.zeros(faces, bool)
    right_network[:network_hits] = True
    right_model[overlap : overlap + model_hits] = True
    for scores, right in ((network, right_network), (model, right_model)):
        scores[:, 0] = np.where(right, 0.9, 0.1)
        scores[:, 1] = 1 - scores[:, 0]
    return compare(network, model, np.zeros(faces, np.int64), CLASSES, 1.0)


def test_the_comparison_counts_agreement_not_hits() -> None:
    comparison = make_comparison(1000, 800, 800, differing=30)
    assert comparison.accuracy_drop == 0
    assert comparison.agreement == pytest.approx(0.97)


def test_a_model_as_good_as_the_network_passes() -> None:
    assert shortfalls(make_comparison(1000, 600, 600), Tolerances()) == []


def test_a_better_model_passes() -> None:
    comparison = make_comparison(1000, 600, 615)
    assert comparison.accuracy_drop == pytest.approx(-0.015)
    assert shortfalls(comparison, Tolerances()) == []


@pytest.mark.parametrize("faces", [1000, 3000, 7000, 200])
@pytest.mark.parametrize("hits", [0.984, 0.617, 0.55])
def test_exactly_the_allowed_drop_passes_and_one_face_more_fails(faces: int, hits: float) -> None:
    network = round(faces * hits)
    limit = network - round(faces * 0.005)
    assert shortfalls(make_comparison(faces, network, limit), Tolerances()) == []
    (phrase,) = shortfalls(make_comparison(faces, network, limit - 1), Tolerances())
    assert phrase.startswith("accuracy is ")


@pytest.mark.parametrize("faces", [1000, 3000, 7000])
def test_exactly_the_needed_agreement_passes_and_one_pair_less_fails(faces: int) -> None:
    limit = round(faces * 0.02)
    hits = faces // 2
    assert shortfalls(make_comparison(faces, hits, hits, differing=limit), Tolerances()) == []
    (phrase,) = shortfalls(make_comparison(faces, hits, hits, differing=limit + 2), Tolerances())
    assert "of the labels agree where 98% must" in phrase


def test_the_phrases_say_which_figure_falls_short_and_by_how_much() -> None:
    drop, agreement = shortfalls(make_comparison(1000, 600, 550), Tolerances())
    assert drop == ("accuracy is 55.00% against 60.00%, a drop of 5.00 points where 0.5 are allowed (4.50 too many)")
    assert agreement == "95.00% of the labels agree where 98% must (3.00 points short)"


def test_other_tolerances_are_kept() -> None:
    comparison = make_comparison(1000, 600, 550)
    assert shortfalls(comparison, Tolerances(accuracy_drop=0.05, agreement=0.95)) == []


@settings(deadline=None)  # this machine may be busy
@given(st.integers(1, 10_000), st.integers(1, 500))
def test_spread_gives_different_rows_from_first_to_last(total: int, count: int) -> None:
    rows = spread(total, count)
    assert len(rows) == min(total, count)
    assert rows.min() == 0
    assert rows.max() < total
    assert (np.diff(rows) > 0).all()
