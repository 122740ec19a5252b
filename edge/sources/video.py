"""Video files, every frame of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from ..errors import SourceError
from ..records import Frame
from .base import Capture, Source, make_frame, nominal_rate


class VideoFile(Source):
    """A video file. A frame's time is when the file was opened plus the frame's position in the video."""

    def __init__(
        self, path: Path, loop: bool = False, open_capture: Callable[[str], Capture] = cv2.VideoCapture
    ) -> None:
        """With `loop` the file starts again at its end, for ever; frame numbers and times go on."""
        self._path, self._loop, self._open_capture = path, loop, open_capture
        self._capture: Capture | None = None

    def open(self) -> None:
        self._start = time.time()
        self._first = self._rewind()
        # Some containers don't tell, and say 0 or less.
        count = round(self._opened.get(cv2.CAP_PROP_FRAME_COUNT))
        self.length = count if count > 0 and not self._loop else None

    def close(self) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def frames(self) -> Iterator[Frame]:
        image: np.ndarray | None = self._first
        index, offset, position = 0, 0.0, -1.0 / self.frame_rate
        while True:
            while image is not None:
                told = offset + self._opened.get(cv2.CAP_PROP_POS_MSEC) / 1000
                # Some containers tell no positions, or the same one twice.
                position = told if told > position else position + 1 / self.frame_rate
                yield make_frame(str(self._path), index, self._start + position, image)
                index += 1
                image = self._read()
            if not self._loop:
                return
            offset = position + 1 / self.frame_rate
            image = self._rewind()

    @property
    def _opened(self) -> Capture:
        if self._capture is None:
            raise SourceError(f"{self._path} is not open")
        return self._capture

    def _rewind(self) -> np.ndarray:
        """The first frame's picture. The file is opened anew: not every format can be wound back."""
        self.close()
        self._capture = self._open_capture(str(self._path))
        image = self._read() if self._capture.isOpened() else None
        if image is None:
            raise SourceError(f"{self._path} is neither a picture nor a video that can be read: is it whole?")
        self.frame_rate = nominal_rate(self._capture.get(cv2.CAP_PROP_FPS))
        return image

    def _read(self) -> np.ndarray | None:
        try:
            good, image = self._opened.read()
        except cv2.error:  # damage that the decoder doesn't cope with ends the video
            return None
        return image if good else None
