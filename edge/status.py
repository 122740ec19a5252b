"""What a run is doing: figures for whoever asks while it goes on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

BUCKETS_MS = (0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0)
"""Upper ends of a histogram's buckets, milliseconds; one more bucket takes what is longer."""


@dataclass
class Histogram:
    """How often something took how long, since the run began."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_MS) + 1))
    """Of each bucket alone."""
    total_ms: float = 0.0

    def add(self, milliseconds: float) -> None:
        self.counts[bisect_left(BUCKETS_MS, milliseconds)] += 1
        self.total_ms += milliseconds

    def copy(self) -> Histogram:
        return Histogram(self.counts.copy(), self.total_ms)


@dataclass(frozen=True)
class Status:
    """The state of a run at one moment; what counts, counts from the run's begin."""

    time: float
    """Seconds since the Unix epoch (UTC)."""
    uptime_s: float
    frames: int
    fps: float
    """Frames a second over the last few seconds; 0 if there was none."""
    faces: int
    """Readings in all: the same face in ten frames counts ten times."""
    stages_ms: dict[str, float]
    """Stage → median milliseconds of the latest frames in which it had something to do; 0 if there were none."""
    dropped: dict[str, int]
    """Frames that a live source gave and nobody worked on ("capture"), that never reached the sinks ("output"),
    and observations that a sink was too slow for (its name)."""
    source: str
    """What it is called, without passwords."""
    model: str
    labels: tuple[str, ...]
    """The emotions that the model tells apart."""
    version: str
    """Of Mien."""
    camera_restarts: int
    """Times that the source was opened anew because it had failed."""
    queue_depth: dict[str, int]
    """Observations that wait for the sinks ("output"), and in a sink (its name)."""
    sink_errors: dict[str, int]
    """Sink → times that it failed and went on."""
    temperature_c: float | None
    """Of the processor; None where the machine doesn't tell."""
    throttled: str | None
    """On a Raspberry Pi "no", or what holds the processor back; None where the machine doesn't tell."""
    latencies: dict[str, Histogram] = field(default_factory=dict, repr=False)
    """Stage → how long it took, over all frames in which it had something to do."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what they are worth; without the histograms."""
        values = asdict(self)
        del values["latencies"]
        values["time"] = iso_time(self.time)
        values["uptime_s"], values["fps"] = round(self.uptime_s, 1), round(self.fps, 2)
        values["stages_ms"] = {stage: round(value, 3) for stage, value in self.stages_ms.items()}
        return values


def iso_time(time: float) -> str:
    """Seconds since the epoch as the log writes them: ISO 8601, UTC, milliseconds."""
    return datetime.fromtimestamp(time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# Bits of the firmware's answer. Source: raspberrypi/documentation, "vcgencmd", get_throttled
_NOW = {0: "under-voltage", 1: "frequency capped", 2: "throttled", 3: "too hot"}
_EARLIER = 16
"""The same bits, moved by so many, say that it happened since the start."""


def throttling(bits: int) -> str:
    """The firmware's bits in words: "no", or such as "under-voltage now, throttled earlier"."""
    words = [f"{what} now" for bit, what in _NOW.items() if bits >> bit & 1]
    words += [f"{what} earlier" for bit, what in _NOW.items() if bits >> bit + _EARLIER & 1 and not bits >> bit & 1]
    return ", ".join(words) or "no"


class Board:
    """The machine's temperature and throttling, read when asked, and at most every `interval` seconds."""

    def __init__(self, interval: float = 5.0, root: Path = Path("/"), clock: Callable[[], float] = time.monotonic):
        """`root` is where sys/ lies."""
        self._interval, self._root, self._clock = interval, root, clock
        self._lock = threading.Lock()
        self._next = float("-inf")
        self._temperature: float | None = None
        self._throttled: str | None = None

    def read(self) -> tuple[float | None, str | None]:
        """Degrees Celsius and throttling, each None where the machine doesn't tell."""
        # Whoever comes while another reads takes the values from before, rather than wait for a process.
        if self._clock() >= self._next and self._lock.acquire(blocking=False):
            try:
                self._temperature, self._throttled = self._read_temperature(), self._read_throttled()
                self._next = self._clock() + self._interval
            finally:
                self._lock.release()
        return self._temperature, self._throttled

    def _read_temperature(self) -> float | None:
        zones = sorted(self._root.glob("sys/class/thermal/thermal_zone*"))

        def is_other(zone: Path) -> bool:
            with contextlib.suppress(OSError):
                return not (zone / "type").read_text().startswith(("cpu", "x86_pkg"))
            return True

        for zone in sorted(zones, key=is_other):
            with contextlib.suppress(OSError, ValueError):
                return int((zone / "temp").read_text()) / 1000
        return None

    def _read_throttled(self) -> str | None:
        with contextlib.suppress(OSError, ValueError):
            path = self._root / "sys/devices/platform/soc/soc:firmware/get_throttled"
            return throttling(int(path.read_text(), 16))
        command = shutil.which("vcgencmd")
        if command is None:
            return None
        with contextlib.suppress(OSError, ValueError, subprocess.SubprocessError):
            answer = subprocess.run([command, "get_throttled"], capture_output=True, text=True, timeout=2)
            return throttling(int(answer.stdout.strip().removeprefix("throttled="), 16))
        return None
