"""What every sink is: a context manager that observations are written to."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import SinkError
from ..records import Image, Observation
from ..status import Status


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
    may_be_detached: bool = True
    """Whether a thread of its own may write to it, and should where it would hold up a camera."""
    name: str = "sink"
    """What messages and the status call it: the kind in its URI."""
    errors: int = 0
    """Times that it failed and went on."""

    @property
    def dropped(self) -> int:
        """Observations that it threw away because it was slow."""
        return 0

    @property
    def pending(self) -> int:
        """Observations that wait in it."""
        return 0

    def attach(self, status: Callable[[], Status]) -> None:  # noqa: B027
        """Called once before the run's first `write`: how to ask for the run's state, from any thread."""

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
