"""How a data set frames its faces, against the box that the device's face detector draws around one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mien.edge.bundle import Crop
from mien.edge.dataset import FaceSet
from mien.edge.detector import HaarDetector
from mien.edge.errors import DataError
from mien.edge.preprocess import crop_face, part_of
from mien.edge.records import Image
from mien.edge.sources import open_source

_ENLARGE = 4
"""The cascade's window is 24 pixels wide: a face of 48 pixels leaves it few sizes to choose from."""
_LEAST_BOX = 0.5
"""Share of a data set's face below which a found box is a part of a face, not the face."""
_FEWEST = 20
"""Faces that a median takes."""


@dataclass(frozen=True)
class Framing:
    """Where the detector's boxes lie in a data set's faces, as shares of the face's side."""

    faces: int
    """That were looked at."""
    found: int
    """In which the detector found a face."""
    dx: tuple[float, float, float]
    """5th, 50th and 95th percentile of the box's centre, from the picture's, to the right."""
    dy: tuple[float, float, float]
    """The same downwards."""
    size: tuple[float, float, float]
    """The same of the box's side."""

    @property
    def crop(self) -> Crop:
        """What must be cut around a box, so that a face is framed as the data set frames it."""
        size = self.size[1]
        return Crop(round(1 / size, 3), round(-self.dx[1] / size, 3), round(-self.dy[1] / size, 3))

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "crop": asdict(self.crop)}


@dataclass(frozen=True)
class Eyes:
    """Where the eyes lie in faces, as medians and shares of the face's side; what tells whether framings agree."""

    faces: int
    """In which both eyes were found."""
    x: float
    """Of the middle between the eyes, from the left."""
    y: float
    """The same from the top."""
    distance: float
    """Between the eyes' centres."""


def measure_framing(faces: FaceSet, count: int, seed: int, progress: Callable[[], object] = lambda: None) -> Framing:
    """Runs the device's detector on `count` faces drawn by `seed`. Raises DataError if it finds too few.

    Each face is enlarged, and its border repeated around it, so that a box may be larger than the picture.
    """
    detector = HaarDetector(scale_factor=1.05, min_neighbors=3, min_face=_LEAST_BOX / 2)
    rows = np.random.default_rng(seed).permutation(len(faces))[:count]
    found = []
    for row in rows:
        face = faces.take(np.array([row]))[0]
        side = face.shape[0]
        framed = np.pad(face, side // 2, mode="edge")
        large = cv2.resize(framed, None, fx=_ENLARGE, fy=_ENLARGE, interpolation=cv2.INTER_CUBIC)
        boxes = detector.detect(large)  # type: ignore[arg-type]
        if boxes:
            box = max(boxes, key=lambda box: box.width)
            middle = large.shape[0] / 2
            scale = side * _ENLARGE
            found.append(
                (
                    (box.x + box.width / 2 - middle) / scale,
                    (box.y + box.height / 2 - middle) / scale,
                    box.width / scale,
                )
            )
        progress()
    kept = np.array([each for each in found if each[2] >= _LEAST_BOX])
    if len(kept) < _FEWEST:
        raise DataError(f"the detector finds a face in {len(kept)} of {len(rows)} pictures: too few to measure")
    dx, dy, size = (tuple(map(float, row)) for row in np.percentile(kept, (5, 50, 95), axis=0).T.round(4))
    return Framing(len(rows), len(kept), dx, dy, size)  # type: ignore[arg-type]


def measure_eyes(faces: Iterable[Image]) -> Eyes | None:
    """Finds the eyes in gray faces uint8 [H, W] by OpenCV's eye cascade; None if it finds too few."""
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data" / "haarcascade_eye.xml"))
    found = []
    for face in faces:
        large = cv2.resize(face, (192, 192), interpolation=cv2.INTER_CUBIC)
        boxes = cascade.detectMultiScale(large, 1.05, 4, minSize=(28, 28), maxSize=(72, 72))
        centres = sorted(((x + w / 2) / 192, (y + h / 2) / 192) for x, y, w, h in boxes)
        centres = [(x, y) for x, y in centres if y < 0.6]  # mouths and nostrils look like eyes to it
        if len(centres) == 2:
            (left, top), (right, bottom) = centres
            if left < 0.5 < right and abs(top - bottom) < 0.1:
                found.append(((left + right) / 2, (top + bottom) / 2, right - left))
    if len(found) < _FEWEST:
        return None
    x, y, distance = np.median(np.array(found), axis=0).round(4).tolist()
    return Eyes(len(found), x, y, distance)


def faces_of_video(path: Path, crop: Crop, size: int) -> Iterable[Image]:
    """The faces that the device would read in a film, uint8 [size, size] each. Raises SourceError."""
    detector = HaarDetector()
    with open_source(str(path)) as source:
        for frame in source:
            for box in detector.detect(frame.gray):
                yield crop_face(frame.gray, part_of(box, crop), size, size)
