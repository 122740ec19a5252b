"""Files that are whole or not there at all, even when power is cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConfigError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside `path` (same suffixes) to write to; renamed to `path` at the end, removed on an error."""
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `path`, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def state_folder() -> Path:
    """Where a run keeps what the next one needs: the service's state folder, or the user's; it may not exist."""
    if folder := os.environ.get("STATE_DIRECTORY"):  # set by systemd; several are separated by colons
        return Path(folder.partition(":")[0])
    return Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser() / "mien"


def check_private(path: Path) -> None:
    """Raises ConfigError unless only its owner, and at most its group, may read the file at `path`."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    if mode & 0o027:
        raise ConfigError(f"{path} holds a secret that others can read or change: chmod 600 {path}")
