"""What the page shows now: written by the sink's thread, read by the server's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from ...records import Observation

PICTURE_RATE, FACES_RATE = 10.0, 5.0
"""Pictures and readings a second that a viewer gets at most: an eye wants no more, and a phone's radio less."""
MAX_VIEWERS, MAX_STREAMS = 4, 16
"""Who may look at the picture, and listen to the readings, at once."""


class Hub:
    """The latest observation and picture, for how long each face has its emotion, and who waits for the next."""

    def __init__(self) -> None:
        self.viewers = self.streams = 0
        """Who looks at the picture, and listens to the readings, now."""
        self.closed = False
        self.picture: tuple[int, bytes] = (0, b"")
        """The latest, JPEG, and its number, from 1."""
        self._latest: tuple[Observation, dict[int, float]] | None = None
        # Both are replaced as a whole, so that no lock is needed.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()

    def publish(self, observation: Observation, seconds: dict[int, float], picture: bytes | None) -> None:
        """Takes an observation, for how long each of its faces has had its emotion, and its picture, if one was made.

        Called in the sink's thread.
        """
        self._latest = (observation, seconds)
        if picture is not None:
            self.picture = (self.picture[0] + 1, picture)
        self._wake()

    def close(self) -> None:
        """Ends all streams."""
        self.closed = True
        self._wake()

    @property
    def time(self) -> float | None:
        """The latest observation's, seconds since the Epoch."""
        return self._latest[0].frame.time if self._latest else None

    def faces(self) -> dict[str, Any]:
        """The latest observation in the log's form; with nothing in it before the first."""
        return self._latest[0].to_json() if self._latest else {"time": None, "frame": None, "faces": []}

    def faces_and_durations(self) -> dict[str, Any]:
        """The same, with the seconds for which each face (by its id) has had its emotion."""
        if not (latest := self._latest):
            return {**self.faces(), "seconds": {}}
        observation, seconds = latest
        return {**observation.to_json(), "seconds": {str(face): round(each, 1) for face, each in seconds.items()}}

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set when something is new; to be used in the server's thread."""
        event = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._waiting.add(event)
        try:
            yield event
        finally:
            self._waiting.discard(event)

    def _wake(self) -> None:
        if self._loop is not None and self._waiting:
            with contextlib.suppress(RuntimeError):  # the server ended meanwhile
                self._loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        for event in self._waiting:
            event.set()
