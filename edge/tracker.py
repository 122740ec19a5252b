"""Boxes over time: each face keeps its number while it stays in view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .records import Box, Face


@dataclass
class _Track:
    id: int
    box: Box
    seen: float
    """When the face was last found, seconds."""


class Tracker:
    """Gives each box the number of the remembered face that it overlaps most."""

    def __init__(self, min_overlap: float = 0.3, forget_after: float = 1.0) -> None:
        """`min_overlap` is the least overlap (intersection over union, 0 to 1) that makes two boxes one face.

        A face that wasn't found for more than `forget_after` seconds is forgotten.
        """
        self._min_overlap, self._forget_after = min_overlap, forget_after
        self._tracks: list[_Track] = []
        self._next_id = 1

    def reset(self) -> None:
        """Forgets all faces, as at a cut to another scene; their numbers aren't given again."""
        self._tracks.clear()

    def update(self, boxes: Sequence[Box], time: float) -> list[Face]:
        """The boxes of a frame captured at `time` (seconds) as faces, in the same order."""
        # A clock that was set back would otherwise keep a face for as long as it was set back.
        self._tracks = [track for track in self._tracks if abs(time - track.seen) <= self._forget_after]
        pairs = sorted(
            (
                (-overlap, t, b)
                for t, track in enumerate(self._tracks)
                for b, box in enumerate(boxes)
                if (overlap := intersection_over_union(track.box, box)) >= self._min_overlap
            ),
        )
        chosen: dict[int, _Track] = {}
        taken: set[int] = set()
        for _, t, b in pairs:  # the best overlap first; each track and each box at most once
            if t not in taken and b not in chosen:
                taken.add(t)
                chosen[b] = self._tracks[t]
        for b, box in enumerate(boxes):
            if b not in chosen:
                chosen[b] = _Track(self._next_id, box, time)
                self._tracks.append(chosen[b])
                self._next_id += 1
            chosen[b].box, chosen[b].seen = box, time
        return [Face(chosen[b].id, box) for b, box in enumerate(boxes)]


def intersection_over_union(a: Box, b: Box) -> float:
    """How much two boxes overlap: 0 apart, 1 equal."""
    width = min(a.x + a.width, b.x + b.width) - max(a.x, b.x)
    height = min(a.y + a.height, b.y + b.height) - max(a.y, b.y)
    if width <= 0 or height <= 0:
        return 0.0
    return width * height / (a.width * a.height + b.width * b.height - width * height)
