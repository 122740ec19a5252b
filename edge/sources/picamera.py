"""Raspberry Pi cameras through picamera2, which comes from apt; it is imported here only, when a camera is opened.

Each frame's two streams come from one request, so they show the same moment: "main" in colour, to be drawn on, and
"lores" as YUV420, whose first plane is the gray picture in which faces are searched: nothing is converted for it.
Source: the Picamera2 manual, https://datasheets.raspberrypi.com/camera/picamera2-manual.pdf, chapters 4 to 6.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np

from ..errors import ConfigError, RuntimeMissing, SourceError
from ..records import Frame
from .live import TIMEOUT, Live

REQUEST_TIMEOUT = 5.0
"""Seconds to wait for one frame: picamera2 itself would wait for ever on a camera that stalls."""
_AUTOFOCUS = {"manual": 0, "auto": 1, "continuous": 2}
"""libcamera's AfModeEnum."""


@dataclass(frozen=True)
class PicameraSettings:
    """What a camera is asked for."""

    number: int = 0
    width: int = 640
    height: int = 480
    fps: float = 30.0
    hflip: bool = False
    vflip: bool = False
    controls: Mapping[str, Any] = field(default_factory=dict)
    """libcamera's names → values."""

    @classmethod
    def parse(cls, uri: str) -> PicameraSettings:
        """The settings in ``picamera2://0?size=640x480&fps=30&hflip=1&vflip=1&…``. Raises ConfigError.

        Also rotation=180, exposure= (microseconds), gain= (1 is the sensor's own), af=continuous, auto or manual.
        """
        parts = urlsplit(uri)
        number = parts.netloc or "0"
        if not number.isdecimal() or parts.path not in ("", "/"):
            raise ConfigError(f"{uri} names no camera: write picamera2://0 for the first one")
        values: dict[str, Any] = {"number": int(number)}
        controls: dict[str, Any] = {}
        for key, value in parse_qsl(parts.query, keep_blank_values=True):
            try:
                _set(key, value, values, controls)
            except (KeyError, ValueError) as error:
                known = "size=WxH, fps=, hflip=, vflip=, rotation=, exposure=, gain=, af="
                raise ConfigError(f"{uri}: {key}={value} isn't one of {known} with a value that fits") from error
        return cls(**values, controls=controls)


def _set(key: str, value: str, values: dict[str, Any], controls: dict[str, Any]) -> None:
    """Raises KeyError for an unknown key, ValueError for a value that doesn't fit."""
    if key == "size":
        width, height = (_between(int(side), 64, 8192) for side in value.lower().split("x"))
        if width % 2 or height % 2:
            raise ValueError("YUV420 takes even sizes")
        values |= {"width": int(width), "height": int(height)}
    elif key == "fps":
        values["fps"] = _between(float(value), 0.1, 240)
    elif key in ("hflip", "vflip"):
        values[key] = bool(("0", "1").index(value))
    elif key == "rotation":
        values |= dict.fromkeys(("hflip", "vflip"), {"0": False, "180": True}[value])
    elif key == "exposure":
        controls |= {"AeEnable": False, "ExposureTime": int(_between(int(value), 1, 200_000_000))}
    elif key == "gain":
        controls["AnalogueGain"] = _between(float(value), 1, 64)
    else:
        controls[{"af": "AfMode"}[key]] = _AUTOFOCUS[value]


def _between(value: float, low: float, high: float) -> float:
    if not low <= value <= high:
        raise ValueError(f"{value} is not between {low} and {high}")
    return value


class Picamera(Live):
    """A camera on the board's own connector."""

    def _frame(self, index: int, time: float, picture: Any) -> Frame:
        image, gray = picture
        return Frame(index, time, image, gray)

    def _problem(self, picture: Any) -> str:
        image, gray = picture
        good = image.ndim == 3 and image.shape[:2] == gray.shape
        return "" if good else f"gives frames of shape {list(image.shape)} with a gray of {list(gray.shape)}"


