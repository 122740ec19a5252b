"""Frames → followed faces, for a small part of what a search of every whole frame costs.

A face that is known is searched only near where it should be, at about its size; between two such searches its last
look is matched, which costs a tenth. The search for new faces is spread over the frames: slices of face sizes take
turns, so that no frame pays for all of them. The first frame, and the first after a cut, is searched whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import cv2
import numpy as np

from .config import DetectorConfig, TrackerConfig
from .detector import Detector, HaarDetector
from .records import Face, Frame, Image
from .tracker import Place, Track, Tracker


class Finder(Protocol):
    """Finds and follows the faces of successive frames."""

    def find(self, frame: Frame, related: bool = True) -> list[Face]:
        """The faces of a frame, from left to right; `related` if it shows the scene of the frame before."""


def make_finder(find: DetectorConfig, track: TrackerConfig, every_frame: bool) -> Finder:
    """What a configuration asks for; `every_frame` searches each frame whole. Raises RuntimeMissing, ConfigError."""
    detector = HaarDetector(find.scale_factor, find.min_neighbors, find.min_face)
    if every_frame:
        return EveryFrame(detector, track.min_overlap, track.forget_after)
    tracker = Tracker(track.min_overlap, hold=track.hold, forget_after=track.forget_after)
    return Following(detector, tracker, find.min_face)


class EveryFrame:
    """Searches every frame whole, with any detector; faces count from their first hit on, and aren't held."""

    def __init__(self, detector: Detector, min_overlap: float = 0.3, forget_after: float = 1.0) -> None:
        """For `min_overlap` and `forget_after` see Tracker."""
        self._detector = detector
        self._tracker = Tracker(min_overlap, birth_hits=1, hold=0.0, forget_after=forget_after)

    def find(self, frame: Frame, related: bool = True) -> list[Face]:
        """The faces of a frame, from left to right; `related` if it shows the scene of the frame before."""
        if not related:
            self._tracker.reset()
        return self._tracker.update(self._detector.detect(frame.gray), frame.time)


