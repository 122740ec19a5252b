"""A live source that comes back: reopened after a stall, waited for while unplugged, given up when it is hopeless."""

from __future__ import annotations

import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..errors import CameraLost, SourceError
from ..records import Frame
from .base import Source

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How a camera that fails is treated; times in seconds."""

    first_wait: float = 0.5
    """Before it is opened again; each failure in a row doubles it."""
    longest_wait: float = 30.0
    failures: int = 20
    """So many failures within `window` end the run; 0: never, it is waited for."""
    window: float = 600.0
    steady: float = 10.0
    """After so long with frames the waits begin anew."""
    from_start: bool = False
    """Whether a camera that isn't there at the start is waited for too, as a service must; else it is an error."""


class Recovering(Source):
    """Opens a live source again and again; to its reader it is one source whose frames pause now and then."""

    live = True

    def __init__(
        self,
        make: Callable[[], Source],
        patience: Patience = Patience(),
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`make` gives a new source, not open yet; `clock` and `wait` (seconds) are the machine's."""
        self._make, self._patience, self._clock, self._sleep = make, patience, clock, wait
        self._source: Source | None = None
        self._failed: deque[float] = deque()
        self._waits = 0
        self._next = 0
        self.restarts = 0
        """How often the source was opened again."""

    def open(self) -> None:
        if not self._patience.from_start:
            self._source = self._make()
            self._source.open()
            self.frame_rate = self._source.frame_rate

    def close(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def stop(self) -> None:
        super().stop()
        if self._source is not None:
            self._source.stop()

    def frames(self) -> Iterator[Frame]:
        first = True
        while not self._stopped:
            began = self._clock()
            try:
                if self._source is None:
                    self.restarts += not first
                    self._source = self._make()
                    if self._stopped:  # a stop that came while there was nothing to be stopped
                        return
                    self._source.open()
                    self.frame_rate = self._source.frame_rate
                first = False
                offset = self._next
                for frame in self._source.frames():
                    if self._waits and self._clock() - began > self._patience.steady:
                        self._waits = 0
                    self._next = offset + frame.index + 1
                    yield replace(frame, index=offset + frame.index)
                return  # it ended by itself, as a stream of finite length does
            except SourceError as error:
                self.close()
                self._pause(error)
            finally:
                self.close()

    def _pause(self, error: SourceError) -> None:
        """Waits before the next try, or raises CameraLost."""
        now, patience = self._clock(), self._patience
        self._failed.append(now)
        while now - self._failed[0] > patience.window:
            self._failed.popleft()
        if patience.failures and len(self._failed) >= patience.failures:
            raise CameraLost(
                f"{error}; given up after {len(self._failed)} failures in {patience.window:g} s"
            ) from error
        wait = min(patience.longest_wait, patience.first_wait * 2**self._waits)
        # Spread, so that many boards on one switch or hub don't all come back at the same moment.
        wait *= random.uniform(0.75, 1.25)
        self._waits += 1
        log.warning("%s; trying again in %.1f s", error, wait)
        until = now + wait
        while not self._stopped and (left := until - self._clock()) > 0:
            self._sleep(min(left, 0.2))  # short, so that a stop is noticed
