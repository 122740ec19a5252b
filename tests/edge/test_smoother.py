"""Averages over time, and labels that don't flicker."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from mien.edge.records import UNCERTAIN, Box, Face
from mien.edge.smoother import Smoother

LABELS = ("happy", "sad", "neutral")
FACE = Face(1, Box(0, 0, 9, 9))


def smoother(uncertain_below: float = 0.0, time_constant: float = 0.5, patience: float = 0.0) -> Smoother:
    return Smoother(LABELS, uncertain_below, time_constant, margin=0.1, slack=0.05, patience=patience)


def read(smoother: Smoother, scores: list[float], time: float, face: Face = FACE) -> tuple[str, float]:
    (reading,) = smoother.update([face], np.array([scores], np.float32), time)
    assert reading.raw == pytest.approx(dict(zip(LABELS, scores, strict=True)))
    assert sum(reading.scores.values()) == pytest.approx(1, abs=1e-5)
    return reading.emotion, reading.scores["happy"]


@pytest.mark.parametrize("rate", [5, 30, 120])
def test_the_average_is_the_same_at_any_frame_rate(rate: int) -> None:
    """After a step from sad to happy 1 − 1/e of it is there after one time constant."""
    s = smoother()
    read(s, [0, 1, 0], 0.0)
    for i in range(1, round(0.5 * rate) + 1):
        share = read(s, [1, 0, 0], i / rate)[1]
    passed = round(0.5 * rate) / rate
    assert share == pytest.approx(1 - math.exp(-passed / 0.5), abs=1e-6)


def test_the_first_reading_is_taken_as_it_is() -> None:
    assert read(smoother(), [0.2, 0.7, 0.1], 3.0) == ("sad", pytest.approx(0.2))


def test_a_label_flickers_no_more() -> None:
    rng = np.random.default_rng(0)
    s, raw, smooth = smoother(), [], []
    for i in range(300):
        scores = np.clip(np.array([0.42, 0.40, 0.18]) + rng.normal(0, 0.05, 3), 0.01, 1)
        scores /= scores.sum()
        raw.append(LABELS[int(scores.argmax())])
        smooth.append(read(s, scores.tolist(), i / 25)[0])
    changes = [sum(a != b for a, b in pairwise(row)) for row in (raw, smooth)]
    assert changes[0] > 80 and changes[1] <= 1


def test_another_label_takes_over_by_the_margin() -> None:
    s = smoother(time_constant=1e-6)
    assert read(s, [0.5, 0.4, 0.1], 0.0)[0] == "happy"
    assert read(s, [0.45, 0.54, 0.01], 1.0)[0] == "happy"
    assert read(s, [0.44, 0.55, 0.01], 2.0)[0] == "sad"


def test_uncertainty_begins_a_little_below_the_threshold() -> None:
    s = smoother(uncertain_below=0.6, time_constant=1e-6)
    seen = [read(s, [p, 1 - p, 0], t)[0] for t, p in enumerate([0.62, 0.56, 0.54, 0.59, 0.61, 0.58])]
    assert seen == ["happy", "happy", UNCERTAIN, UNCERTAIN, "happy", "happy"]


def test_a_change_must_last() -> None:
    """Of three lapses only the one of half a second is shown."""
    s = smoother(time_constant=1e-6, patience=0.39)
    seen = []
    for i in range(60):
        sad = i in (10, 11, 12) or i in (20, 22, 24) or 40 <= i < 48
        seen.append(read(s, [0.1, 0.8, 0.1] if sad else [0.8, 0.1, 0.1], i / 15)[0])
    assert [i for i, label in enumerate(seen) if label == "sad"] == list(range(45, 53))


@pytest.mark.parametrize("rate", [10, 15, 30])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_a_real_change_shows_within_about_a_second_and_at_once_as_what_it_is(rate: int, confidence: float) -> None:
    s = Smoother(LABELS, 0.76)
    rest = (1 - confidence) / 2
    before, after = [confidence, rest, rest], [rest, rest, confidence]
    seen = [read(s, before if i < 3 * rate else after, i / rate)[0] for i in range(6 * rate)]
    changed = seen.index("neutral")
    assert seen == ["happy"] * changed + ["neutral"] * (6 * rate - changed)
    assert changed / rate - 3 <= 1.01 + 1 / rate


def test_a_covered_face_counts_for_little() -> None:
    """Readings without a leader move the average less than clear ones, but in the end they have it."""
    s = smoother()
    read(s, [0.9, 0.05, 0.05], 0.0)
    moved = [read(s, [0.36, 0.32, 0.32], i / 15)[1] for i in range(1, 61)]
    assert moved[7] > 0.8, "after half a second"
    assert moved[-1] < 0.5, "after four seconds"


def test_without_a_time_constant_each_frame_stands_for_itself() -> None:
    s = smoother(uncertain_below=0.6, time_constant=0.0)
    seen = [read(s, [p, 1 - p, 0], t)[0] for t, p in enumerate([0.61, 0.59, 0.6, 0.3])]
    assert seen == ["happy", UNCERTAIN, "happy", "sad"]


def test_faces_are_averaged_each_for_itself_and_forgotten() -> None:
    s, other = smoother(), Face(2, Box(50, 0, 9, 9))
    read(s, [1, 0, 0], 0.0)
    assert read(s, [0, 1, 0], 0.1, other) == ("sad", 0.0)
    assert read(s, [1, 0, 0], 0.2)[1] == 1.0
    assert read(s, [0, 1, 0], 5.0)[1] == 0.0, "read anew after a while"
    s.reset()
    assert read(s, [1, 0, 0], 5.1)[1] == 1.0


def test_a_clock_that_is_set_back_does_no_harm() -> None:
    s = smoother()
    read(s, [1, 0, 0], 100.0)
    assert 0 <= read(s, [0, 1, 0], 50.0)[1] <= 1
