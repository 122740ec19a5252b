"""Sources without hardware: for tests, and for trying a program out."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ..records import Frame
from .base import DEFAULT_RATE, Source, make_frame


class FakeSource(Source):
    """Gives the pictures that it was given, `frame_rate` a second from `start` (seconds since the epoch)."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        frame_rate: float = DEFAULT_RATE,
        *,
        start: float = 0.0,
        related: bool = True,
        loop: bool = False,
    ) -> None:
        """`images` are uint8 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4]."""
        self._images, self.frame_rate, self._start, self.related, self._loop = images, frame_rate, start, related, loop
        self.is_open = False

    def open(self) -> None:
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def frames(self) -> Iterator[Frame]:
        index = 0
        while index < len(self._images) or (self._loop and self._images):
            image = self._images[index % len(self._images)]
            yield make_frame("the fake source", index, self._start + index / self.frame_rate, image)
            index += 1


class FakeCapture:
    """Stands in for cv2.VideoCapture: a camera that gives pictures, then stalls or is unplugged."""

    def __init__(
        self,
        images: Sequence[np.ndarray],
        *,
        interval: float = 0.0,
        stalls: bool = False,
        formats: Sequence[str] = ("MJPG", "YUYV"),
        properties: dict[int, float] | None = None,
    ) -> None:
        """A picture every `interval` seconds; at the end `read` blocks until release if it `stalls`, else fails."""
        self._images, self._interval, self._stalls, self._formats = iter(images), interval, stalls, formats
        self.properties = dict(properties or {})
        self.released = threading.Event()

    def isOpened(self) -> bool:
        return not self.released.is_set()

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.released.wait(self._interval)
        image = next(self._images, None)
        if image is None and self._stalls:
            self.released.wait(60)
        return image is not None, image

    def get(self, propId: int, /) -> float:
        return self.properties.get(propId, 0.0)

    def set(self, propId: int, value: float, /) -> bool:
        if propId == cv2.CAP_PROP_FOURCC and int(value) not in [
            cv2.VideoWriter.fourcc(*code) for code in self._formats
        ]:
            return False
        self.properties[propId] = value
        return True

    def release(self) -> None:
        self.released.set()
