"""Observations → events: a face came, looked happy for a while, left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .records import Observation
from .status import iso_time

KINDS = ("face_appeared", "emotion_began", "emotion_ended", "face_left")


@dataclass(frozen=True)
class Event:
    """Something that began or ended."""

    time: float
    """When, seconds since the Unix epoch (UTC)."""
    kind: str
    """One of KINDS."""
    face: int
    """The face's number, unique within one run."""
    emotion: str | None = None
    """One of the labels, or "uncertain"; None of the kinds that are about the face."""
    duration: float | None = None
    """Seconds that what ended had lasted; None of what begins."""

    def to_json(self) -> dict[str, Any]:
        """As it is logged and sent: time (ISO 8601, UTC), event, face, and emotion and duration_s where they apply."""
        values: dict[str, Any] = {"time": iso_time(self.time), "event": self.kind, "face": self.face}
        if self.emotion is not None:
            values["emotion"] = self.emotion
        if self.duration is not None:
            values["duration_s"] = round(self.duration, 3)
        return values


@dataclass
class _Seen:
    """A face in view."""

    appeared: float
    last: float
    emotion: str
    began: float


class EventDetector:
    """Tells what began and ended from one observation to the next.

    A face that isn't seen for `leave_after` seconds has left, and did so when it was last seen. The same holds for all
    faces where the clock jumped, so that no duration is longer than what was watched.
    """

    def __init__(self, leave_after: float = 1.0) -> None:
        """`leave_after` in seconds."""
        self._leave_after = leave_after
        self._seen: dict[int, _Seen] = {}

    def update(self, observation: Observation) -> list[Event]:
        """What the observation ends and begins, in that order."""
        now = observation.frame.time
        events = self._leave(now)
        for reading in observation.readings:
            number, emotion = reading.face.id, reading.emotion
            seen = self._seen.get(number)
            if seen is None:
                self._seen[number] = _Seen(now, now, emotion, now)
                events.append(Event(now, "face_appeared", number))
                events.append(Event(now, "emotion_began", number, emotion))
                continue
            seen.last = now
            if emotion != seen.emotion:
                events.append(Event(now, "emotion_ended", number, seen.emotion, now - seen.began))
                events.append(Event(now, "emotion_began", number, emotion))
                seen.emotion, seen.began = emotion, now
        return events

    def finish(self, time: float) -> list[Event]:
        """What ends with the run, at `time` (seconds since the epoch)."""
        events = self._leave(time)
        for number, seen in self._seen.items():
            seen.last = time
            events += _left(number, seen)
        self._seen.clear()
        return events

    def _leave(self, now: float) -> list[Event]:
        events = []
        for number, seen in list(self._seen.items()):
            if not 0 <= now - seen.last <= self._leave_after:
                del self._seen[number]
                events += _left(number, seen)
        return events


def _left(number: int, seen: _Seen) -> list[Event]:
    return [
        Event(seen.last, "emotion_ended", number, seen.emotion, seen.last - seen.began),
        Event(seen.last, "face_left", number, None, seen.last - seen.appeared),
    ]
