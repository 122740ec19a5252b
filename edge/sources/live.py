"""Cameras and network streams: always the newest frame."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cv2

from ..errors import ConfigError, SourceError
from ..records import Frame
from .base import Capture, Source, make_frame, nominal_rate

TIMEOUT = 15.0
"""Seconds without a frame after which a source counts as stalled; a stalled V4L2 read returns after 10."""
_VIDIOC_REQBUFS, _VIDEO_CAPTURE, _MEMORY_MMAP = 0xC0145608, 1, 1
"""Of linux/videodev2.h: the request, the type of the queue, and the kind of its buffers."""


class Live(Source):
    """Reads in a thread of its own and keeps only the newest frame; frame numbers skip those that were dropped.

    A frame's time is the wall clock's when it arrived.
    """

    live = True

    def __init__(
        self, name: str, connect: Callable[[], Capture], hint: str | Callable[[], str], timeout: float = TIMEOUT
    ) -> None:
        """`connect` opens the capture or raises SourceError; `hint` says what to do when there is no frame."""
        self._name, self._connect, self._timeout = name, connect, timeout
        self._hint: Callable[[], str] = hint if callable(hint) else lambda: str(hint)
        self._capture: Capture | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._newest: tuple[int, float, Any] | None = None
        self._end: str | None = None

    def open(self) -> None:
        capture = self._capture = self._connect()
        if not capture.isOpened():
            raise SourceError(f"can't open {self._name}: {self._hint()}")
        self.frame_rate = nominal_rate(capture.get(cv2.CAP_PROP_FPS))
        # A file behind a web address has a length, and so an end that isn't a failure.
        self._finite = capture.get(cv2.CAP_PROP_FRAME_COUNT) > 0
        self._thread = threading.Thread(target=self._read, args=(capture,), name="capture", daemon=True)
        self._thread.start()
        self._wait()

    def close(self) -> None:
        self._closing = True
        if self._thread is not None:
            self._thread.join(timeout=2)
            # Releasing a capture that another thread reads from crashes; the process's end will do it.
            if self._thread.is_alive():
                return
            self._thread = None
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def frames(self) -> Iterator[Frame]:
        while self._wait():
            with self._changed:
                newest, self._newest = self._newest, None
            if newest is not None:
                yield self._frame(*newest)

    def _frame(self, index: int, time: float, picture: Any) -> Frame:
        """The frame of what `_read` took from the capture. Raises SourceError."""
        return make_frame(self._name, index, time, picture)

    def _problem(self, picture: Any) -> str:
        """What is wrong with a picture that the capture gave; empty if nothing is."""
        # Seen where OpenCV takes a packed format for pixels: one long row of bytes.
        return "" if picture.ndim == 3 else f"gives frames of shape {list(picture.shape)} instead of pictures"

    def _wait(self) -> bool:
        """Whether a new frame is there; False at the source's end or when it was stopped."""
        patience = time.monotonic() + self._timeout
        with self._changed:
            while self._newest is None:
                if self._end is not None:
                    if self._finite and not self._end:
                        return False
                    raise SourceError(f"{self._name} {self._end or 'stopped giving frames'}: {self._hint()}")
                if self._stopped:
                    return False
                if time.monotonic() > patience:
                    raise SourceError(f"{self._name} has given no frame for {self._timeout:g} s: {self._hint()}")
                self._changed.wait(0.1)  # short, so that a stop is noticed
        return True

    def _read(self, capture: Capture) -> None:
        index, end = 0, ""
        while not self._closing:
            try:
                good, image = capture.read()
            except cv2.error as error:
                good, end = False, f"failed ({' '.join(str(error).split())})"
            if not good:
                break
            if end := self._problem(image):
                break
            with self._changed:
                self._newest = (index, time.time(), image)
                self._changed.notify()
            index += 1
        with self._changed:
            self._end = end
            self._changed.notify()


