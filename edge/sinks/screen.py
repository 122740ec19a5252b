"""An attached display: a window on a desktop, else straight on the frame buffer; with neither the run goes on without.

OpenCV is there already, and the frame buffer needs nothing that Raspberry Pi OS Lite lacks: picamera2's own preview
wants a Pi camera and no console, SDL's kmsdrm wants Mesa and a device that nobody else holds.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, SinkError
from ..framebuffer import DEVICE, Framebuffer
from ..records import Image, Observation
from ..status import Status
from .background import BackgroundSink
from .base import Sink
from .video import fit
from .window import WindowSink

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds between two looks for a display that wasn't there."""
_RATE = 30.0
"""Pictures a second at most: more than a display shows is wasted."""
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class ScreenSink(BackgroundSink):
    """Shows each picture on whatever display there is, as large as it fits, with a strip that says what runs.

    No display: one line in the log. Attached later: it appears.
    """

    wants_picture = True

    def __init__(
        self,
        target: str = "",
        frame_rate: float = 25.0,
        *,
        connectors: Path = Path("/sys/class/drm"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`target` is a frame buffer's device, or empty for whichever display there is. Raises ConfigError."""
        if target and not target.startswith("/dev/"):
            raise ConfigError(f"screen:{target} must be screen:, or name a device such as screen:/dev/fb0")
        super().__init__(size=1)
        self._device, self._any = Path(target or DEVICE), not target
        self._connectors, self._clock = connectors, clock
        self._display: Framebuffer | None = None
        self._next_look = self._next_picture = 0.0
        self._told = False
        self._status: Callable[[], Status] | None = None

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        assert picture is not None
        now = self._clock()
        if now >= self._next_look:
            self._look()
            self._next_look = now + RETRY
        if self._display is None or now < self._next_picture:
            return
        self._next_picture = now + 1 / _RATE
        self._display.show(self.compose(observation, picture, self._display.mode.height, self._display.mode.width))

    def finish(self) -> None:
        if self._display is not None:
            self._display.close()
            self._display = None

    def compose(self, observation: Observation, picture: Image, height: int, width: int) -> Image:
        """The whole screen uint8 [height, width, 3]: the picture letterboxed, and below it the strip."""
        strip = max(16, height // 16)
        screen = np.zeros((height, width, 3), np.uint8)
        screen[: height - strip] = fit(picture, (height - strip, width))
        words = [f"{len(observation.readings)} face{'s' * (len(observation.readings) != 1)}"]
        if self._status is not None:
            words.append(f"{self._status().fps:.0f} frames/s")
        words.append(time.strftime("%H:%M:%S", time.localtime(observation.frame.time)))
        text = "  |  ".join(words)
        letters = strip * 0.5
        scale = cv2.getFontScaleFromHeight(_FONT, round(letters), 1)
        (length, _), _ = cv2.getTextSize(text, _FONT, scale, 1)
        if length > width - 16:
            scale *= (width - 16) / length
        place = (8, height - round((strip - letters) / 2))
        cv2.putText(screen, text, place, _FONT, scale, (220, 220, 220), 1, cv2.LINE_AA)
        return screen

    def _look(self) -> None:
        """Takes a display that came, lets go of one that went."""
        there = self._is_attached()
        if self._display is not None and not there:
            log.warning("the display is gone: goes on without")
            self._display.close()
            self._display = None
            self._told = True
        if self._display is None and there:
            try:
                self._display = Framebuffer(self._device)
            except SinkError as error:
                self._tell(str(error))
                return
            mode = self._display.mode
            log.info("shows pictures on %s, %d×%d, %d bits", self._device, mode.width, mode.height, mode.bits)
            self._told = False
        elif not there:
            self._tell(f"no display at {self._device}")

    def _tell(self, why: str) -> None:
        if not self._told:
            log.warning("%s: goes on without, and shows pictures as soon as one is attached", why)
            self._told = True

    def _is_attached(self) -> bool:
        if not self._device.exists():
            return False
        states = []
        for path in self._connectors.glob("*/status"):
            with contextlib.suppress(OSError):
                states.append(path.read_text(encoding="ascii").strip())
        # Without connectors, as of a panel on SPI, the device is all there is to know.
        return not states or any(state != "disconnected" for state in states)


def open_screen(target: str = "", frame_rate: float = 25.0) -> Sink:
    """A window where a desktop session is, else the frame buffer. Raises ConfigError."""
    if not target and (os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY")):
        from .window import check_display

        try:
            check_display()
        except SinkError as error:
            log.warning("%s; tries the frame buffer", error)
        else:
            return WindowSink("", frame_rate)
    return ScreenSink(target, frame_rate)
