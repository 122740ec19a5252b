"""Real servers that outlets are tested against: each test that needs one is skipped where it isn't installed."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def program(name: str, package: str) -> str:
    """Where a program lies; skips the test if it isn't there."""
    found = shutil.which(name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin:/bin")
    if not found:
        pytest.skip(f"{name} is not installed: apt install {package}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None and time.monotonic() < deadline, f"the server doesn't listen on {port}"
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.02)


class Broker:
    """A mosquitto of its own, to be started, killed and started again on the same port."""

    def __init__(self, folder: Path, *options: str, persistent: bool = True) -> None:
        self._program = program("mosquitto", "mosquitto")
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        if not any(option.startswith(("allow_anonymous", "password_file")) for option in options):
            options = (*options, "allow_anonymous true")
        store = [f"persistence true\npersistence_location {folder}/"] if persistent else []
        user = ["user root"] if folder.owner() == "root" else []  # else it drops to a user that may not read the folder
        lines = ["per_listener_settings false", *user, *store, f"listener {self.port} 127.0.0.1", *options]
        self._config.write_text("\n".join(lines) + "\n")
        self._log = (folder / "mosquitto.log").open("ab")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [self._program, "-v", "-c", str(self._config)], stdout=self._log, stderr=self._log
        )
        wait_for_port(self.port, self.process)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(number)
            self.process.wait(20)
            self.process = None

    def kill(self) -> None:
        """At once, without a word: also one that is frozen."""
        assert self.process
        self.process.kill()
        self.process.wait(20)

    def freeze(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def broker_in(folder: Path, *options: str, persistent: bool = True) -> Iterator[Broker]:
    folder.mkdir(exist_ok=True)
    broker = Broker(folder, *options, persistent=persistent)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


class Cable:
    """A TCP connection to a port of this machine that can be cut, and is whole again for whoever connects anew."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._to))
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(256):  # little at once, so that it is cut in mid-sentence
                target.sendall(data)
        self._close(source, target)

    def _close(self, *ends: socket.socket) -> None:
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def cut(self) -> None:
        ends, self._ends = self._ends, []
        self._close(*ends)

    def __enter__(self) -> Cable:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
