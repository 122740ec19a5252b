"""Events and minutes, kept in SQLite."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

from ..errors import SinkError
from ..history import History, default_path
from ..recorder import Recorder
from ..records import Image, Observation
from .background import BackgroundSink

_PRUNE_EVERY = 3600.0
"""Seconds between two looks at what is too old or too much."""


class HistorySink(BackgroundSink):
    """Writes a history, and keeps it within its limits."""

    def __init__(self, target: str, frame_rate: float = 0.0, keep_days: float = 90.0, keep_mb: float = 100.0) -> None:
        """`target` is a path, or empty for the default; `keep_mb` in 10⁶ bytes."""
        super().__init__()
        self._path = Path(target).expanduser() if target else default_path()
        self._given = bool(target)
        self._keep_days, self._keep_mb = keep_days, keep_mb
        self._history: History | None = None

    def open(self) -> None:
        try:
            if not self._given:
                self._path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"can't make {self._path.parent}: {error.strerror}") from error
        if not self._path.parent.is_dir():
            raise SinkError(f"can't write {self._path}: make its folder first")
        self._history = History(self._path)
        self._recorder = Recorder(self._history)
        self._next_prune = monotonic()
        super().open()

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        self._recorder.update(observation)
        self._prune_if_due()

    def idle(self) -> None:
        self._recorder.store_if_due()
        self._prune_if_due()

    def finish(self) -> None:
        self._recorder.finish()

    def close(self) -> None:
        super().close()
        if self._history is not None and not self.stuck:
            self._history.close()
            self._history = None

    def _prune_if_due(self) -> None:
        if monotonic() >= self._next_prune:
            self._next_prune = monotonic() + _PRUNE_EVERY
            assert self._history is not None
            self._history.prune(self._keep_days, self._keep_mb)
