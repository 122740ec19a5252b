"""Gray image → boxes of faces, by OpenCV's Haar cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import cv2

from .config import DetectorConfig
from .errors import ConfigError, RuntimeMissing
from .records import Box, Image

CASCADE = Path(__file__).parent / "data" / "haarcascade_frontalface_default.xml"
"""OpenCV's frontal face cascade; OpenCV's own copy isn't in every build of it."""
CASCADES = {
    "alt2": "haarcascade_frontalface_alt2.xml",
    "profile": "haarcascade_profileface.xml",
}
"""Others by name, which come with OpenCV's wheels, and on Debian with opencv-data."""
_SHARED = Path("/usr/share/opencv4/haarcascades")


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
        self.WINDOW = self._cascade.getOriginalWindowSize()[0]
        self._scale_factor, self._min_neighbors, self._min_face = scale_factor, min_neighbors, min_face

    def detect(self, gray: Image) -> list[Box]:
        """Boxes within a gray picture uint8 [H, W], from left to right."""
        height, width = gray.shape
        if min(height, width) < self.WINDOW:
            return []
        least = max(self.WINDOW, round(self._min_face * height if self._min_face < 1 else self._min_face))
        return sorted(self._found(gray, self._scale_factor, self._min_neighbors, least, min(height, width)))

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


class ProfileDetector(HaarDetector):
    """Faces that look to a side. The cascade knows one side, so each picture is searched mirrored too."""

    def confirms(self, gray: Image, low: float, high: float) -> bool:
        """Always: what is seen from the side isn't symmetric."""
        return True

    def _found(self, gray: Image, scale_factor: float, neighbors: int, low: float, high: float) -> list[Box]:
        boxes = super()._found(gray, scale_factor, neighbors, low, high)
        mirrored = super()._found(cv2.flip(gray, 1), scale_factor, neighbors, low, high)  # type: ignore[arg-type]
        boxes += [box._replace(x=gray.shape[1] - box.x - box.width) for box in mirrored]
        kept: list[Box] = []
        for box in boxes:  # one that looks almost ahead is found both ways
            if all(abs(box.x - other.x) + abs(box.y - other.y) > box.width / 2 for other in kept):
                kept.append(box)
        return kept


def find_cascade(kind: str) -> Path:
    """The file of one of CASCADES. Raises ConfigError if this OpenCV has it not."""
    name = CASCADES[kind]
    folders = [Path(cv2.data.haarcascades)] if hasattr(cv2, "data") else []
    for folder in (*folders, _SHARED):
        if (folder / name).is_file():
            return folder / name
    raise ConfigError(
        f"the detector {kind} needs {name}, which this OpenCV doesn't bring along: pip install 'opencv-python<5', or "
        "on Debian apt install opencv-data; the detector haar needs nothing"
    )


def make_detector(find: DetectorConfig) -> Detector:
    """The detector that a configuration names. Raises RuntimeMissing, ConfigError."""
    options = find.scale_factor, find.min_neighbors, find.min_face
    if find.kind == "yunet":
        from .yunet import YuNetDetector  # optional, like its model

        return YuNetDetector(Path(find.model), find.min_face)
    if find.kind == "haar":
        return HaarDetector(*options)
    return (ProfileDetector if find.kind == "profile" else HaarDetector)(*options, cascade=find_cascade(find.kind))
