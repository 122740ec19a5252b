"""Gray image → boxes of faces, by OpenCV's Haar cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2

from .errors import ConfigError, RuntimeMissing
from .records import Box, Image

CASCADE = Path(__file__).parent / "data" / "haarcascade_frontalface_default.xml"
"""OpenCV's frontal face cascade; OpenCV's own copy isn't in every build of it."""


class Detector(Protocol):
    """Finds the faces of one picture."""

    def detect(self, gray: Image) -> list[Box]:
        """Boxes within a gray picture uint8 [H, W], from left to right."""


class WindowDetector(Detector, Protocol):
    """A detector that can also be told which sizes to look for, so that faces can be followed with it."""

    WINDOW: int
    """Side of the least face that it can find, pixels."""

    def search(self, gray: Image, low: float, high: float) -> list[Box]:
        """Boxes with a side from `low` to `high` pixels, as sure as those of `detect`."""

    def confirms(self, gray: Image, low: float, high: float) -> bool:
        """Whether a second look, of another kind, finds a face with a side from `low` to `high` pixels too."""

    def scan(self, gray: Image, scale_factor: float, low: float, high: float) -> list[Box]:
        """Boxes with a side from `low` to `high` pixels that may be faces; sizes go in steps of `scale_factor`."""


class HaarDetector:
    """Viola and Jones' detector: upright faces that look at the camera.

    Histogram equalisation is left out on purpose: on Mien's test videos it lost faces (on one of them
    four of five) and found no more.
    """

    WINDOW = 24
    """Side of the cascade's window, pixels: it can't find a smaller face."""

    def __init__(
        self, scale_factor: float = 1.1, min_neighbors: int = 5, min_face: float = 0.08, cascade: Path = CASCADE
    ) -> None:
        """`scale_factor` > 1 is the step between the sizes searched, `min_neighbors` how many hits make a face.

        `min_face` is the least height of a face: below 1 a share of the picture's height, which bounds the
        cost whatever the resolution; from 1 on pixels. Raises RuntimeMissing, ConfigError.
        """
        if not hasattr(cv2, "CascadeClassifier"):
            raise RuntimeMissing(
                f"OpenCV {cv2.__version__} has no CascadeClassifier: install one below 5, pip install 'opencv-python<5'"
            )
        if not cascade.is_file():
            raise ConfigError(f"no face cascade at {cascade}: install mien again")
        try:
            self._cascade = cv2.CascadeClassifier(str(cascade))
        except (cv2.error, SystemError) as error:
            raise ConfigError(f"{cascade} is not a face cascade: install mien again") from error
        if self._cascade.empty():
            raise ConfigError(f"{cascade} is not a face cascade: install mien again")
        self._scale_factor, self._min_neighbors, self._min_face = scale_factor, min_neighbors, min_face

    def detect(self, gray: Image) -> list[Box]:
        """Boxes within a gray picture uint8 [H, W], from left to right."""
        height, width = gray.shape
        if min(height, width) < self.WINDOW:
            return []
        least = max(self.WINDOW, round(self._min_face * height if self._min_face < 1 else self._min_face))
        found = self._cascade.detectMultiScale(
            gray, scaleFactor=self._scale_factor, minNeighbors=self._min_neighbors, minSize=(least, least)
        )
        return sorted(Box(*(int(value) for value in box)) for box in found)

    def search(self, gray: Image, low: float, high: float) -> list[Box]:
        """Boxes with a side from `low` to `high` pixels, as sure as those of `detect`."""
        return self._found(gray, self._scale_factor, self._min_neighbors, low, high)

    def confirms(self, gray: Image, low: float, high: float) -> bool:
        """Whether the mirrored picture holds a face too: a real one is about symmetric, a chance pattern seldom.

        Half the hits are enough, as the cascade isn't symmetric.
        """
        neighbors = (self._min_neighbors + 1) // 2
        return bool(self._found(cv2.flip(gray, 1), self._scale_factor, neighbors, low, high))  # type: ignore[arg-type]

    def scan(self, gray: Image, scale_factor: float, low: float, high: float) -> list[Box]:
        """Boxes with a side from `low` to `high` pixels that may be faces: each hit, by itself."""
        return self._found(gray, scale_factor, 0, low, high)

    def _found(self, gray: Image, scale_factor: float, neighbors: int, low: float, high: float) -> list[Box]:
        if min(gray.shape) < self.WINDOW:
            return []
        # OpenCV rounds the window of each step to whole pixels before it compares.
        least, most = max(self.WINDOW, int(low)), int(high) + 1
        found = self._cascade.detectMultiScale(
            gray, scaleFactor=scale_factor, minNeighbors=neighbors, minSize=(least, least), maxSize=(most, most)
        )
        return [Box(*(int(value) for value in box)) for box in found]
