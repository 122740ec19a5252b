"""Where new faces may be: the search of the whole frame, cut into slices that take turns."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2

from .detector import WindowDetector
from .records import Image
from .tracker import Place


class Part(NamedTuple):
    """Some sizes of faces in a strip of the picture."""

    scale: float
    """Of the picture that is searched."""
    low: float
    """Least and greatest side of a face in that picture, pixels."""
    high: float
    top: int
    """First row of the strip in the frame, and the one after its last."""
    bottom: int
    cost: float
    """Number of windows, but for a factor."""

    def strips(self, count: int) -> list[Part]:
        """As so many strips that overlap by a face and a half, so that none is cut in two."""
        height, overlap = self.bottom - self.top, 1.5 * self.high / self.scale
        step = (height - overlap) / count
        if count < 2 or step < overlap:
            return [self]
        cost = self.cost * (step + overlap) / height
        edges = [(int(i * step), min(height, math.ceil((i + 1) * step + overlap))) for i in range(count)]
        return [self._replace(top=top, bottom=bottom, cost=cost) for top, bottom in edges]


class Scan:
    """Searches a slice of the face sizes at a time, so that no frame pays for all of them.

    After a cut the large faces come first: those of a quarter of the whole search's cost at once, the rest within a
    few frames.
    """

    STEP = 1.1
    """Between the sizes of faces."""
    FIRST = 0.25
    """Share of the whole search that the first frame after a cut pays for."""

    def __init__(self, detector: WindowDetector, min_face: float, period: float, slices: int) -> None:
        """A whole search takes `period` seconds, in `slices` parts; for `min_face` see Following."""
        self._detector, self._min_face, self._period, self._count = detector, min_face, period, slices
        self._slices: list[list[Part]] = []
        self._opening: list[int] = []
        self._due = 0.0
        self._next = self._round = 0

    @property
    def opening(self) -> bool:
        """Whether the first search since `restart` isn't done yet."""
        return bool(self._opening)

    def restart(self, gray: Image) -> None:
        """Another scene: nothing of it was looked at."""
        self._slices = self.plan(*gray.shape)
        self._opening = list(range(len(self._slices)))
        self._due, self._next, self._round = len(self._slices) * self.FIRST, 0, 0

    def look(self, gray: Image, passed: float, spent: int) -> list[Place]:
        """Where this frame's slices see something like a face.

        `passed` is the seconds since the frame before, `spent` the searches of a part that this frame paid for
        already: each is worth a slice, which is made up for later.
        """
        if not self._slices:
            return []
        count = len(self._slices)
        rate = passed / self._period * count
        if self._opening:
            # Within four frames, or at the usual rate where that is faster.
            take = math.ceil(max(self._due, rate, count * (1 - self.FIRST) / 4 if passed else 0.0))
            numbers, self._opening = self._opening[-take:][::-1], self._opening[:-take]
            self._due = 0.0
            return [place for number in numbers for place in self._search(gray, number)]
        self._due = min(self._due + rate, float(count))
        # At most three frames' worth is put off.
        take = min(int(self._due), max(math.ceil(rate) + 1 - spent, int(self._due - 3 * rate - 3), 0))
        self._due -= take
        found: list[Place] = []
        for _ in range(take):
            found += self._search(gray, self._next)
            self._next += 1
            if self._next == count:
                self._next, self._round = 0, self._round + 1
        return found

    def _search(self, gray: Image, number: int) -> list[Place]:
        """Searches a slice."""
        found = []
        # Each round looks at the places and sizes between those of the one before: what stands still would be missed
        # for ever otherwise.
        across, down = _SHIFTS[self._round % len(_SHIFTS)]
        finer = self.STEP**0.5 if self._round % 2 else 1.0
        for scale, low, high, top, bottom, _ in self._slices[number]:
            part = _reduce(gray[top:bottom], scale)[down:, across:]
            for box in self._detector.scan(part, self.STEP, low * finer, high * finer):
                x, y, side = Place.of(box)
                found.append(Place((x + across) / scale, top + (y + down) / scale, side / scale))
        return found

    def plan(self, height: int, width: int) -> list[list[Part]]:
        """Slices of about the same cost for pictures of a size, from the smallest faces to the largest.

        Faces from the least size on, by octaves: each octave is searched in a picture in which its faces have one to
        two windows' height, where OpenCV tries every other pixel only.
        """
        window = self._detector.WINDOW
        least = max(window, self._min_face * height if self._min_face < 1 else self._min_face)
        parts: list[Part] = []
        scale = window / least
        while min(height, width) * scale >= window:
            size = float(window)
            while size < 2 * window and size <= min(height, width) * scale:
                parts.append(Part(scale, size, size, 0, height, height * width * (scale / size) ** 2))
                size *= self.STEP
            scale /= 2
        fair = sum(part.cost for part in parts) / self._count
        slices: list[list[Part]] = [[]]
        for part in parts:
            strips = part.strips(max(1, round(part.cost / fair)))
            for strip in strips:
                if slices[-1] and sum(each.cost for each in slices[-1]) + strip.cost / 2 > fair:
                    slices.append([])
                last = slices[-1][-1] if slices[-1] else None
                if last is not None and len(strips) == 1 and last[:1] + last[3:5] == strip[:1] + strip[3:5]:
                    slices[-1][-1] = last._replace(high=strip.high, cost=last.cost + strip.cost)
                else:
                    slices[-1].append(strip)
        return [part for part in slices if part]


_SHIFTS = ((0, 0), (1, 1), (1, 0), (0, 1))
"""Pixels by which the rounds' grids of places are shifted, as the detector tries every other pixel."""


def _reduce(gray: Image, scale: float) -> Image:
    """The picture made smaller without being smoothed: the cascade finds more in what is sharp."""
    if scale >= 1:
        return gray
    target = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return cv2.resize(gray, target, interpolation=cv2.INTER_NEAREST if scale <= 0.5 else cv2.INTER_LINEAR)  # type: ignore[return-value]
