"""A window on the desktop."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import cv2

from ..errors import ConfigError, SinkError
from ..records import Image, Observation
from .base import Sink

_TITLE = "Mien (q ends)"
_END_KEYS = (ord("q"), ord("Q"), 27)
"""q and Esc."""
_PROBE = f"import cv2; cv2.namedWindow({_TITLE!r}, cv2.WINDOW_NORMAL); cv2.waitKey(1); cv2.destroyAllWindows()"


class WindowSink(Sink):
    """Shows each picture for as long as it lasts; q, Esc or closing the window ends the run."""

    wants_picture = True
    may_be_detached = False  # desktops want one thread for all windows

    def __init__(self, target: str = "", frame_rate: float = 25.0) -> None:
        """`frame_rate` is the source's: a file's frames are shown no faster. Raises ConfigError."""
        if target:
            raise ConfigError(f"window:{target} must be window: with nothing behind it")
        self._duration = 1 / frame_rate
        self._offset: float | None = None
        self._shown = False

    def open(self) -> None:
        check_display()

    def write(self, observation: Observation, picture: Image | None) -> None:
        assert picture is not None
        try:
            if not self._shown:
                cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                cv2.resizeWindow(_TITLE, picture.shape[1], picture.shape[0])
                self._shown = True
            elif cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1:
                self.done = True
                return
            cv2.imshow(_TITLE, picture)
            key = cv2.waitKey(max(1, round(1000 * self._pause(observation.frame.time))))
        except cv2.error as error:
            raise SinkError(f"can't show a window: {' '.join(str(error).split())}") from error
        self.done = key & 0xFF in _END_KEYS

    def close(self) -> None:
        if self._shown:
            self._shown = False
            with contextlib.suppress(cv2.error):  # the user may have closed it
                cv2.destroyWindow(_TITLE)

    def _pause(self, captured: float) -> float:
        """Seconds to wait until the next frame is due; 0 where the run is behind, as with most cameras."""
        now = time.monotonic()
        if self._offset is None:
            self._offset = now - captured
        due = self._offset + captured + self._duration
        return min(max(due - now, 0.0), self._duration)


def check_display() -> None:
    """Raises SinkError if this build of OpenCV can't open a window here.

    Without a display Qt ends the whole process, and no output would be closed: so a child process tries.
    """
    if os.environ.get("DISPLAY"):
        # PyPI's OpenCV knows X alone, which Wayland's desktops offer too; left to itself its Qt asks for Wayland first,
        # and complains.
        os.environ.setdefault("QT_QPA_PLATFORM", "xcb")
    try:
        probe = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SinkError(f"can't open a window: {error}") from error
    if probe.returncode == 0:
        return
    if "not implemented" in probe.stderr:
        raise SinkError(
            "this build of OpenCV has no windows: use video: or image:, or pip install opencv-python instead of "
            "opencv-python-headless"
        )
    raise SinkError(
        "can't open a window: no display can be reached (DISPLAY is not set or refuses); start from the desktop, "
        "or use video: or image:"
    )
