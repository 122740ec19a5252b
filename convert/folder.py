"""The bundle's folder: complete or not there at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mien.edge.bundle import CARD_FILE, MODEL_FILE
from mien.edge.errors import ConfigError

REPORT_FILE = "report.html"
_FILES = {MODEL_FILE, CARD_FILE, REPORT_FILE}


def check_target(out: Path) -> None:
    """Raises ConfigError if a bundle can't or mustn't be written to folder `out`."""
    if out.is_dir():
        names = {entry.name for entry in out.iterdir()}
        if strangers := sorted(names - _FILES):
            raise ConfigError(f"{out} holds {strangers[0]!r}, so it isn't a bundle to replace: choose another --out")
        if names and CARD_FILE not in names:
            raise ConfigError(f"{out} has no {CARD_FILE}, so it isn't a bundle to replace: choose another --out")
    elif out.exists():
        raise ConfigError(f"{out} is a file: give --out a folder, which is made")
    parent = next(folder for folder in out.absolute().parents if folder.exists())
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"can't write {out}: {parent} is not a folder that you may write to; choose another --out")


def write_folder(out: Path, files: dict[str, bytes]) -> None:
    """Writes `files` (name → contents) as folder `out`; what was there is replaced once all is on the disk.

    Raises ConfigError, and then leaves `out` as it was.
    """
    check_target(out)
    out = out.resolve()
    staged: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
        new = staged / "new"
        new.mkdir()
        for name, contents in files.items():
            with (new / name).open("wb") as stream:
                stream.write(contents)
                stream.flush()
                os.fsync(stream.fileno())
        # A folder can't be renamed over another that isn't empty: the old one steps aside for the moment.
        old = staged / "old"
        if out.exists():
            out.rename(old)
        try:
            new.rename(out)
        except OSError:
            if old.exists():
                old.rename(out)
            raise
    except OSError as error:
        raise ConfigError(f"can't write {out}: {error.strerror or error}; mend that or choose another --out") from error
    finally:
        if staged:
            shutil.rmtree(staged, ignore_errors=True)
