"""A log: one JSON object a frame, one line each.

jsonl:PATH?max_mb=50&keep=5    begins a new file whenever one has 50 MB (10⁶ bytes), and keeps five more: PATH.1 is
                               the one before, PATH.5 the oldest
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from pathlib import Path

from ..errors import ConfigError, SinkError
from ..records import Image, Observation
from .base import Sink


class JsonlSink(Sink):
    """Appends to a file, or writes to standard output; a run that is killed leaves whole lines."""

    def __init__(self, target: str, frame_rate: float = 0.0) -> None:
        """`target` is a path, or ``-`` for standard output; its folder must exist. Raises ConfigError."""
        self._target, self._limit, self._keep = _parse(target)
        self._name = "standard output" if self._target == "-" else self._target
        self._descriptor: int | None = None

    def open(self) -> None:
        try:
            if self._target == "-":
                self._descriptor = os.dup(1)
            else:
                self._path = Path(self._target).expanduser()
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode)
            if self._target != "-" and self._regular and self._is_torn():
                os.write(self._descriptor, b"\n")
            self._size = os.fstat(self._descriptor).st_size
        except FileNotFoundError as error:
            raise SinkError(f"can't write to {self._name}: make its folder first") from error
        except OSError as error:
            raise SinkError(f"can't write to {self._name}: {error.strerror}") from error

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        assert self._descriptor is not None
        line = (json.dumps(observation.to_json(), ensure_ascii=False) + "\n").encode()
        written = 0
        if self._limit and self._regular and self._size and self._size + len(line) > self._limit:
            self._rotate()
        try:
            # One call a line, and no buffer: what was logged is in the file even after kill -9.
            while written < len(line):
                written += os.write(self._descriptor, line[written:])
            self._size += written
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

    def _rotate(self) -> None:
        """Moves PATH to PATH.1, and so on; the last one goes."""
        assert self._descriptor is not None
        try:
            for number in range(self._keep, 0, -1):
                older = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
                if older.exists():
                    older.replace(self._path.with_name(f"{self._path.name}.{number}"))
        except OSError as error:
            raise SinkError(f"can't rename {self._name}: {error.strerror}") from error
        self.close()
        if not self._keep:
            self._path.unlink(missing_ok=True)
        self.open()

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


def _parse(target: str) -> tuple[str, int, int]:
    """The path, the most bytes of a file (0: any), and how many more are kept. Raises ConfigError."""
    path, mark, query = target.partition("?")
    if not mark or not re.fullmatch(r"(max_mb|keep)=[^&]*(&(max_mb|keep)=[^&]*)*", query):
        return target, 0, 0  # a question mark may be part of a file's name
    options = dict(each.split("=", 1) for each in query.split("&"))
    try:
        limit, keep = float(options.get("max_mb", "nan")), int(options.get("keep", "5"))
        if not (1e-4 <= limit <= 1e6 and 0 <= keep <= 1000) or path in ("", "-"):
            raise ValueError
    except ValueError:
        raise ConfigError(f"jsonl:{target}: write jsonl:PATH?max_mb=50&keep=5, with keep from 0 to 1000") from None
    return path, int(limit * 1e6), keep
