"""Cameras that fail and come back, on a clock of the test's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import pytest

from mien.edge.errors import CameraLost, SourceError
from mien.edge.sources.base import Source
from mien.edge.sources.fake import FakeCapture, FakeSource
from mien.edge.sources.live import Live
from mien.edge.sources.recovery import Patience, Recovering

PICTURE = np.full((4, 4), 7, np.uint8)


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.waits.append(seconds)


class Flaky(FakeSource):
    """Gives some frames, then fails; with no frames it fails when it is opened."""

    live = True

    def __init__(self, count: int, clock: Clock | None = None, seconds: float = 0.0) -> None:
        super().__init__([PICTURE] * count)
        self._clock, self._seconds = clock, seconds

    def open(self) -> None:
        super().open()
        if not self._images:
            raise SourceError("the camera isn't there")

    def frames(self) -> Iterator:
        for frame in super().frames():
            if self._clock:
                self._clock.now += self._seconds
            yield frame
        raise SourceError("the camera stopped giving frames")


def recovering(
    counts: Sequence[int], clock: Clock, patience: Patience, seconds: float = 0.0
) -> tuple[Recovering, list]:
    made: list[Source] = []
    left = iter(counts)

    def make() -> Source:
        made.append(Flaky(next(left), clock, seconds))
        return made[-1]

    return Recovering(make, patience, clock=clock, wait=clock.wait), made


def pauses(clock: Clock) -> list[float]:
    """The waits, put together from their small steps."""
    whole = []
    total = 0.0
    for step in clock.waits:
        total += step
        if step < 0.2:
            whole.append(total)
            total = 0.0
    return whole


def test_a_camera_that_comes_back_goes_on_where_it_was(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    source, made = recovering([3, 0, 0, 2], clock, Patience())
    with caplog.at_level(logging.WARNING), source:
        frames = list(islice(source, 5))
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert source.restarts == 3 and len(made) == 4
    assert not any(each.is_open for each in made), "a source was left open"
    assert "the camera stopped giving frames; trying again in" in caplog.text
    assert caplog.text.count("the camera isn't there; trying again in") == 2


def test_waits_double_up_to_the_longest_and_begin_anew_when_it_is_steady() -> None:
    clock = Clock()
    patience = Patience(first_wait=1, longest_wait=4, failures=0, steady=10)
    source, _ = recovering([1, 0, 0, 0, 0, 30, 1], clock, patience, seconds=1)
    with source:
        list(islice(source, 32))
    waits = pauses(clock)
    for wait, wanted in zip(waits, (1, 2, 4, 4, 4, 1), strict=True):
        assert 0.75 * wanted <= wait <= 1.25 * wanted + 1e-6
    assert len({round(wait / wanted, 3) for wait, wanted in zip(waits, (1, 2, 4, 4, 4, 1), strict=True)}) > 1


def test_it_is_given_up_after_too_many_failures_in_a_window() -> None:
    clock = Clock()
    source, made = recovering([1] + [0] * 50, clock, Patience(failures=5, window=600))
    with pytest.raises(CameraLost, match="the camera isn't there; given up after 5 failures in 600 s"), source:
        list(source)
    assert len(made) == 5 and CameraLost.exit_code == 69


def test_failures_far_apart_never_end_it() -> None:
    clock = Clock()
    source, _ = recovering([700] * 30, clock, Patience(failures=2, window=600), seconds=1)
    with source:
        assert len(list(islice(source, 700 * 29))) == 700 * 29


def test_a_camera_missing_at_the_start_is_an_error_or_waited_for() -> None:
    source, _ = recovering([0, 3], Clock(), Patience())
    with pytest.raises(SourceError, match="isn't there"), source:
        pass
    source, _ = recovering([0, 0, 3], Clock(), Patience(from_start=True))
    with source:
        assert len(list(islice(source, 3))) == 3


def test_a_stop_ends_the_waiting() -> None:
    clock = Clock()
    source, _ = recovering([1, 0, 0], clock, Patience(first_wait=1000, longest_wait=1000))

    def wait(seconds: float) -> None:
        clock.now += seconds
        if clock.now > 5:
            source.stop()

    source._sleep = wait
    with source:
        assert len(list(source)) == 1
    assert clock.now < 6


def test_a_real_reader_of_a_stalling_capture_is_reopened() -> None:
    made: list[FakeCapture] = []

    def connect() -> FakeCapture:
        made.append(FakeCapture([PICTURE.repeat(3).reshape(4, 4, 3)] * 2, interval=0.01, stalls=len(made) < 1))
        return made[-1]

    make: Callable[[], Source] = lambda: Live("the camera", connect, "plug it in", timeout=0.3)  # noqa: E731
    source = Recovering(make, Patience(first_wait=0.01, failures=3))
    with pytest.raises(CameraLost), source:
        list(source)
    assert len(made) == 3 and source.restarts == 2


def test_a_camera_that_auto_does_not_find_is_waited_for_by_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.edge.sources import auto, open_source

    found: list[Source] = []

    def open_any(uri: str, loop: bool = False) -> Source:
        if len(found) < 2:
            found.append(FakeSource([]))
            raise SourceError("no camera is there")
        return Flaky(3)

    monkeypatch.setattr(auto, "open_any", open_any)
    with pytest.raises(SourceError, match="no camera is there"):
        open_source("auto://", patience=Patience())
    with open_source("auto://", patience=Patience(first_wait=0.01, from_start=True)) as source:
        assert len(list(islice(source, 3))) == 3
    with pytest.raises(SourceError, match="no file or folder"):
        open_source("missing.mp4", patience=Patience(from_start=True))
