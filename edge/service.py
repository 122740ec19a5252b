"""A run as a systemd service: it says when it reads frames, and nothing when it doesn't.

The watchdog is fed by processed frames alone, so that a run whose camera or disk hangs is started anew.
Source of the protocol: sd_notify(3), https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from .records import Image, Observation
from .sinks.base import Sink
from .status import Status

_STATUS_INTERVAL = 5.0
"""Seconds between two lines for `systemctl status`."""
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
"""From syslog(3): err, warning, info; anything less is debug (7)."""


class Notifier:
    """Messages to the service manager; nothing happens where there is none."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        watchdog = (
            environ.get("WATCHDOG_USEC", "")
            if environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
            else ""
        )
        self.watchdog_s = int(watchdog) / 1e6 if watchdog.isdecimal() else 0.0
        """Seconds without a sign of life after which the manager ends the service; 0: never."""

    @property
    def is_there(self) -> bool:
        """Whether a service manager listens."""
        return bool(self._address)

    def send(self, **fields: str | int) -> None:
        """Sends fields such as ``READY=1``; a manager that doesn't take them is no reason to end."""
        if not self._address:
            return
        text = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(1)
                channel.sendto(text.encode(), self._address)
        except OSError as error:
            logging.getLogger(__name__).warning("can't tell the service manager: %s", error.strerror)

    def reloading(self) -> None:
        """Before a reload; `ready` ends it."""
        self.send(RELOADING=1, MONOTONIC_USEC=time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000)


class ServiceSink(Sink):
    """Tells the service manager of frames that were read: READY with the first, then signs of life and a status."""

    name = "service"

    def __init__(self, notifier: Notifier, clock: Callable[[], float] = time.monotonic) -> None:
        self._notifier, self._clock = notifier, clock
        self._status: Callable[[], Status] | None = None
        self._ready = False
        self._next_sign = self._next_status = 0.0

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def open(self) -> None:
        self._notifier.send(STATUS="waits for the first frame")

    def write(self, observation: Observation, picture: Image | None) -> None:
        now = self._clock()
        if not self._ready:
            self._ready = True
            self._notifier.send(READY=1)
        if now >= self._next_sign:
            self._notifier.send(WATCHDOG=1)
            # Often enough to be never late, and seldom enough to cost nothing.
            self._next_sign = now + self._notifier.watchdog_s / 8
        if now >= self._next_status and self._status is not None:
            status = self._status()
            count = len(observation.readings)
            restarts = f", camera opened again {status.camera_restarts} times" if status.camera_restarts else ""
            faces = f"{count} face{'s' * (count != 1)}"
            self._notifier.send(STATUS=f"{status.fps:.1f} frames/s, {faces} in view, {status.frames} frames{restarts}")
            self._next_status = now + _STATUS_INTERVAL

    def close(self) -> None:
        self._notifier.send(STOPPING=1)


class JournalFormatter(logging.Formatter):
    """Lines with their priority before them, as systemd-journald reads them from standard error."""

    def format(self, record: logging.LogRecord) -> str:
        priority = next((number for level, number in _PRIORITIES if record.levelno >= level), 7)
        # Each line is an entry of its own in the journal.
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())


def log_to_journal(environ: Mapping[str, str] = os.environ) -> None:
    """Has messages, from INFO on, reach the journal with their priorities, if standard error is the journal."""
    if "JOURNAL_STREAM" not in environ:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(JournalFormatter("%(message)s"))
    logger = logging.getLogger("mien")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    # When the watchdog ends the process, the journal learns where each thread was.
    faulthandler.enable()
