"""What every sink is: a context manager that observations are written to."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import SinkError
from ..records import Image, Observation


def check_writable(path: Path) -> None:
    """Raises SinkError unless a file at `path` can be made or replaced."""
    folder = path.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise SinkError(f"can't write {path}: {folder} is not a folder that can be written to")
    if path.is_dir():
        raise SinkError(f"can't write {path}: it is a folder")


class Sink(ABC):
    """One place where observations go: ``with sink: sink.write(observation, picture)``."""

    wants_picture: bool = False
    """Whether `write` needs a picture; the overlay isn't drawn if no sink wants it."""
    done: bool = False
    """Set by the sink when its reader wants no more, which ends the run."""

    @abstractmethod
    def open(self) -> None:
        """Makes the sink ready to be written to. Raises SinkError."""

    @abstractmethod
    def write(self, observation: Observation, picture: Image | None) -> None:
        """Takes one frame's readings, and its picture uint8 [H, W, 3] (B, G, R) if wanted. Raises SinkError."""

    @abstractmethod
    def close(self) -> None:
        """Leaves valid output; also after an `open` that failed. Raises SinkError."""

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
        try:
            self.close()
        except SinkError:
            if error is None:  # otherwise the first thing that went wrong is the one to be told
                raise
