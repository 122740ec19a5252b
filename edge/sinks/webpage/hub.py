"""What the page shows now: written by the sink's thread, read by the server's."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from ...records import Observation

PICTURE_RATE, FACES_RATE = 10.0, 10.0
"""Pictures and readings a second that a viewer gets at most: an eye wants no more, and a phone's radio less."""
MAX_VIEWERS, MAX_STREAMS = 4, 16
"""Who may look at the picture, and listen to the readings, at once."""


class Hub:
    """The latest observation and picture, for how long each face has its emotion, and who waits for the next."""

    def __init__(self) -> None:
        self.viewers = self.streams = 0
        """Who looks at the picture, and listens to the readings, now."""
        self.closed = False
        self.observation: Observation | None = None
        self.picture = b""
        """JPEG; empty before the first."""
        self.pictures = 0
        """How many there were: tells whether `picture` is another than before."""
        self._since: dict[int, tuple[str, float]] = {}
        """Face → its emotion, and since when, seconds since the Epoch."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: set[asyncio.Event] = set()
        self._lock = threading.Lock()

    def connect(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called in the server's thread before anybody waits."""
        self._loop = loop

    def publish(self, observation: Observation, picture: bytes | None) -> None:
        """Takes an observation and, if one was made, its picture as JPEG."""
        time = observation.frame.time
        with self._lock:
            before = self._since
            self._since = {}
            for reading in observation.readings:
                emotion, since = before.get(reading.face.id, ("", time))
                same = emotion == reading.emotion
                self._since[reading.face.id] = (reading.emotion, since if same else time)
            self.observation = observation
            if picture is not None:
                self.picture = picture
                self.pictures += 1
        self._wake()

    def close(self) -> None:
        """Ends all streams."""
        self.closed = True
        self._wake()

    def faces(self) -> dict[str, Any]:
        """The latest observation in the log's form; with nothing in it before the first."""
        observation = self.observation
        return observation.to_json() if observation else {"time": None, "frame": None, "faces": []}

    def faces_and_durations(self) -> dict[str, Any]:
        """The same, with the seconds for which each face (by its id) has had its emotion."""
        with self._lock:
            observation, since = self.observation, self._since
        if observation is None:
            return {**self.faces(), "seconds": {}}
        now = observation.frame.time
        seconds = {str(face): round(max(0.0, now - start), 1) for face, (_, start) in since.items()}
        return {**observation.to_json(), "seconds": seconds}

    @contextlib.contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """An event that is set when something is new; to be used in the server's thread."""
        event = asyncio.Event()
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
