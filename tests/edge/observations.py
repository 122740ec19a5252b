"""Observations made up for tests, sinks that get stuck, and a camera that never waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mien.edge.records import Box, Face, Frame, Observation, Reading
from mien.edge.sources.fake import FakeSource

NOON = 1_800_000_000.0
"""A moment at a full minute, seconds since the epoch."""


def seen(time: float, *faces: tuple[int, str], index: int = 0) -> Observation:
    """What is seen at `time`: (number, emotion) of each face."""
    image = np.full((48, 64, 3), 90, np.uint8)
    readings = tuple(
        Reading(Face(number, Box(5, 5, 30, 30)), {emotion: 0.75, "other": 0.25}, emotion, {emotion: 1.0})
        for number, emotion in faces
    )
    return Observation(Frame(index, time, image, image[:, :, 0]), readings)


def wait_for(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Waits until something holds; fails if it doesn't for long."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


class Camera(FakeSource):
    """Live, at its own pace: `frames` pictures, one each `interval` seconds, numbered without gaps."""

    live = True

    def __init__(self, frames: int, interval: float = 0.004) -> None:
        super().__init__([np.full((48, 64, 3), 200, np.uint8)] * frames)
        self._interval = interval

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            time.sleep(self._interval)
            yield replace(frame, time=time.time())


class Gate:
    """What a stuck thing waits at until it is opened."""

    def __init__(self) -> None:
        self._opened = threading.Event()
        self.reached = threading.Event()

    def wait(self) -> None:
        self.reached.set()
        self._opened.wait(60)

    def open(self) -> None:
        self._opened.set()