def open_camera(uri: str, loop: bool = False, open_capture: Callable[[str, int], Capture] = cv2.VideoCapture) -> Live:
    """A Video4Linux camera: ``v4l2:///dev/video0?width=640&height=480&fps=30``. Raises ConfigError."""
    parts = urlsplit(uri)
    if parts.netloc or not parts.path.startswith("/dev/"):
        raise ConfigError(f"{uri} names no camera: write v4l2:///dev/video0, with three slashes")
    wishes = _wishes(uri, parts.query)

    def connect() -> Capture:
        _check_device(Path(parts.path))
        capture = open_capture(parts.path, cv2.CAP_V4L2)
        # Left to itself OpenCV may negotiate a format that it can't decode. MJPG first: over USB 2 only
        # it reaches full frame rates beyond 640×480.
        for code in ("MJPG", "YUYV"):
            number = cv2.VideoWriter.fourcc(*code)
            if capture.set(cv2.CAP_PROP_FOURCC, number) and int(capture.get(cv2.CAP_PROP_FOURCC)) == number:
                break
        for key, value in wishes.items():
            capture.set(key, value)
        return capture

    def hint() -> str:
        device = Path(parts.path).resolve()
        if users := holders(device):
            return f"it is used by {', '.join(users)}"
        return "another program uses it: `sudo mien check` names it" if is_busy(device) else "is it plugged in?"

    return Live(f"the camera {parts.path}", connect, hint)


def _wishes(uri: str, query: str) -> dict[int, int]:
    """OpenCV's property → value. Raises ConfigError."""
    known = {"width": cv2.CAP_PROP_FRAME_WIDTH, "height": cv2.CAP_PROP_FRAME_HEIGHT, "fps": cv2.CAP_PROP_FPS}
    wishes = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        pairs = {key: value}
        if key == "size":
            width, _, height = value.partition("x")
            pairs = {"width": width, "height": height}
        for name, number in pairs.items():
            if name not in known or not number.isdecimal() or not 1 <= int(number) <= 10_000:
                wanted = "size=WxH, width=, height=, fps= with a whole number from 1"
                raise ConfigError(f"{uri}: {key}={value} isn't one of {wanted}")
            wishes[known[name]] = int(number)
    return wishes


def holders(device: Path, processes: Path = Path("/proc")) -> list[str]:
    """The programs that have a device open, such as "rpicam-vid (412)", as far as this user may see them."""
    found = []
    for process in processes.glob("[0-9]*"):
        try:
            if int(process.name) == os.getpid():
                continue
            if any(link.readlink() == device for link in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text(encoding='utf-8').strip()} ({process.name})")
        except OSError:  # another user's, or gone meanwhile
            continue
    return sorted(found)


def is_busy(device: Path) -> bool:
    """Whether another program streams from a camera, even one of a user whose programs this one may not see."""
    # VIDIOC_REQBUFS for no buffers: it gives back what this program has, which is nothing, and is refused with EBUSY
    # while another one has some. Source: the kernel's documentation of V4L2, "ioctl VIDIOC_REQBUFS".
    request = struct.pack("5I", 0, _VIDEO_CAPTURE, _MEMORY_MMAP, 0, 0)
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return error.errno == errno.EBUSY
    try:
        fcntl.ioctl(descriptor, _VIDIOC_REQBUFS, request)
    except OSError as error:
        return error.errno == errno.EBUSY
    finally:
        os.close(descriptor)
    return False


def _check_device(device: Path) -> None:
    if not device.exists():
        others = ", ".join(sorted(map(str, Path("/dev").glob("video*"))))
        raise SourceError(f"no camera at {device}: {'there are ' + others if others else 'plug one in'}")
    if not stat.S_ISCHR(device.stat().st_mode):
        raise SourceError(f"{device} is not a camera")
    if not os.access(device, os.R_OK | os.W_OK):
        raise SourceError(f"no permission to use {device}: sudo usermod -aG video $USER, then log in again")


def open_stream(uri: str, loop: bool = False) -> Live:
    """A network stream at an rtsp, http or https address. Raises ConfigError."""
    parts = urlsplit(uri)
    if not parts.hostname:
        raise ConfigError(f"{uri} names no host: write {parts.scheme}://host/path")
    # Messages end up in logs: no password in them.
    name = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    waits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, 10_000, cv2.CAP_PROP_READ_TIMEOUT_MSEC, 10_000]

    def connect() -> Capture:
        return cv2.VideoCapture(uri, cv2.CAP_FFMPEG, waits)

    return Live(name, connect, "is the address right, and does it play in a video player on this machine?")
