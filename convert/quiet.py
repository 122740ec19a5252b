"""TensorFlow's chatter kept off the terminal."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quiet(enabled: bool = True) -> Iterator[None]:
    """Hides what libraries print: Python's standard output and warnings, and file descriptor 2, where C++ writes.

    Errors are raised as ever. Must not be nested with something that prints for the user.
    """
    if not enabled:
        yield
        return
    sys.stderr.flush()
    terminal = os.dup(2)
    try:
        with (
            tempfile.TemporaryFile() as log,
            contextlib.redirect_stdout(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            os.dup2(log.fileno(), 2)
            yield
    finally:
        os.dup2(terminal, 2)
        os.close(terminal)
