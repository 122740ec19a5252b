"""Frames → followed faces, for a small part of what a search of every whole frame costs.

A face that is known is searched only near where it should be, at about its size; between two such searches its last
look is matched, which costs a tenth. The search for new faces is spread over the frames: slices of face sizes take
turns, so that no frame pays for all of them. The first frame, and the first after a cut, is searched whole.
"""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np

from .config import DetectorConfig, TrackerConfig
from .detector import Detector, HaarDetector, WindowDetector, make_detector
from .records import Face, Frame, Image
from .scan import Scan
from .tracker import Place, Track, Tracker

SMALL = (160, 120)
"""Size of the small picture in which change is noticed, width and height, pixels."""


class Finder(Protocol):
    """Finds and follows the faces of successive frames."""

    def find(self, frame: Frame, related: bool = True) -> list[Face]:
        """The faces of a frame, from left to right; `related` if it shows the scene of the frame before."""


def make_finder(find: DetectorConfig, track: TrackerConfig, every_frame: bool) -> Finder:
    """What a configuration asks for; `every_frame` searches each frame whole. Raises RuntimeMissing, ConfigError."""
    detector = make_detector(find)
    if every_frame or not isinstance(detector, HaarDetector):
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
    CUT = 18.0
    """Mean difference from the frame before, gray levels, that makes a frame the first of another scene."""

    def __init__(
        self,
        detector: WindowDetector,
        tracker: Tracker,
        min_face: float = 0.08,
        scan_period: float = 0.35,
        check_period: float = 0.16,
        slices: int = 12,
    ) -> None:
        """A whole search for new faces takes `scan_period` seconds, `slices` parts of it in turn.

        Each followed face is searched again after `check_period` seconds. `min_face` is the least height of a
        face: below 1 a share of the picture's, from 1 on pixels.
        """
        self._detector, self._tracker, self._check_period = detector, tracker, check_period
        self._scan = Scan(detector, min_face, scan_period, slices)
        self._small: Image | None = None
        self._shape: tuple[int, ...] = ()

    def find(self, frame: Frame, related: bool = True) -> list[Face]:
        """The faces of a frame, from left to right; `related` if it shows the scene of the frame before."""
        gray = frame.gray
        if not related or gray.shape != self._shape:
            self._tracker.reset()
            self._small = None
            self._shape = gray.shape
        passed = self._tracker.begin(frame.time)
        small: Image = cv2.resize(gray, SMALL, interpolation=cv2.INTER_NEAREST)  # type: ignore[assignment]
        cut = self._small is None or cv2.norm(small, self._small, cv2.NORM_L1) > self.CUT * small.size
        self._small = small
        searches = self._follow_all(gray, frame.time, passed)
        self._tracker.prune()
        if cut:
            self._tracker.drop_lost()
            self._scan.restart(gray)
        new_hits = 2 if self._scan.opening else 1
        self._admit(gray, self._scan.look(gray, passed, searches), frame.time, new_hits)
        return self._tracker.faces()

    def _follow_all(self, gray: Image, time: float, passed: float) -> int:
        """Finds the known faces again; returns how often the detector searched near one."""
        tracks = self._tracker.tracks
        # Not all in one frame: those that weren't checked for longest come first.
        most = math.ceil(len(tracks) * passed / self._check_period)
        due = sorted((t for t in tracks if time - t.checked >= self._check_period), key=lambda t: t.checked)[:most]
        return sum(self._follow(gray, track, time, track in due) for track in tracks)

    def _follow(self, gray: Image, track: Track, time: float, check: bool) -> int:
        """Finds a known face again, by its look or by the detector; returns how often that searched."""
        predicted = self._tracker.predict(track)
        # Only the detector makes a face: a look is found again whatever it shows.
        if track.look is not None and not check and self._tracker.is_born(track):
            place = self._match(gray, track.look, predicted)
            if place is not None:
                self._tracker.hit(track, place)
                return 0
        searches = 1
        place = self._search(gray, predicted)
        if place is None and predicted != track.place:
            searches = 2
            place = self._search(gray, track.place)
        if place is not None:
            # Half of the new size and half of the old: the detector's sizes go in steps.
            place = Place(place.x, place.y, (place.side + track.place.side) / 2)
            self._tracker.hit(track, place)
            track.look, track.checked = self._look(gray, place), time
        return searches

    def _search(self, gray: Image, place: Place, new: bool = False) -> Place | None:
        """The face that the detector finds nearest to a place, at about its size; a `new` one must be confirmed."""
        part, left, top, scale = self._part(gray, place, self.MARGIN, self.FACE)
        if part is None:
            return None
        low, high = (limit * self.FACE for limit in self.SIZES)
        found = [
            Place(left + x / scale, top + y / scale, side / scale)
            for x, y, side in map(Place.of, self._detector.search(part, low, high))
        ]
        if new and found and not self._detector.confirms(part, low, high):
            return None
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

    def _admit(self, gray: Image, candidates: list[Place], time: float, new_hits: int) -> None:
        """Has a second look at what the scan saw, and follows those that are faces."""
        found: list[Place] = []
        seen: list[Place] = []
        for candidate in candidates:
            followed = (track.place for track in self._tracker.tracks if track.seen == time)
            if any(_near(candidate, place) for place in (*followed, *seen)):
                continue
            seen.append(candidate)
            place = self._search(gray, candidate, new=True)
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
