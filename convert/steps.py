"""Progress on the terminal, step by step."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Steps:
    """Shows each step of a long command on standard error, with the time it took."""

    def __init__(self) -> None:
        # A descriptor of its own: while a library is kept quiet, standard error points elsewhere.
        self._file: IO[str] | None = os.fdopen(os.dup(2), "w") if _is_real(sys.stderr) else None
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(file=self._file or sys.stderr),
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Steps:
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress.tasks:  # without a step it would print an empty line
            self._progress.stop()
        if self._file:
            self._file.close()

    @contextmanager
    def step(self, text: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """A step of `total` parts; yields what to call with the number of parts done since the last call."""
        task = self._progress.add_task(text, total=total)
        self._progress.start()
        yield lambda count: self._progress.advance(task, count)
        self._progress.update(task, completed=total)


def _is_real(stream: Any) -> bool:
    try:
        return bool(stream.fileno() == 2)
    except (OSError, ValueError, AttributeError):  # a test's or a notebook's stand-in
        return False
