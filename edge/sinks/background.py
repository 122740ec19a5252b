"""A sink whose work is done in a thread of its own, so that nothing it waits for holds up the pipeline."""

from __future__ import annotations

import logging
import threading
import time
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ..channel import Channel
from ..records import Image, Observation
from ..status import Status
from .base import Sink

log = logging.getLogger("mien")

_WITH_PICTURES, _WITHOUT = 4, 512
"""Observations that may wait: each picture is a megabyte or more; without one half a minute of them is nothing."""
_PATIENCE = 5.0
"""Seconds for the thread to deliver what still waits when the run ends."""
_QUIET = 60.0
"""Seconds for which the errors after one that was logged are only counted."""
_NOTHING = np.zeros((0, 0, 3), np.uint8)


class BackgroundSink(Sink):
    """`write` puts the observation on a queue, of which the oldest are dropped and counted; a thread delivers.

    A subclass does its work in `deliver` and, if time itself matters to it, in `idle`. What they raise is counted,
    logged at most once a minute, and never ends the run.
    """

    may_be_detached = False  # it is already
    idle_after: float = 1.0
    """Seconds without an observation after which `idle` is called."""

    def __init__(self, size: int | None = None) -> None:
        """`size` is how many observations may wait; by default few with pictures, many without."""
        self._size = size or (_WITH_PICTURES if self.wants_picture else _WITHOUT)
        self._channel: Channel[tuple[Observation, Image | None]] = Channel(self._size, drops=True)
        self._thread: threading.Thread | None = None
        self.stuck = False
        """Whether the thread didn't end in time: then leave alone what it uses."""
        self._logged: float | None = None
        self._unsaid = 0

    @abstractmethod
    def deliver(self, observation: Observation, picture: Image | None) -> None:
        """Takes what `write` took, in the sink's own thread. Without `wants_picture` the frame's images are empty."""

    def idle(self) -> None:
        """Called in the sink's own thread whenever nothing came for `idle_after` seconds."""

    def finish(self) -> None:
        """Called in the sink's own thread after the last observation, unless the sink was stuck."""

    @property
    def dropped(self) -> int:
        """Observations that were thrown away because `deliver` was slow."""
        return self._channel.dropped

    @property
    def pending(self) -> int:
        """Observations that wait for `deliver`."""
        return self._channel.waiting

    def open(self) -> None:
        """Starts the thread; a subclass first makes sure of what it can, and raises SinkError."""
        self._thread = threading.Thread(target=self._work, name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        if not self.wants_picture:
            # Else each observation that waits would hold a megabyte that nobody looks at.
            frame = replace(observation.frame, image=_NOTHING, gray=_NOTHING[:, :, 0])
            observation, picture = Observation(frame, observation.readings), None
        self._channel.send((observation, picture))

    def close(self) -> None:
        """Delivers what waits; gives up a sink that is stuck."""
        if self._thread is None:
            return
        self._channel.finish()
        self._thread.join(_PATIENCE)
        self.stuck = self._thread.is_alive()
        if self.stuck:
            log.warning("%s is stuck: %d observations are lost", self.name, self.pending)
            self._channel.cancel()
        self._thread = None

    def report(self, error: BaseException) -> None:
        """Counts an error, and logs it unless one was logged within the last minute."""
        self.errors += 1
        self._unsaid += 1
        now = time.monotonic()
        if self._logged is None or now - self._logged > _QUIET:
            more = f" ({self._unsaid - 1} more since the last word of it)" if self._unsaid > 1 else ""
            words = " ".join(str(error).split()) or type(error).__name__
            log.warning("%s: %s%s", self.name, words, more, exc_info=log.isEnabledFor(logging.DEBUG))
            self._logged, self._unsaid = now, 0

    def _work(self) -> None:
        while True:
            try:
                item = self._channel.receive(self.idle_after)
                if item is not None:
                    self.deliver(*item)
                elif self._channel.ended:
                    break
                else:
                    self.idle()
            except Exception as error:
                self.report(error)
        try:
            self.finish()
        except Exception as error:
            self.report(error)


class Detached(BackgroundSink):
    """Another sink, written to by a thread of its own: a disk or a reader that is stuck then holds up nobody else."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.name = sink.name
        super().__init__()

    @property
    def wants_picture(self) -> bool:  # type: ignore[override]
        return self._sink.wants_picture

    def attach(self, status: Callable[[], Status]) -> None:
        self._sink.attach(status)

    def open(self) -> None:
        self._sink.open()
        super().open()

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        try:
            self._sink.write(observation, picture)
        finally:
            self.done = self._sink.done

    def close(self) -> None:
        super().close()
        if not self.stuck:
            self._sink.close()


def detached(sink: Sink) -> Sink:
    """The sink in a thread of its own, unless it has one or may not have one."""
    return Detached(sink) if sink.may_be_detached else sink
