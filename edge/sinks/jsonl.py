"""A log: one JSON object a frame, one line each."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path

from ..errors import SinkError
from ..records import Image, Observation
from .base import Sink


class JsonlSink(Sink):
    """Appends to a file, or writes to standard output; a run that is killed leaves whole lines."""

    def __init__(self, target: str, frame_rate: float = 0.0) -> None:
        """`target` is a path, or ``-`` for standard output; its folder must exist."""
        self._target = target
        self._name = "standard output" if target == "-" else target
        self._descriptor: int | None = None

    def open(self) -> None:
        try:
            if self._target == "-":
                self._descriptor = os.dup(1)
            else:
                path = Path(self._target).expanduser()
                self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            if self._target != "-" and self._regular and self._is_torn():
                os.write(self._descriptor, b"\n")
        except FileNotFoundError as error:
            raise SinkError(f"can't write to {self._name}: make its folder first") from error
        except OSError as error:
            raise SinkError(f"can't write to {self._name}: {error.strerror}") from error

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        assert self._descriptor is not None
        line = (json.dumps(observation.to_json(), ensure_ascii=False) + "\n").encode()
        written = 0
        try:
            # One call a line, and no buffer: what was logged is in the file even after kill -9.
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            self.done = True
        except OSError as error:
            self._take_back(written)
            raise SinkError(f"can't write to {self._name}: {error.strerror}") from error

    def close(self) -> None:
        if self._descriptor is None:
            return
        descriptor, self._descriptor = self._descriptor, None
        try:
            os.close(descriptor)
        except OSError as error:  # where a network file system tells that the disk is full
            raise SinkError(f"can't write to {self._name}: {error.strerror}") from error

    def _is_torn(self) -> bool:
        """Whether the file's last line lacks its end, as when power was cut."""
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        return size > 0 and os.pread(self._descriptor, 1, size - 1) != b"\n"

    def _take_back(self, written: int) -> None:
        """Removes the part of a line that still fitted on a full disk."""
        assert self._descriptor is not None
        if written and self._regular:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, os.lseek(self._descriptor, 0, os.SEEK_CUR) - written)
