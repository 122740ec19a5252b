"""The number of threads is chosen by what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier
from mien.edge.threads import choose_threads, recommend


@pytest.mark.parametrize(
    ("model_ms", "threads"),
    [
        ({1: 1.0}, 1),
        ({1: 1.0, 2: 0.9}, 1),
        ({1: 1.0, 2: 0.7}, 2),
        ({1: 1.0, 2: 0.6, 4: 0.58}, 2),
        ({1: 1.0, 2: 0.6, 4: 0.3, 8: 0.29}, 4),
        ({1: 1.0, 2: 1.5, 4: 0.1}, 1),  # what two don't gain four don't either, but by chance
    ],
)
def test_a_further_thread_must_pay(model_ms: dict[int, float], threads: int) -> None:
    assert recommend(model_ms) == threads


class Model:
    """Takes as long as it is told to."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.runs = seconds, 0

    def invoke(self) -> None:
        self.runs += 1
        time.sleep(self.seconds)


def maker(made: dict[int, Model], seconds: dict[int, float]) -> Callable[[int], Model]:
    return lambda count: made.setdefault(count, Model(seconds[count]))


@pytest.mark.parametrize(("with_two", "chosen"), [(0.002, 2), (0.02, 1)])
def test_two_are_taken_where_they_are_faster(with_two: float, chosen: int) -> None:
    made: dict[int, Model] = {}
    count, model = choose_threads(maker(made, {1: 0.01, 2: with_two}), cores=4)
    assert count == chosen and model is made[chosen] and made[1].runs == made[2].runs == 6


def test_few_cores_are_left_to_capture_and_output() -> None:
    made: dict[int, Model] = {}
    assert choose_threads(maker(made, {1: 0.01, 2: 0.001}), cores=3)[0] == 1
    assert set(made) == {1} and made[1].runs == 0


def test_a_classifier_says_how_many_it_has(bundle) -> None:  # type: ignore[no-untyped-def]
    loaded = Bundle.load(bundle)
    assert Classifier(loaded, 2).threads == 2 and Classifier(loaded, 0).threads in (1, 2)
