"""Files that are whole or not there at all, even when power is cut."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


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
