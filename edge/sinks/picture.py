"""One picture file that shows the latest faces."""

from __future__ import annotations

import time
from pathlib import Path

import cv2

from ..errors import ConfigError, SinkError
from ..files import replacing
from ..records import Image, Observation
from .base import Sink, check_writable

INTERVAL = 1.0
"""Seconds between writes while the run goes on: a memory card wears out."""


class PictureSink(Sink):
    """Keeps the latest picture that has faces, or the latest of all while none had, in one file.

    The file is replaced as a whole, at most every `interval` seconds and at the end.
    """

    wants_picture = True

    def __init__(self, target: str, frame_rate: float = 0.0, interval: float = INTERVAL) -> None:
        """`target` ends as OpenCV knows pictures, such as .jpg or .png; its folder must exist. Raises ConfigError."""
        self._path, self._interval = Path(target).expanduser(), interval
        try:
            known = cv2.haveImageWriter(str(self._path))
        except cv2.error:
            known = False
        if not known:
            raise ConfigError(f"image:{target} must end in .jpg, .png or another kind that OpenCV writes")
        self._picture: Image | None = None
        self._has_faces = False
        self._pending = False
        self._next = 0.0

    def open(self) -> None:
        check_writable(self._path)

    def write(self, observation: Observation, picture: Image | None) -> None:
        if observation.readings or not self._has_faces:
            self._picture, self._has_faces, self._pending = picture, bool(observation.readings), True
            if time.monotonic() >= self._next:
                self._save()
                self._next = time.monotonic() + self._interval

    def close(self) -> None:
        if self._pending:
            self._save()

    def _save(self) -> None:
        assert self._picture is not None
        self._pending = False
        try:
            good, data = cv2.imencode(self._path.suffix, self._picture)
            if not good:
                raise SinkError(f"can't write {self._path}: OpenCV can't encode it")
            with replacing(self._path) as partial:
                partial.write_bytes(data.tobytes())
        except cv2.error as error:
            raise SinkError(f"can't write {self._path}: {' '.join(str(error).split())}") from error
        except SinkError:
            raise
        except OSError as error:
            raise SinkError(f"can't write {self._path}: {error.strerror}") from error
