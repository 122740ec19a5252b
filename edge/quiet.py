"""Libraries' chatter kept off the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def hushed() -> Iterator[None]:
    """Drops what C and C++ libraries write to file descriptor 2; errors are raised as ever.

    It is the whole process's standard error: keep the block short, and don't nest it with something that prints.
    """
    sys.stderr.flush()
    try:
        terminal = os.dup(2)
    except OSError:  # standard error is closed: nothing to drop
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 2)
        os.close(nowhere)
        yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)


@contextlib.contextmanager
def quiet(enabled: bool = True) -> Iterator[None]:
    """As `hushed`, and hides what libraries print through Python: standard output and warnings."""
    if not enabled:
        yield
        return
    with hushed(), contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
