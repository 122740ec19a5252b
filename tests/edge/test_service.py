"""The service: a real process that talks to a real socket, as systemd would listen; and the unit itself."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.edge.config import Config
from mien.edge.service import JournalFormatter, Notifier
from mien.edge.sinks import open_sink

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")
SYSTEMD = Path(__file__).parents[2] / "systemd"
in_checkout = pytest.mark.skipif(not SYSTEMD.is_dir(), reason="the tests run beside a wheel, without the repository")


class Manager:
    """The service manager's end of the socket."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self.heard: list[str] = []

    def wait(self, text: str, seconds: float = 60) -> None:
        """Until a message with `text` comes; those before it stay in `heard`."""
        until = time.monotonic() + seconds
        while True:
            self._socket.settimeout(max(0.01, until - time.monotonic()))
            try:
                message = self._socket.recv(4096).decode()
            except TimeoutError:
                raise AssertionError(f"no {text} among {self.heard}") from None
            self.heard.append(message)
            if text in message:
                return

    def silent(self, seconds: float) -> list[str]:
        """What comes within some time."""
        heard, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                break
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    it = Manager(tmp_path / "notify")
    yield it
    it.close()


@pytest.fixture
def service(manager: Manager, bundle: Path, face_video: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    own = shutil.copytree(bundle, tmp_path / "bundle")
    config = tmp_path / "config.toml"
    config.write_text(
        f'source = "{face_video}"\nloop = true\nmodel = "{own}"\nsinks = ["jsonl:{tmp_path}/log.jsonl"]\n'
    )
    environ = {**os.environ, "NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "2000000", "JOURNAL_STREAM": "1:1"}
    child = subprocess.Popen([MIEN, "run", "--config", str(config)], stderr=subprocess.PIPE, text=True, env=environ)
    yield child
    child.kill()
    child.communicate()


def test_ready_comes_with_the_first_frame_and_life_with_the_next(
    service: subprocess.Popen[str], manager: Manager, tmp_path: Path
) -> None:
    manager.wait("READY=1")
    assert manager.heard[0] == "STATUS=waits for the first frame" and "WATCHDOG=1" not in manager.heard
    assert (tmp_path / "log.jsonl").stat().st_size > 0
    manager.wait("STATUS=")
    assert "frames/s" in manager.heard[-1] and "in view" in manager.heard[-1]
    for _ in range(3):
        manager.wait("WATCHDOG=1", seconds=5)
    began = time.monotonic()
    service.send_signal(signal.SIGTERM)
    service.communicate(timeout=10)
    assert service.returncode == 0 and time.monotonic() - began < 5
    manager.wait("STOPPING=1", seconds=1)


def test_a_frozen_run_gives_no_sign_of_life(service: subprocess.Popen[str], manager: Manager) -> None:
    manager.wait("WATCHDOG=1")
    service.send_signal(signal.SIGSTOP)
    manager.silent(0.3)
    assert manager.silent(1.5) == []
    service.send_signal(signal.SIGCONT)
    manager.wait("WATCHDOG=1", seconds=10)


def test_reload_changes_the_model_and_keeps_the_frames(
    service: subprocess.Popen[str], manager: Manager, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    card = tmp_path / "bundle" / "card.json"
    manager.wait("WATCHDOG=1")
    labels = json.loads(card.read_text())["labels"]
    swapped = json.loads(card.read_text())
    swapped["labels"] = [f"{label}-2" for label in labels]
    card.write_text(json.dumps(swapped))
    service.send_signal(signal.SIGHUP)
    manager.wait("RELOADING=1", seconds=10)
    assert "MONOTONIC_USEC=" in manager.heard[-1]
    manager.wait("READY=1", seconds=10)
    # A model that is damaged changes nothing.
    until = time.monotonic() + 20
    while "-2" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.05)
    card.write_text("{")
    service.send_signal(signal.SIGHUP)
    manager.wait("READY=1", seconds=10)
    manager.wait("WATCHDOG=1", seconds=10)
    service.send_signal(signal.SIGTERM)
    _, errors = service.communicate(timeout=10)
    assert "<6>configuration and model were read again" in errors
    assert "<3>goes on as before: " in errors and "is not JSON" in errors
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [row["frame"] for row in rows] == list(range(len(rows))), "a frame was lost"
    emotions = [face["raw"]["emotion"].endswith("-2") for row in rows for face in row["faces"]]
    assert emotions[0] is False and emotions[-1] is True and emotions == sorted(emotions)


def test_without_a_manager_nothing_is_sent() -> None:
    quiet = Notifier({})
    assert not quiet.is_there and quiet.watchdog_s == 0
    quiet.send(READY=1)
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}).watchdog_s == 0
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": str(os.getpid())}).watchdog_s == 5


def test_a_manager_that_is_gone_is_no_reason_to_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).send(READY=1)
    assert "can't tell the service manager: No such file" in caplog.text


def test_messages_have_their_priority_on_every_line() -> None:
    def line(level: int, text: str) -> str:
        return JournalFormatter("%(message)s").format(logging.LogRecord("mien", level, "", 0, text, None, None))

    assert line(logging.WARNING, "one\ntwo") == "<4>one\n<4>two"
    assert (
        line(logging.ERROR, "x") == "<3>x" and line(logging.INFO, "x") == "<6>x" and line(logging.DEBUG, "x") == "<7>x"
    )


@in_checkout
def test_the_installed_configuration_is_right() -> None:
    settings = Config.read(SYSTEMD / "config.toml")
    assert settings.source.startswith("auto://")
    kinds = [uri.partition(":")[0] for uri in settings.sinks]
    assert kinds == ["screen", "jsonl", "history", "http"]
    for uri in settings.sinks:
        open_sink(uri, config=settings)


systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@in_checkout
@systemd
def test_the_unit_is_hardened() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=17", str(SYSTEMD / "mien.service")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-300:] + done.stderr


@in_checkout
@systemd
def test_the_unit_is_right(tmp_path: Path) -> None:
    # Unknown keys are warnings and leave the exit code at 0: any output is a failure.
    unit = tmp_path / "mien.service"
    unit.write_text((SYSTEMD / "mien.service").read_text().replace("/opt/mien/current/venv/bin/mien", "/bin/true"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("WatchdogSec", "WatchDogSec"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True)
    assert "WatchDogSec" in done.stderr
