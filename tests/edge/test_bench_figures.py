"""What the benchmark counts as true and as false, and the model that it fits, worked out by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from mien.edge.records import Box

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))

import engine
import scaling

FACE, FAR = Box(100, 100, 50, 50), Box(400, 100, 50, 50)


def test_a_true_face_is_there_in_three_frames_in_a_row() -> None:
    moved = [FACE._replace(x=100 + 10 * i) for i in range(3)]
    assert engine.lasting([[FAR], [moved[0]], [moved[1]], [moved[2], FAR], [FAR]]) == [
        [],
        [moved[0]],
        [moved[1]],
        [moved[2]],
        [],
    ]


def test_a_gap_of_the_whole_search_is_no_false_face_but_a_face_that_left_is() -> None:
    times = [i / 10 for i in range(20)]
    true = [[FACE] if i < 5 or 8 <= i < 10 else [] for i in range(20)]
    assert engine.bridged(true, times, 6, FACE), "between two sights of it"
    assert not engine.bridged(true, times, 6, FAR)
    assert not engine.bridged(true, times, 12, FACE), "gone"
    assert engine.bridged(true, times, 3, FACE)


def test_a_gap_of_more_than_a_second_counts() -> None:
    times = [i / 10 for i in range(30)]
    true = [[FACE] if i < 3 or i > 25 else [] for i in range(30)]
    assert not engine.bridged(true, times, 14, FACE)


def test_the_fit_finds_the_weights_that_made_the_times() -> None:
    wanted = np.array([0.5, 1.5, 30.0, 0.8, 7.0])
    cases = [(faces, height, rate) for faces in (1, 2, 8) for height in (240, 1080) for rate in (10, 30)]
    matrix = np.array([scaling.terms(*case) for case in cases])
    assert scaling.fit(matrix / (matrix @ wanted)[:, None]) == pytest.approx(wanted)
    without_base = wanted * [0, 1, 1, 1, 1]
    noisy = matrix @ without_base - 0.01
    assert scaling.fit(matrix / noisy[:, None]).min() >= 0


def test_the_highest_rate_worked_out_by_hand() -> None:
    weights = np.array([1.0, 0.0, 100.0, 9.0, 0.0])  # 10 ms a frame with a face, and a tenth of each second
    assert scaling.highest_rate(weights, 1) == "> 60"
    assert scaling.highest_rate(weights * 2, 1) == "40"
    assert scaling.highest_rate(weights * 20, 1) == "0"
