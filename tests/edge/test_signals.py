"""A real process that is interrupted, terminated, killed, or whose reader goes away."""

from __future__ import annotations

import json
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from faces import read_video

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(bundle: Path, face_video: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts `mien run` on a video without end, and waits until it has logged some frames."""
    children: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        log = tmp_path / "log.jsonl"
        sinks = ["--sink", f"jsonl:{log}", "--sink", f"video:{tmp_path / 'out.mp4'}"]
        child = subprocess.Popen(
            [MIEN, "run", str(face_video), "--loop", "--model", str(bundle), *sinks, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        deadline = time.monotonic() + 60
        while not (log.exists() and log.read_text().count("\n") >= 15):
            assert child.poll() is None and time.monotonic() < deadline, child.communicate()
            time.sleep(0.02)
        return child

    yield run
    for child in children:
        child.kill()
        child.communicate()


def logged(tmp_path: Path) -> list[int]:
    """Frame numbers of the log, every line of which must be whole."""
    text = (tmp_path / "log.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line)["frame"] for line in text.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_cleanly(start: Start, tmp_path: Path, number: signal.Signals) -> None:
    child = start("--stats", str(tmp_path / "stats.json"))
    child.send_signal(number)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0
    assert errors.startswith("mien: ") and errors.count("\n") == 1 and "Traceback" not in errors
    frames = logged(tmp_path)
    assert frames == list(range(len(frames)))
    assert json.loads((tmp_path / "stats.json").read_text())["frames"] == len(frames)
    assert len(read_video(tmp_path / "out.mp4")) == len(frames)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "out.mp4", "stats.json"}


def test_a_second_signal_changes_nothing(start: Start, tmp_path: Path) -> None:
    child = start()
    for _ in range(5):
        child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0 and "Traceback" not in errors
    assert len(read_video(tmp_path / "out.mp4")) == len(logged(tmp_path))


def test_kill_leaves_whole_lines_and_the_earlier_video(start: Start, tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"an earlier video")
    child = start()
    child.kill()
    child.communicate()
    frames = logged(tmp_path)
    assert len(frames) >= 15 and frames == list(range(len(frames)))
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier video"


def test_a_run_after_a_kill_goes_on_in_the_same_log(start: Start, tmp_path: Path) -> None:
    child = start()
    child.kill()
    child.communicate()
    before = logged(tmp_path)
    child = start()
    while len(logged(tmp_path)) < len(before) + 3:
        time.sleep(0.02)
    child.terminate()
    child.communicate(timeout=30)
    frames = logged(tmp_path)
    assert frames[: len(before)] == before and frames[len(before)] == 0
    assert read_video(tmp_path / "out.mp4"), "the left-over of the killed run was in the way"


def test_a_pipe_whose_reader_goes_away_ends_the_run(start: Start, tmp_path: Path) -> None:
    child = start("--sink", "jsonl:-")
    assert child.stdout and child.stderr
    assert json.loads(child.stdout.readline())["frame"] == 0
    child.stdout.close()
    assert child.wait(30) == 0
    errors = child.stderr.read()
    assert errors.startswith("mien: ") and errors.count("\n") == 1
    assert len(read_video(tmp_path / "out.mp4")) == len(logged(tmp_path))
