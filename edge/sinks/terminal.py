"""One line on a terminal that says what the run is doing, with a bar and the time left where the source has an end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

from ..records import UNCERTAIN, Image, Observation
from ..status import Status
from .base import Sink

_A_SECOND = 4
"""How often the line is drawn anew."""


class TerminalSink(Sink):
    """Drawn on standard error by a thread of the library's; `write` only remembers the latest observation."""

    name = "terminal"
    may_be_detached = False

    def __init__(self, length: int | None = None, console: Any = None) -> None:
        """`length` is how many frames there are, if that is known; `console` a rich console instead of the terminal."""
        from rich.console import Console
        from rich.live import Live

        self._length = length
        self._latest: Observation | None = None
        self._status: Callable[[], Status] | None = None
        self._live = Live(
            console=console or Console(stderr=True),
            get_renderable=self.line,
            refresh_per_second=_A_SECOND,
            transient=True,
            vertical_overflow="crop",
        )

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def open(self) -> None:
        self._live.start()

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        self._latest = observation

    def close(self) -> None:
        with contextlib.suppress(OSError):  # the terminal may be gone
            self._live.stop()

    def line(self) -> Any:
        """What is drawn now."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        status, latest = (self._status() if self._status else None), self._latest
        if status is None or latest is None:
            return Text("waits for the first frame", no_wrap=True)
        words = [f"{status.frames:,} frames", f"{status.fps:.1f}/s", describe(latest)]
        if lost := sum(status.dropped.values()):
            words.append(f"{lost:,} dropped")
        if failed := [name for name, count in status.sink_errors.items() if count]:
            words.append(f"trouble: {', '.join(failed)}")
        if status.temperature_c is not None:
            words.append(f"{status.temperature_c:.0f} °C")
        if status.throttled is not None and " now" in status.throttled:
            words.append(status.throttled)
        text = Text(" · ".join(words), no_wrap=True, overflow="ellipsis")
        grid = Table.grid(padding=(0, 1))
        if not self._length:
            grid.add_row(text)
            return grid
        done = min(status.frames, self._length)
        share = f"{done / self._length:4.0%}"
        left = f"{clock((self._length - done) / status.fps)} left" if status.fps else ""
        grid.add_row(ProgressBar(self._length, done, width=20), share, left, text)
        return grid


def describe(observation: Observation) -> str:
    """Such as "2 faces: happy 87 %, uncertain"; the largest first."""
    count = len(observation.readings)
    if not count:
        return "no face"
    largest = sorted(observation.readings, key=lambda reading: -reading.face.box.width * reading.face.box.height)
    named = [
        reading.emotion if reading.emotion == UNCERTAIN else f"{reading.emotion} {reading.confidence:.0%}"
        for reading in largest[:3]
    ]
    return f"{count} face{'s' if count > 1 else ''}: {', '.join(named)}{', …' if count > 3 else ''}"


def clock(seconds: float) -> str:
    """Such as 0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