class Following:
    """Follows faces, and searches the rest of the picture in slices."""

    FACE = 56
    """Side of a face when it is searched near its place, pixels. Above twice the cascade's window OpenCV tries every
    pixel, below it every other one, which loses faces."""
    MARGIN = 1.45
    """Side of the part that is searched near a face's place, in sides of the face."""
    SIZES = (0.85, 1.2)
    """Of a face when it is searched near its place, against its size before."""
    PATCH = 24
    """Side of a face's remembered look, pixels."""
    LIKENESS = 0.75
    """Correlation from which on a look is the face itself."""
    STEP = 1.1
    """Between the sizes of faces in the search for new ones."""
    CUT = 18.0
    """Mean difference of a thumbnail, gray levels, that makes a frame the first of another scene."""

    def __init__(
        self,
        detector: HaarDetector,
        tracker: Tracker,
        min_face: float = 0.08,
        scan_period: float = 0.35,
        check_period: float = 0.16,
        slices: int = 8,
    ) -> None:
        """A whole search for new faces takes `scan_period` seconds, `slices` parts of it in turn.

        Each followed face is searched again after `check_period` seconds. `min_face` is the least height of a
        face: below 1 a share of the picture's, from 1 on pixels.
        """
        self._detector, self._tracker = detector, tracker
        self._min_face, self._scan_period, self._check_period = min_face, scan_period, check_period
        self._slices = slices
        self._thumbnail: np.ndarray | None = None
        self._due = 0.0
        self._next, self._odd = 0, False
        self._shape: tuple[int, ...] = ()
        self._bands: list[list[tuple[float, float, float]]] = []

    def find(self, frame: Frame, related: bool = True) -> list[Face]:
        """The faces of a frame, from left to right; `related` if it shows the scene of the frame before."""
        gray = frame.gray
        if not related or gray.shape != self._shape:
            self._tracker.reset()
            self._thumbnail = None
            self._shape = gray.shape
            self._bands = self._plan(*gray.shape)
        passed = self._tracker.begin(frame.time)
        whole = self._is_cut(gray)
        for track in self._tracker.tracks:
            self._follow(gray, track, frame.time)
        self._tracker.prune()
        if whole:
            self._tracker.drop_lost()
            self._scan(gray, range(len(self._bands)), frame.time, new_hits=2)
            self._due = 0.0
        elif self._bands:
            self._due = min(self._due + passed / self._scan_period * len(self._bands), float(len(self._bands)))
            count = int(self._due)
            self._due -= count
            for _ in range(count):
                self._scan(gray, [self._next], frame.time, new_hits=1)
                self._next += 1
                if self._next == len(self._bands):
                    self._next, self._odd = 0, not self._odd
        return self._tracker.faces()

    def _is_cut(self, gray: Image) -> bool:
        """Whether the frame has little in common with the one before, or there is none."""
        thumbnail = cv2.resize(gray, (32, 24), interpolation=cv2.INTER_NEAREST).astype(np.int16)
        before, self._thumbnail = self._thumbnail, thumbnail
        return before is None or float(np.abs(thumbnail - before).mean()) > self.CUT

    def _follow(self, gray: Image, track: Track, time: float) -> None:
        """Finds a known face again, by its look or by the detector."""
        predicted = self._tracker.predict(track)
        if track.look is not None and time - track.checked < self._check_period:
            place = self._match(gray, track.look, predicted)
            if place is not None:
                self._tracker.hit(track, place)
                return
        place = self._search(gray, predicted)
        if place is None and predicted != track.place:
            place = self._search(gray, track.place)
        if place is not None:
            # Half of the new size and half of the old: the detector's sizes go in steps.
            place = Place(place.x, place.y, (place.side + track.place.side) / 2)
            self._tracker.hit(track, place)
            track.look, track.checked = self._look(gray, place), time

    def _search(self, gray: Image, place: Place) -> Place | None:
        """The face that the detector finds nearest to a place, at about its size."""
        part, left, top, scale = self._part(gray, place, self.MARGIN, self.FACE)
        if part is None:
            return None
        low, high = (limit * self.FACE for limit in self.SIZES)
        found = [
            Place(left + x / scale, top + y / scale, side / scale)
            for x, y, side in map(Place.of, self._detector.search(part, low, high))
        ]
        return min(found, key=lambda f: abs(f.x - place.x) + abs(f.y - place.y), default=None)

    def _match(self, gray: Image, look: Image, place: Place) -> Place | None:
        """Where a face's look is found again near a place; None if nothing there is like it."""
        part, left, top, scale = self._part(gray, place, self.MARGIN, self.PATCH)
        if part is None or min(part.shape) < self.PATCH:
            return None
        likeness = cv2.matchTemplate(part, look, cv2.TM_CCOEFF_NORMED)
        _, best, _, (column, row) = cv2.minMaxLoc(likeness)
        if best < self.LIKENESS:
            return None
        x = column + self.PATCH / 2 + _peak(likeness[row, max(column - 1, 0) : column + 2], column > 0)
        y = row + self.PATCH / 2 + _peak(likeness[max(row - 1, 0) : row + 2, column], row > 0)
        return Place(left + x / scale, top + y / scale, place.side)

    def _look(self, gray: Image, place: Place) -> Image | None:
        """A face as PATCH × PATCH pixels; None where it reaches over the frame's border."""
        part, _, _, _ = self._part(gray, place, 1.0, self.PATCH)
        if part is None or abs(part.shape[0] - self.PATCH) > 1 or abs(part.shape[1] - self.PATCH) > 1:
            return None
        return cv2.resize(part, (self.PATCH, self.PATCH))  # type: ignore[return-value]

    def _part(self, gray: Image, place: Place, margin: float, face: int) -> tuple[Image | None, float, float, float]:
        """The picture around a place, so scaled that the face there has `face` pixels; where it begins; the scale."""
        half = place.side * margin / 2
        left, top = max(0, round(place.x - half)), max(0, round(place.y - half))
        right, bottom = min(gray.shape[1], round(place.x + half)), min(gray.shape[0], round(place.y + half))
        if right - left < 2 or bottom - top < 2:
            return None, 0.0, 0.0, 1.0
        scale = face / place.side
        size = max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))
        interpolation = cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR
        part = cv2.resize(gray[top:bottom, left:right], size, interpolation=interpolation)
        return part, left, top, scale  # type: ignore[return-value]

    def _plan(self, height: int, width: int) -> list[list[tuple[float, float, float]]]:
        """Slices of about the same cost: (scale of the picture, least, greatest size in that scale), some each.

        Faces from the least size on, by octaves: each octave is searched in a picture in which its faces have one to
        two windows' height, where OpenCV tries every other pixel only.
        """
        least = max(HaarDetector.WINDOW, self._min_face * height if self._min_face < 1 else self._min_face)
        bands, costs = [], []
        scale = HaarDetector.WINDOW / least
        while min(height, width) * scale >= HaarDetector.WINDOW:
            size = float(HaarDetector.WINDOW)
            while size < 2 * HaarDetector.WINDOW and size <= min(height, width) * scale:
                bands.append((scale, size, size))
                costs.append(height * width * (scale / size) ** 2)
                size *= self.STEP
            scale /= 2
        slices: list[list[tuple[float, float, float]]] = []
        total = sum(costs)
        done = 0.0
        for (scale, size, _), cost in zip(bands, costs, strict=True):
            place = min(int(done / total * self._slices), self._slices - 1)
            if place >= len(slices):
                slices.append([])
            if slices[-1] and slices[-1][-1][0] == scale:
                slices[-1][-1] = (scale, slices[-1][-1][1], size)
            else:
                slices[-1].append((scale, size, size))
            done += cost
        return slices

    def _scan(self, gray: Image, numbers: Iterable[int], time: float, new_hits: int) -> None:
        """Searches slices of the plan for faces that aren't followed."""
        reduced: dict[float, Image] = {}
        found: list[Place] = []
        for number in numbers:
            for scale, low, high in self._bands[number]:
                if scale not in reduced:
                    reduced[scale] = _reduce(gray, scale)
                # Every second search looks at the places and sizes between those of the first: what stands still
                # would be missed for ever otherwise.
                shift, finer = (1, self.STEP**0.5) if self._odd else (0, 1.0)
                boxes = self._detector.scan(reduced[scale][shift:, shift:], self.STEP, low * finer, high * finer)
                for box in boxes:
                    x, y, side = Place.of(box)
                    candidate = Place((x + shift) / scale, (y + shift) / scale, side / scale)
                    followed = (track.place for track in self._tracker.tracks if track.seen == time)
                    if any(_near(candidate, place) for place in (*followed, *found)):
                        continue
                    place = self._search(gray, candidate)
                    if place is not None and not any(_near(place, other) for other in found):
                        found.append(place)
        if found:
            for track in self._tracker.match(found, new_hits):
                track.look, track.checked = self._look(gray, track.place), time


def _near(a: Place, b: Place) -> bool:
    """Whether two places are one face's."""
    reach = max(a.side, b.side) / 2
    return abs(a.x - b.x) < reach and abs(a.y - b.y) < reach


def _peak(values: np.ndarray, has_left: bool) -> float:
    """From a greatest value to the top of the parabola through it and its two neighbours, −0.5 to 0.5."""
    if len(values) < 3 or not has_left:
        return 0.0
    left, middle, right = (float(value) for value in values)
    bend = left - 2 * middle + right
    return 0.0 if bend >= 0 else max(-0.5, min(0.5, (left - right) / (2 * bend)))


def _reduce(gray: Image, scale: float) -> Image:
    """The picture made smaller without being smoothed: the cascade finds more in what is sharp."""
    if scale >= 1:
        return gray
    target = max(1, round(gray.shape[1] * scale)), max(1, round(gray.shape[0] * scale))
    return cv2.resize(gray, target, interpolation=cv2.INTER_NEAREST if scale <= 0.5 else cv2.INTER_LINEAR)  # type: ignore[return-value]
