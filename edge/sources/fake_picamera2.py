"""Stands in for picamera2 and libcamera: as much of their surface as Mien uses, held to picamera2's own by a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np


class Transform:
    """libcamera's: how a picture is turned."""

    def __init__(self, hflip: bool = False, vflip: bool = False) -> None:
        self.hflip, self.vflip = hflip, vflip


class ColorSpace:
    """libcamera's; full-range luma is Sycc."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def Sycc(cls) -> ColorSpace:
        return cls("sYCC")


class CompletedRequest:
    """One frame in all of its streams, until it is released."""

    def __init__(self, camera: Picamera2, arrays: dict[str, np.ndarray]) -> None:
        self._camera, self._arrays = camera, arrays

    def make_array(self, name: str) -> np.ndarray:
        """The stream's picture; rows of YUV420 may be padded, and its colour lies below its gray."""
        return self._arrays[name].copy()

    def release(self) -> None:
        """Gives the buffers back."""
        self._camera.held -= 1


class Picamera2:
    """A camera that shows the pictures of `world`, then stalls, as picamera2 does when a cable comes loose."""

    world: Sequence[np.ndarray] = ()
    """uint8 [H, W, 3], B, G, R: what all fake cameras see; each is scaled to the size that was asked for."""
    cameras: Sequence[dict[str, Any]] = ({"Model": "imx708", "Id": "/base/soc/i2c0mux/i2c@1/imx708@1a", "Num": 0},)
    busy = False
    """Whether another program has the camera."""
    padding = 64
    """To a multiple of so many bytes a row of YUV420 is lengthened."""

    @staticmethod
    def global_camera_info() -> list[Any]:
        return list(Picamera2.cameras)

    def __init__(self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None) -> None:
        if Picamera2.busy:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.number, self.started, self.closed, self.held, self._shown = camera_num, False, False, 0, 0
        self.config: dict[str, Any] = {}

    def create_preview_configuration(
        self,
        main: dict[str, Any] = {},  # noqa: B006 - as picamera2 has it
        lores: Any = None,
        raw: Any = {},  # noqa: B006
        transform: Any = None,
        colour_space: Any = None,
        buffer_count: int = 4,
        controls: dict[str, Any] = {},  # noqa: B006
        display: str = "main",
        encode: str = "main",
        queue: bool = True,
    ) -> dict[str, Any]:
        return {
            "main": dict(main),
            "lores": dict(lores or {}),
            "transform": transform,
            "colour_space": colour_space,
            "controls": dict(controls),
            "queue": queue,
        }

    def configure(self, camera_config: Any = "preview") -> None:
        if max(camera_config["main"]["size"]) > 4608:
            raise RuntimeError("Failed to configure camera")
        self.config = camera_config

    def start(self, config: Any = None, show_preview: bool = False) -> None:
        self.started = True

    def stop(self) -> None:
        self.started = False

    def close(self) -> None:
        self.closed = True

    def capture_request(self, wait: bool | None = None, signal_function: Callable[[Any], None] | None = None) -> Any:
        """A job whose result is a CompletedRequest; it is never done once the world has no more pictures."""
        job: Future[CompletedRequest] = Future()
        if self._shown < len(Picamera2.world):
            picture = self._turned(Picamera2.world[self._shown])
            self._shown += 1
            self.held += 1
            job.set_result(CompletedRequest(self, {"main": picture, "lores": self._yuv(picture)}))
            if signal_function is not None:
                threading.Thread(target=signal_function, args=(job,), daemon=True).start()
        return job

    def wait(self, job: Any) -> Any:
        return job.result()

    def _turned(self, picture: np.ndarray) -> np.ndarray:
        picture = cv2.resize(picture, self.config["main"]["size"])
        if self.config["transform"].hflip:
            picture = picture[:, ::-1]
        return np.ascontiguousarray(picture[::-1] if self.config["transform"].vflip else picture)

    def _yuv(self, picture: np.ndarray) -> np.ndarray:
        planes = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
        # OpenCV writes luma of 16 to 235; sYCC's goes from 0 to 255.
        planes[: picture.shape[0]] = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        return np.pad(planes, ((0, 0), (0, -planes.shape[1] % Picamera2.padding)))


picamera2 = SimpleNamespace(Picamera2=Picamera2)
libcamera = SimpleNamespace(Transform=Transform, ColorSpace=ColorSpace)
