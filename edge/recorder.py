"""Observations → a history: events as they happen, and what each minute adds up to."""

from __future__ import annotations

import time

from .events import Event, EventDetector
from .history import History, Minute
from .records import Observation

_LONGEST = 2.0
"""Seconds between two frames; what is longer counts as not watched."""
_MOST = 10_000
"""Events kept while they can't be stored, such as on a full disk; the oldest are dropped."""


class Recorder:
    """Observations → events and minutes in a history, committed when an event is due or half a minute has passed."""

    def __init__(self, history: History, leave_after: float = 1.0) -> None:
        self._history = history
        self._detector = EventDetector(leave_after)
        self._events: list[Event] = []
        self._minutes: dict[int, Minute] = {}
        self._last: float | None = None
        self._stored = time.monotonic()
        self.lost = 0
        """Events that were dropped because they couldn't be stored."""

    def update(self, observation: Observation) -> list[Event]:
        """Takes one more observation, and stores what is due; gives its events. Raises sqlite3.Error."""
        now = observation.frame.time
        events = self._detector.update(observation)
        number = int(now // 60) * 60
        minute = self._minutes.setdefault(number, Minute(number))
        passed = 0.0 if self._last is None else now - self._last
        passed = passed if 0 <= passed <= _LONGEST else 0.0
        self._last = now
        minute.frames += 1
        minute.watched += passed
        minute.faces += sum(event.kind == "face_appeared" for event in events)
        for reading in observation.readings:
            minute.emotions[reading.emotion] = minute.emotions.get(reading.emotion, 0.0) + passed
        self._events += events
        self.store_if_due()
        return events

    def store_if_due(self) -> None:
        """Stores events that have waited for a second, and minutes that have waited for half a one."""
        waited = time.monotonic() - self._stored
        if waited >= (1.0 if self._events else 30.0):
            self.store()

    def store(self) -> None:
        """Stores all there is. What can't be stored is kept and tried again."""
        excess = len(self._events) - _MOST
        if excess > 0:
            del self._events[:excess]
            self.lost += excess
        self._stored = time.monotonic()
        if self._events or self._minutes:
            self._history.add(self._events, self._minutes.values())
            self._events.clear()
            self._minutes.clear()

    def finish(self) -> list[Event]:
        """Ends what goes on at the last observation's time, and stores all; gives the events."""
        events = self._detector.finish(self._last) if self._last is not None else []
        self._events += events
        self.store()
        return events