class PicameraCapture:
    """picamera2 with the surface of cv2.VideoCapture; `read` gives colour uint8 [H, W, 3] and gray uint8 [H, W]."""

    def __init__(self, settings: PicameraSettings, picamera2: ModuleType, libcamera: ModuleType) -> None:
        """Opens and starts the camera. Raises SourceError."""
        self._settings = settings
        name = f"the camera picamera2://{settings.number}"
        found = picamera2.Picamera2.global_camera_info()
        if settings.number >= len(found):
            there = ", ".join(f"{i} ({each.get('Model', '?')})" for i, each in enumerate(found)) or "none"
            raise SourceError(f"no camera {settings.number}, found: {there}; see rpicam-hello --list-cameras")
        try:
            self._camera = picamera2.Picamera2(settings.number)
        except (RuntimeError, IndexError) as error:
            raise SourceError(f"can't open {name} ({error}): does another program use it?") from error
        size = (settings.width, settings.height)
        period = round(1e6 / settings.fps)
        try:
            configuration = self._camera.create_preview_configuration(
                main={"size": size, "format": "RGB888"},  # which is B, G, R in memory
                lores={"size": size, "format": "YUV420"},
                transform=libcamera.Transform(hflip=settings.hflip, vflip=settings.vflip),
                # Luma from 0 to 255. The video configuration's own choice may be 16 to 235, which shifts
                # what the network sees.
                colour_space=libcamera.ColorSpace.Sycc(),
                controls={"FrameDurationLimits": (period, period), **settings.controls},
                queue=False,  # the next frame, not one that was taken before it was asked for
            )
            self._camera.configure(configuration)
            self._camera.start()
        except (RuntimeError, ValueError) as error:
            with contextlib.suppress(RuntimeError):
                self._camera.close()
            raise SourceError(f"{name} can't be set to {size[0]}×{size[1]} at {settings.fps:g}/s: {error}") from error
        self._open = True

    def isOpened(self) -> bool:
        """Whether it is open."""
        return self._open

    def read(self) -> tuple[bool, Any]:
        """The next frame; (False, None) if there is none in time, or the camera is gone."""
        try:
            with self._request() as request:
                image = request.make_array("main")
                height, width = self._settings.height, self._settings.width
                # Rows may be padded, and below the gray plane come the two of colour.
                gray = np.ascontiguousarray(request.make_array("lores")[:height, :width])
                return True, (np.ascontiguousarray(image[:height, :width, :3]), gray)
        except (TimeoutError, RuntimeError):
            return False, None

    def get(self, propId: int, /) -> float:
        """The frame rate; 0 for all else."""
        return self._settings.fps if propId == cv2.CAP_PROP_FPS else 0.0

    def set(self, propId: int, value: float, /) -> bool:
        """Nothing can be set."""
        return False

    def release(self) -> None:
        """Lets go of the camera."""
        self._open = False
        with contextlib.suppress(RuntimeError):
            self._camera.stop()
        with contextlib.suppress(RuntimeError):
            self._camera.close()

    @contextlib.contextmanager
    def _request(self) -> Iterator[Any]:
        """The next completed request. Raises TimeoutError."""
        # A timeout of `wait` is known to newer picamera2 only; a signal function to all from 0.3.12 on.
        done = threading.Event()
        job = self._camera.capture_request(signal_function=lambda _: done.set())
        if not done.wait(REQUEST_TIMEOUT):
            raise TimeoutError
        request = self._camera.wait(job)
        try:
            yield request
        finally:
            request.release()


def load() -> tuple[ModuleType, ModuleType]:
    """picamera2 and libcamera. Raises RuntimeMissing."""
    try:
        return importlib.import_module("picamera2"), importlib.import_module("libcamera")
    except ImportError as error:
        raise RuntimeMissing(
            f"Raspberry Pi cameras need picamera2 ({error}): sudo apt-get install python3-picamera2, and a virtual "
            "environment made with --system-site-packages"
        ) from error


def open_camera(uri: str, loop: bool = False) -> Live:
    """The camera at a ``picamera2://`` address, see PicameraSettings.parse. Raises ConfigError, RuntimeMissing."""
    settings = PicameraSettings.parse(uri)
    modules = load()
    return Picamera(
        f"the camera picamera2://{settings.number}",
        lambda: PicameraCapture(settings, *modules),
        "is its ribbon cable in place, and does rpicam-hello show a picture?",
        max(TIMEOUT, 2 * REQUEST_TIMEOUT),
    )
