"""Does a run grow, leak or slow down? Frames as fast as they come, for long: memory, descriptors, frame rate.

    python tests/bench/soak.py [--minutes 60] [--frames 300000] [--json]

Ends at whichever comes first; exit code 1 if memory grew by 5 MB or more, descriptors at all, or the frame rate fell by
more than a tenth. A run is judged from its second tenth on, when all of its caches are full.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mien.edge.demo import write_moving_picture

SAMPLES = 60
"""Looks at the process, over the whole run."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--frames", type=int, default=300_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = soak(Path(folder), options.minutes * 60, options.frames)
    result = judge(samples)
    print(
        json.dumps(result, indent=1) if options.json else "\n".join(f"{key:28}{value}" for key, value in result.items())
    )
    raise SystemExit(0 if result["good"] else 1)


def soak(folder: Path, seconds: float, frames: int) -> list[dict[str, float]]:
    """Memory (MB), descriptors and frames of a real run with a log and a history, over time."""
    film, log = folder / "film.avi", folder / "log.jsonl"
    write_moving_picture(film)
    sinks = ["--sink", f"jsonl:{log}?max_mb=5&keep=1", "--sink", f"history:{folder / 'history.db'}"]
    command = [str(Path(sys.executable).with_name("mien")), "run", str(film), "--loop", *sinks]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    samples: list[dict[str, float]] = []
    began = time.monotonic()
    try:
        while time.monotonic() - began < seconds and (not samples or samples[-1]["frames"] < frames):
            time.sleep(min(seconds, 3600) / SAMPLES)
            if child.poll() is not None:
                raise SystemExit(f"the run ended by itself: {child.stderr.read().decode() if child.stderr else ''}")
            samples.append(look(child.pid, log) | {"seconds": time.monotonic() - began})
            if sys.stderr.isatty():
                print(f"\r{samples[-1]['frames']:,.0f} frames, {samples[-1]['rss_mb']:.1f} MB", end="", file=sys.stderr)
    finally:
        child.terminate()
        child.communicate(timeout=30)
    return samples


def look(pid: int, log: Path) -> dict[str, float]:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return {
        "rss_mb": pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
        "descriptors": float(len(list(Path(f"/proc/{pid}/fd").iterdir()))),
        "frames": float(last_frame(log)),
    }


def last_frame(log: Path) -> int:
    """The number of the last frame in a log that is being written, and rotated."""
    for path in (log, log.with_name(f"{log.name}.1")):
        try:
            with path.open("rb") as stream:
                stream.seek(max(0, path.stat().st_size - 16_384))
                lines = stream.read().split(b"\n")
        except FileNotFoundError:
            continue
        if len(lines) > 2:
            return int(json.loads(lines[-2])["frame"])
    return 0


def judge(samples: list[dict[str, float]]) -> dict[str, object]:
    """What grew and what fell, between the second tenth of the run and its last."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth], samples[-tenth:]

    def median(rows: list[dict[str, float]], key: str) -> float:
        return statistics.median(row[key] for row in rows)

    def rate(rows: list[dict[str, float]]) -> float:
        before = samples[samples.index(rows[0]) - 1]
        return (rows[-1]["frames"] - before["frames"]) / (rows[-1]["seconds"] - before["seconds"])

    growth = median(late, "rss_mb") - median(early, "rss_mb")
    handles = median(late, "descriptors") - median(early, "descriptors")
    ratio = rate(late) / rate(early)
    return {
        "minutes": round(samples[-1]["seconds"] / 60, 1),
        "frames": int(samples[-1]["frames"]),
        "rss_mb": round(samples[-1]["rss_mb"], 1),
        "rss_growth_mb": round(growth, 2),
        "descriptor_growth": handles,
        "frame_rate_late_to_early": round(ratio, 3),
        "good": growth < 5 and handles <= 0 and ratio > 0.9,
    }


if __name__ == "__main__":
    main()
