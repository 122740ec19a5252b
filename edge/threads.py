"""How many threads the classifier gets: measured, as it depends on the machine and on the model."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

GAIN = 1.25
"""Times by which a further thread must make a face faster: below that it heats a core for little."""
_SPARE = 2
"""Cores left to capture and output."""


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def recommend(model_ms: Mapping[int, float]) -> int:
    """Of threads → milliseconds a face: doubled as long as that is faster by GAIN."""
    best = min(model_ms)
    while 2 * best in model_ms and model_ms[best] >= GAIN * model_ms[2 * best]:
        best *= 2
    return best


def choose_threads(make: Callable[[int], Any], cores: int | None = None) -> tuple[int, Any]:
    """A number of threads for this machine, and the interpreter that `make` made with it, tensors allocated.

    One, without a measurement, where capture and output need the other cores; two if the model is faster by GAIN with
    them: more than two never paid on a model of this size. The measurement takes some ten runs of the model.
    """
    one = make(1)
    if (usable_cores() if cores is None else cores) < 2 + _SPARE:
        return 1, one
    two = make(2)
    times: dict[int, list[float]] = {1: [], 2: []}
    for turn in range(6):  # in turns, so that both meet the same clock rate
        for count, interpreter in ((1, one), (2, two)):
            start = time.perf_counter()
            interpreter.invoke()
            if turn:
                times[count].append(time.perf_counter() - start)
    count = recommend({count: statistics.median(row) for count, row in times.items()})
    return count, one if count == 1 else two
