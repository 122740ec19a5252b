"""Observations made up for tests, and the parts of a run that needs no picture of anyone: camera, detector, sink."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from mien.edge.bundle import Crop
from mien.edge.records import Box, Face, Frame, Image, Observation, Reading
from mien.edge.sinks.background import BackgroundSink
from mien.edge.sources.fake import FakeSource
from mien.edge.status import Status

NOON = 1_800_000_000.0
"""A moment at a full minute, seconds since the epoch."""


STATUS = Status(
    time=NOON,
    uptime_s=1.0,
    frames=10,
    fps=12.34,
    faces=10,
    stages_ms={},
    dropped={},
    source="a camera",
    model="tiny 1",
    labels=("happy", "sad"),
    version="0.1.0",
    camera_restarts=0,
    queue_depth={},
    sink_errors={},
    temperature_c=None,
    throttled=None,
)


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
    """Live: `frames` pictures, one each `interval` seconds, numbered without gaps.

    With `written` it waits, at most ten seconds, until all but the last two of its frames have come out: a slow machine
    drops none then, but a sink that holds up the run holds up the camera for so long.
    """

    live = True

    def __init__(self, frames: int, interval: float = 0.004, written: Callable[[], int] | None = None) -> None:
        super().__init__([np.full((48, 64, 3), 200, np.uint8)] * frames)
        self._interval, self._written = interval, written
        self.waited_in_vain = 0

    def frames(self) -> Iterator[Frame]:
        for frame in super().frames():
            time.sleep(self._interval)
            deadline = time.monotonic() + 10
            while self._written and self._written() < frame.index - 2 and not self._stopped:
                if time.monotonic() > deadline:
                    self.waited_in_vain += 1
                    break
                time.sleep(0.001)
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


class Keeper(BackgroundSink):
    """Keeps what is delivered; waits at a gate before each, if it has one, and fails at chosen frames."""

    def __init__(self, wants_picture: bool = False, gate: Gate | None = None, fails_at: range = range(0)) -> None:
        self.wants_picture, self._gate, self._fails_at = wants_picture, gate, fails_at
        super().__init__()
        self.got: list[tuple[Observation, Image | None]] = []
        self.finished = False
        self.written = 0

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        super().write(observation, picture)
        self.written += 1

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        if self._gate:
            self._gate.wait()
        if observation.frame.index in self._fails_at:
            raise OSError("the cable\nis out")
        self.got.append((observation, picture))

    def finish(self) -> None:
        self.finished = True


class Dark:
    """A classifier of one label."""

    labels = ("dark",)
    face_size = (8, 6)

    crop = Crop()

    def scores(self, faces: Image) -> np.ndarray:
        return np.ones((len(faces), 1), np.float32)


class OneBox:
    """A detector that says the same of every picture."""

    def detect(self, gray: Image) -> list[Box]:
        return [Box(5, 5, 30, 30)]
