"""A video file of the annotated pictures."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, SinkError
from ..files import replacing
from ..records import Image, Observation
from .base import Sink, check_writable

_CODECS = {".mp4": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}
_LONGEST_GAP = 10.0
"""Seconds; a longer gap between frames is taken for a clock that was set, and not filled."""
_RESERVE = 8 << 20
"""Bytes left free on the disk, so that the video can be finished."""


class VideoSink(Sink):
    """Writes beside the target and renames at the end, so that a video at the target is always whole.

    The rate is constant: a frame is shown until the next one's time, so that a slow camera's video plays at
    the right speed. Pictures of another size than the first are fitted into the first one's, on black.
    """

    wants_picture = True

    def __init__(self, target: str, frame_rate: float = 25.0, reserve: int = _RESERVE) -> None:
        """`target` ends in .mp4, .mkv or .avi; its folder must exist. Raises ConfigError."""
        self._path, self._rate, self._reserve = Path(target).expanduser(), frame_rate, reserve
        if self._path.suffix.lower() not in _CODECS:
            raise ConfigError(f"video:{target} must end in {', '.join(_CODECS)}")
        self._writer: cv2.VideoWriter | None = None
        self._file = contextlib.ExitStack()
        self._written = 0
        self._start = 0.0

    def open(self) -> None:
        check_writable(self._path)

    def write(self, observation: Observation, picture: Image | None) -> None:
        assert picture is not None
        if self._writer is None:
            self._begin(picture)
        assert self._writer is not None
        for _ in range(self._repeats(observation.frame.time)):
            # OpenCV drops frames silently when the disk is full.
            space = os.statvfs(self._path.parent)
            if space.f_bavail * space.f_frsize < self._reserve:
                raise SinkError(f"can't write {self._path}: the disk is full; the video up to here is kept")
            self._writer.write(fit(picture, self._size))
            self._written += 1

    def close(self) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        try:
            if not _is_readable(self._partial):
                raise SinkError(f"{self._path} couldn't be finished: is the disk full?")
            self._file.close()
        except OSError as error:
            with contextlib.suppress(OSError):
                self._partial.unlink(missing_ok=True)
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"can't write {self._path}: {error.strerror}") from error

    def _begin(self, picture: Image) -> None:
        height, width = picture.shape[:2]
        # MPEG-4 takes even sizes only; OpenCV would cut an odd row or column off.
        self._size = (height + height % 2, width + width % 2)
        self._partial = self._file.enter_context(replacing(self._path))
        codec = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(self._partial), codec, self._rate, self._size[::-1])
        if not self._writer.isOpened():
            self._writer = None
            self._partial.unlink(missing_ok=True)
            raise SinkError(f"can't write {self._path}: this build of OpenCV can't encode {width}×{height} to it")

    def _repeats(self, time: float) -> int:
        """How many frames to write for a picture taken at `time` (seconds), so that the video keeps pace."""
        if self._written == 0:
            self._start = time
        due = round((time - self._start) * self._rate) + 1 - self._written
        if abs(due) > _LONGEST_GAP * self._rate:
            self._start = time - self._written / self._rate
            due = 1
        return max(due, 0)


def fit(picture: Image, size: tuple[int, int]) -> Image:
    """The picture uint8 [H, W, 3] scaled into `size` (height, width), its proportions kept, on black."""
    height, width = size
    if picture.shape[:2] == size:
        return picture
    scale = min(height / picture.shape[0], width / picture.shape[1])
    rows, columns = max(1, round(picture.shape[0] * scale)), max(1, round(picture.shape[1] * scale))
    if abs(rows - picture.shape[0]) <= 1 and abs(columns - picture.shape[1]) <= 1:
        # Only the rounding up to an even size: a row or column of border, and nothing blurred.
        bottom, right = height - picture.shape[0], width - picture.shape[1]
        return cv2.copyMakeBorder(picture, 0, bottom, 0, right, cv2.BORDER_REPLICATE)  # type: ignore[return-value]
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - rows) // 2, (width - columns) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas[top : top + rows, left : left + columns] = cv2.resize(picture, (columns, rows), interpolation=method)
    return canvas


def _is_readable(path: Path) -> bool:
    capture = cv2.VideoCapture(str(path))
    try:
        return bool(capture.isOpened() and capture.read()[0])
    finally:
        capture.release()
