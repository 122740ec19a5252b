"""What every source is: a context manager to iterate over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np

from ..errors import SourceError
from ..preprocess import to_bgr, to_gray
from ..records import Frame

DEFAULT_RATE = 25.0
"""Frames a second, where a source doesn't say."""


class Source(ABC):
    """Frames from one place: ``with source: for frame in source: …``."""

    frame_rate: float = DEFAULT_RATE
    """Nominal frames a second; known once the source is open."""
    related: bool = True
    """Whether a frame shows the scene of the frame before, so that faces can be followed."""
    live: bool = False
    """Whether frames come at their own time, so that a late reader misses some; then they are read ahead already."""
    length: int | None = None
    """Frames until its end, as far as it knows; known once the source is open."""
    restarts: int = 0
    """Times that it was opened anew because it had failed."""
    _stopped = False

    @abstractmethod
    def open(self) -> None:
        """Makes the first frame available. Raises SourceError."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything; also after an `open` that failed."""

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Frames until the source's end. Raises SourceError."""

    def stop(self) -> None:
        """Ends the iteration after the current frame; may be called by a signal handler or another thread."""
        # A plain flag: a signal handler that interrupts a threading.Event in its lock would wait for ever.
        self._stopped = True

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Frame]:
        for frame in self.frames():
            if self._stopped:
                return
            yield frame


class Capture(Protocol):
    """The part of cv2.VideoCapture that sources use."""

    def isOpened(self) -> bool: ...

    def read(self) -> tuple[bool, Any]: ...

    def get(self, propId: int, /) -> float: ...

    def set(self, propId: int, value: float, /) -> bool: ...

    def release(self) -> None: ...


def make_frame(name: str, index: int, time: float, image: np.ndarray) -> Frame:
    """A frame of a gray, B, G, R or B, G, R, A picture that the source `name` gave. Raises SourceError."""
    try:
        return Frame(index, time, to_bgr(image), to_gray(image))
    except ValueError as error:
        raise SourceError(f"{name} gives frames that can't be used: {error}") from error


def nominal_rate(rate: float) -> float:
    """A frame rate as OpenCV tells it, or DEFAULT_RATE if that is none: 0, NaN, a stream's 1000 ticks a second."""
    return rate if 1 <= rate <= 240 else DEFAULT_RATE
