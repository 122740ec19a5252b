"""OpenCV: there or a clear error, and kept from writing to the terminal."""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any

from .errors import RuntimeMissing


def require_opencv() -> Any:
    """The module cv2, told to keep its and FFmpeg's own messages to itself. Raises RuntimeMissing."""
    # FFmpeg's level is read when the first video is opened; -8 is its AV_LOG_QUIET. OpenCV's own is read
    # when it is loaded; the call below is for where something loaded it before.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        cv2 = importlib.import_module("cv2")
    except ImportError as error:
        raise RuntimeMissing(
            f"OpenCV doesn't load ({' '.join(str(error).split())}): pip install 'mien[desktop]', "
            "or on Raspberry Pi OS apt install python3-opencv"
        ) from error
    with contextlib.suppress(AttributeError):  # Debian 12's OpenCV 4.6 hasn't got this module
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    return cv2
