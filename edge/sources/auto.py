"""Whichever camera there is: one on the board's own connector, else the first on USB."""

from __future__ import annotations

import fcntl
import struct
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import RuntimeMissing, SourceError
from .live import Live
from .live import open_camera as open_v4l2
from .picamera import load
from .picamera import open_camera as open_picamera

# From Linux' <linux/videodev2.h>: VIDIOC_QUERYCAP, and what a node says that it can do.
_QUERYCAP = 0x80685600
_CAPTURE, _STREAMING, _DEVICE_CAPS = 0x00000001, 0x04000000, 0x80000000


def open_any(uri: str, loop: bool = False) -> Live:
    """The camera that is there, for ``auto://[?size=WxH&fps=…]``. Raises SourceError if there is none."""
    query = f"?{urlsplit(uri).query}" if urlsplit(uri).query else ""
    try:
        picamera2, _ = load()
        # Picamera2 lists USB cameras too; those are read better without it.
        found = picamera2.Picamera2.global_camera_info()
        boards = [i for i, each in enumerate(found) if "usb" not in str(each.get("Id", "")).lower()]
    except RuntimeMissing:
        boards = []
    if boards:
        return open_picamera(f"picamera2://{boards[0]}{query}")
    for device in capture_devices():
        return open_v4l2(f"v4l2://{device}{query}")
    raise SourceError("no camera is there: plug one in; a Raspberry Pi's own needs python3-picamera2 from apt")


def capture_devices(folder: Path = Path("/dev")) -> list[Path]:
    """The V4L2 devices that give pictures, by number; others of the same camera give metadata, or convert."""
    nodes = sorted(folder.glob("video*"), key=lambda path: (len(path.name), path.name))
    return [node for node in nodes if _captures(node)]


def _captures(device: Path) -> bool:
    answer = bytearray(104)  # struct v4l2_capability
    try:
        with device.open("rb", buffering=0) as stream:
            fcntl.ioctl(stream, _QUERYCAP, answer)
    except OSError:
        return False
    driver = answer[:16].rstrip(b"\0")
    every, own = struct.unpack_from("<II", answer, 84)
    can = own if every & _DEVICE_CAPS else every
    # The Pi's decoders and image processor have video nodes too, which take pictures in rather than giving them.
    return bool(can & _CAPTURE and can & _STREAMING) and not driver.startswith(b"bcm2835-")
