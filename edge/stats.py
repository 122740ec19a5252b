"""What a run did, in figures."""

from __future__ import annotations

import resource
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Stats:
    """Figures of one run."""

    frames: int
    seconds: float
    """From the loop's start to its end."""
    fps: float
    """Frames worked on a second."""
    faces: int
    """Readings in all: the same face in ten frames counts ten times."""
    stages_ms: dict[str, float]
    """Stage → median milliseconds of the frames in which it had something to do; 0 if there were none."""
    dropped: dict[str, int]
    """Frames of a live source that were never worked on ("capture"), or never reached the sinks ("output")."""
    peak_rss_mb: float
    """The process's largest resident memory, MiB."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what they are worth."""
        values = asdict(self)
        for key, digits in (("seconds", 3), ("fps", 2), ("peak_rss_mb", 1)):
            values[key] = round(values[key], digits)
        values["stages_ms"] = {stage: round(value, 3) for stage, value in self.stages_ms.items()}
        return values

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in self.stages_ms.items())
        dropped = ", ".join(f"{count} before {stage}" for stage, count in self.dropped.items() if count)
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({self.fps:.1f}/s), {self.faces} faces; "
            f"ms a frame: {stages}; {f'dropped {dropped}; ' if dropped else ''}{self.peak_rss_mb:.0f} MiB"
        )


def peak_memory() -> float:
    """The process's largest resident memory so far, MiB."""
    try:
        # Not getrusage: it counts what the process that started this one had in memory.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
