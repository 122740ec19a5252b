"""A sink that may not be ready yet: what a service can't open now, it tries again later."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from ..errors import SinkError
from ..records import Image, Observation
from ..status import Status
from .base import Sink

log = logging.getLogger("mien")

RETRY = 30.0
"""Seconds between two attempts."""


class Patient(Sink):
    """Another sink, whose `open` may fail: observations are lost and counted until an attempt succeeds.

    A disk that came up read-only, or a port that is still taken, then costs its own output and no frame.
    """

    may_be_detached = False

    def __init__(self, sink: Sink, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink, self._clock = sink, clock
        self.name = sink.name
        self._is_open = False
        self._next = 0.0
        self._lost = 0

    @property
    def wants_picture(self) -> bool:  # type: ignore[override]
        return self._sink.wants_picture

    @property
    def done(self) -> bool:  # type: ignore[override]
        return self._sink.done

    @property
    def errors(self) -> int:  # type: ignore[override]
        return self._sink.errors + self._lost

    @property
    def dropped(self) -> int:
        return self._sink.dropped

    @property
    def pending(self) -> int:
        return self._sink.pending

    def attach(self, status: Callable[[], Status]) -> None:
        self._sink.attach(status)

    def open(self) -> None:
        """Never fails: what is wrong is logged."""
        try:
            self._sink.open()
        except SinkError as error:
            self._sink.close()
            if not self._next:
                log.warning("%s: %s; goes on without, and tries again", self.name, error)
            self._next = self._clock() + RETRY
        else:
            self._is_open = True
            if self._next:
                log.info("%s: is written to again, %d frames are not in it", self.name, self._lost)

    def write(self, observation: Observation, picture: Image | None) -> None:
        if not self._is_open and self._clock() >= self._next:
            self.open()
        if self._is_open:
            self._sink.write(observation, picture)
        else:
            self._lost += 1

    def close(self) -> None:
        if self._is_open:
            self._sink.close()
            self._is_open = False
