"""The window, on a display of its own: Xvfb."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")


def has_windows() -> bool:
    section = cv2.getBuildInformation().partition("GUI:")[2].partition("Media I/O")[0]
    return any(word in line and "YES" in line for line in section.splitlines() for word in ("QT", "GTK")) or (
        "QT" in section.splitlines()[0]
    )


needs_windows = pytest.mark.skipif(not has_windows(), reason="this OpenCV has no windows (opencv-python-headless)")


@pytest.fixture(scope="module")
def display() -> Iterator[dict[str, str]]:
    """An environment with a display."""
    if not shutil.which("Xvfb"):
        pytest.skip("Xvfb is not installed: apt install xvfb")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "800x600x24", "-nolisten", "tcp"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        number = numbers.readline().strip()
    assert number, "Xvfb didn't start"
    yield {**os.environ, "DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    server.terminate()
    server.wait()


def start(environment: dict[str, str], *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [MIEN, "run", *map(str, arguments), "--sink", "window:"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_lines(log: Path, child: subprocess.Popen[str], count: int = 5) -> None:
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") >= count):
        assert child.poll() is None and time.monotonic() < deadline, child.communicate()
        time.sleep(0.05)


@needs_windows
def test_a_video_is_shown_at_its_own_speed(display: dict[str, str], bundle: Path, face_video: Path) -> None:
    child = start(display, face_video, "--model", bundle)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    assert errors.startswith("mien: 12 frames") and errors.count("\n") == 1
    assert float(errors.split(" in ")[1].split()[0]) >= 0.4, "12 frames at 25 a second last half a second"


@needs_windows
@pytest.mark.parametrize("key", ["q", "Escape"])
def test_a_key_ends_the_run(display: dict[str, str], bundle: Path, face_video: Path, tmp_path: Path, key: str) -> None:
    if not shutil.which("xdotool"):
        pytest.skip("xdotool is not installed: apt install xdotool")
    log = tmp_path / "log.jsonl"
    child = start(display, face_video, "--loop", "--model", bundle, "--sink", f"jsonl:{log}")
    wait_for_lines(log, child)
    find = ["xdotool", "search", "--sync", "--name", "Mien"]
    window = subprocess.run(find, env=display, capture_output=True, text=True, timeout=30).stdout.split()[0]
    deadline = time.monotonic() + 30
    while child.poll() is None and time.monotonic() < deadline:
        subprocess.run(["xdotool", "windowfocus", window, "key", key], env=display, stderr=subprocess.DEVNULL)
        time.sleep(0.2)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0 and errors.count("\n") == 1, errors


@needs_windows
def test_closing_the_window_or_a_signal_ends_the_run(
    display: dict[str, str], bundle: Path, face_video: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    child = start(display, face_video, "--loop", "--model", bundle, "--sink", f"jsonl:{log}")
    wait_for_lines(log, child)
    child.send_signal(signal.SIGTERM)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 0 and errors.startswith("mien: "), errors
    assert json.loads(log.read_text().splitlines()[-1])


@pytest.mark.parametrize("where", [None, ":4242"])
def test_without_a_display_it_is_one_line(where: str | None, bundle: Path, face_video: Path, tmp_path: Path) -> None:
    """Qt itself would end the process with SIGABRT."""
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    if where:
        environment["DISPLAY"] = where
    child = start(environment, face_video, "--model", bundle, "--sink", f"video:{tmp_path / 'out.mp4'}")
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 1 and errors.startswith("mien: error: ") and errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@needs_windows
def test_on_a_wayland_desktop(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    """Through the X server that such desktops bring along."""
    if not shutil.which("weston") or not shutil.which("Xwayland") or not shutil.which("xdotool"):
        pytest.skip("weston, Xwayland and xdotool are not installed: apt install weston xwayland xdotool")
    tmp_path.chmod(0o700)
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "XDG_SESSION_TYPE": "wayland"}
    environment.pop("QT_QPA_PLATFORM", None)
    said = tmp_path / "weston.log"
    with said.open("w") as stream:
        desktop = subprocess.Popen(
            ["weston", "--backend=headless-backend.so", "--xwayland", "--socket=desktop", "--idle-time=0"],
            env=environment,
            stdout=stream,
            stderr=stream,
        )
    try:
        deadline = time.monotonic() + 30
        while not (found := re.search(r"listening on display (:\d+)", said.read_text())):
            assert desktop.poll() is None and time.monotonic() < deadline, said.read_text()
            time.sleep(0.1)
        environment |= {"DISPLAY": found[1], "WAYLAND_DISPLAY": "desktop"}
        log = tmp_path / "log.jsonl"
        child = subprocess.Popen(
            [
                MIEN,
                "run",
                str(face_video),
                "--loop",
                "--model",
                str(bundle),
                "--sink",
                "screen:",
                "--sink",
                f"jsonl:{log}",
            ],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for_lines(log, child)
        find = ["xdotool", "search", "--sync", "--name", "Mien"]
        assert subprocess.run(find, env=environment, capture_output=True, text=True, timeout=30).stdout.strip()
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=30)
        assert child.returncode == 0 and errors.count("\n") == 1 and "frame buffer" not in errors, errors
    finally:
        desktop.terminate()
        desktop.wait(30)
