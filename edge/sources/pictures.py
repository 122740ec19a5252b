"""Pictures: one, or all of a folder in the order of their names."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import SourceError
from ..quiet import hushed
from ..records import Frame
from .base import Source, make_frame

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm")
"""What counts as a picture in a folder, in either case."""


class Pictures(Source):
    """Pictures that have nothing to do with each other, so that no face is followed from one to the next.

    A frame's time is when the source was opened plus one second for each picture before it.
    """

    frame_rate = 1.0
    related = False

    def __init__(self, paths: Sequence[Path], loop: bool = False) -> None:
        """`paths` has at least one; with `loop` they start again at the end, for ever."""
        self._paths, self._loop = paths, loop
        self.length = None if loop else len(paths)

    def open(self) -> None:
        self._start = time.time()
        self._first = read_picture(self._paths[0])

    def close(self) -> None:
        pass

    def frames(self) -> Iterator[Frame]:
        index = 0
        while index < len(self._paths) or self._loop:
            path = self._paths[index % len(self._paths)]
            image = read_picture(path) if index else self._first
            yield make_frame(str(path), index, self._start + index / self.frame_rate, image)
            index += 1


def pictures_in(folder: Path) -> list[Path]:
    """The folder's pictures by name. Raises SourceError if it has none or can't be read."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    except OSError as error:
        raise SourceError(f"can't read {folder}: {error.strerror}") from error
    if not paths:
        raise SourceError(f"no picture in {folder}: none of its files ends in {', '.join(SUFFIXES)}")
    return paths


def read_picture(path: Path) -> np.ndarray:
    """uint8 [H, W, 3], B, G, R, turned upright as its EXIF data says. Raises SourceError."""
    try:
        with hushed():
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    except cv2.error as error:  # such as a picture of more pixels than OpenCV takes
        raise SourceError(f"can't read the picture {path}: {' '.join(str(error).split())}") from error
    if image is None:
        raise SourceError(f"can't read the picture {path}: it is damaged, or not a picture; mend or remove it")
    return image
