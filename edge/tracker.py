"""Faces over time: each keeps its number while it stays in view, and moves on while it isn't found for a moment."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from .records import Box, Face, Image


class Place(NamedTuple):
    """Where a face is, in pixels: a square about a centre. Finer than a Box."""

    x: float
    """Of the centre, from the frame's left."""
    y: float
    """Of the centre, from the frame's top."""
    side: float

    @classmethod
    def of(cls, box: Box) -> Place:
        """The place of a box, as wide as the box."""
        return cls(box.x + box.width / 2, box.y + box.height / 2, box.width)

    def box(self) -> Box:
        """The place in whole pixels."""
        side = max(1, round(self.side))
        return Box(round(self.x - side / 2), round(self.y - side / 2), side, side)


@dataclass(eq=False)
class Track:
    """A face that is being followed."""

    place: Place
    seen: float
    """When it was last found, seconds."""
    hits: int = 1
    """In how many frames it was found."""
    id: int = 0
    """0 until the face is born."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Pixels a second, right and down."""
    look: Image | None = None
    """The face as it was when the detector last saw it, small."""
    checked: float = -math.inf
    """When the detector last saw it, seconds."""


class Tracker:
    """Which found face is which followed one, when one is born, and when one is given up.

    A face is predicted to go on as it went, and found again where it overlaps the prediction most.
    """

    def __init__(
        self, min_overlap: float = 0.3, birth_hits: int = 2, hold: float = 0.25, forget_after: float = 1.0
    ) -> None:
        """`min_overlap` is the least overlap (intersection over union, 0 to 1) that makes two boxes one face.

        A face counts from its `birth_hits`-th hit on. Without hits it is still shown for `hold` seconds, and its
        number remembered for `forget_after` seconds; a face that was never born is forgotten at its first miss.
        """
        self._min_overlap, self._birth_hits = min_overlap, birth_hits
        self._hold, self._forget_after = hold, forget_after
        self.tracks: list[Track] = []
        """Those that are followed, born or not."""
        self._next_id = 1
        self._time: float | None = None

    def reset(self) -> None:
        """Forgets all faces, as at a cut to another scene; their numbers aren't given again."""
        self.tracks.clear()
        self._time = None

    def begin(self, time: float) -> float:
        """Starts a frame captured at `time` (seconds); returns the seconds since the frame before, 0 at first."""
        # A clock that was set back would otherwise keep a face for as long as it was set back.
        self.tracks = [track for track in self.tracks if abs(time - track.seen) <= self._forget_after]
        passed = 0.0 if self._time is None else max(0.0, time - self._time)
        self._time = time
        return passed

    def predict(self, track: Track) -> Place:
        """Where a track's face should be in the frame that was begun."""
        assert self._time is not None
        # A face that was lost for long has turned or stopped: the prediction stays near.
        ahead = min(max(self._time - track.seen, 0.0), 0.2)
        x, y, side = track.place
        return Place(x + track.velocity[0] * ahead, y + track.velocity[1] * ahead, side)

    def is_born(self, track: Track) -> bool:
        """Whether a track was hit often enough to count as a face."""
        return track.hits >= self._birth_hits

    def hit(self, track: Track, place: Place) -> None:
        """A followed face was found again, in the frame that was begun."""
        assert self._time is not None
        passed = self._time - track.seen
        if passed > 0:
            if passed <= 0.5:  # half of the new and half of the old: boxes jitter by some hundredths of a face
                moved = (place.x - track.place.x) / passed, (place.y - track.place.y) / passed
                track.velocity = tuple((a + b) / 2 for a, b in zip(track.velocity, moved, strict=True))  # type: ignore[assignment]
            else:
                track.velocity = (0.0, 0.0)
            track.hits += 1
        track.place, track.seen = place, self._time

    def match(self, places: Sequence[Place], hits: int = 1) -> list[Track]:
        """Faces found in the frame that was begun: each is the lost one that it overlaps most, or a new one.

        A new one begins with so many `hits`. Returns their tracks.
        """
        assert self._time is not None
        lost = [track for track in self.tracks if track.seen != self._time]
        predicted = [self.predict(track).box() for track in lost]
        boxes = [place.box() for place in places]
        pairs = sorted(
            (
                (-overlap, t, b)
                for t, prediction in enumerate(predicted)
                for b, box in enumerate(boxes)
                if (overlap := intersection_over_union(prediction, box)) >= self._min_overlap
            ),
        )
        taken: set[int] = set()
        chosen: set[int] = set()
        for _, t, b in pairs:  # the best overlap first; each track and each box at most once
            if t not in taken and b not in chosen:
                taken.add(t)
                chosen.add(b)
                self.hit(lost[t], places[b])
        new = [Track(place, self._time, hits) for b, place in enumerate(places) if b not in chosen]
        self.tracks += new
        return [lost[t] for t in taken] + new

    def prune(self) -> None:
        """Forgets what was never born and not found in this frame, and the younger of two that were found as one."""
        assert self._time is not None
        kept: list[Track] = []
        for track in sorted(self.tracks, key=lambda track: -track.hits):
            found = track.seen == self._time
            if not found and track.hits < self._birth_hits:
                continue
            if found and any(other.seen == self._time and _overlap(track, other) > _SAME for other in kept):
                continue
            kept.append(track)
        self.tracks = kept

    def drop_lost(self) -> None:
        """Forgets all that wasn't found in this frame: it shows another scene."""
        self.tracks = [track for track in self.tracks if track.seen == self._time]

    def faces(self) -> list[Face]:
        """The born faces that were found in this frame or lost for less than `hold`, from left to right."""
        assert self._time is not None
        born = [track for track in self.tracks if track.hits >= self._birth_hits]
        found = [track for track in born if track.seen == self._time]
        found += [
            track
            for track in born
            # One that another hides, or that was found as another, is remembered but not shown.
            if 0 < self._time - track.seen <= self._hold and all(_overlap(track, other) < _HIDDEN for other in found)
        ]
        found.sort(key=lambda track: track.place)
        for track in found:
            if not track.id:
                track.id, self._next_id = self._next_id, self._next_id + 1
        return [Face(track.id, track.place.box()) for track in found]

    def update(self, boxes: Sequence[Box], time: float) -> list[Face]:
        """A frame whose faces were all searched anew: begin, match, prune and faces in one."""
        self.begin(time)
        self.match([Place.of(box) for box in boxes])
        self.prune()
        return self.faces()


_SAME = 0.5
"""Overlap from which on two faces found in one frame are one."""
_HIDDEN = 0.2
"""Overlap from which on a lost face counts as hidden by a found one."""


def _overlap(a: Track, b: Track) -> float:
    return intersection_over_union(a.place.box(), b.place.box())


def intersection_over_union(a: Box, b: Box) -> float:
    """How much two boxes overlap: 0 apart, 1 equal."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.width * a.height + b.width * b.height - width * height)
