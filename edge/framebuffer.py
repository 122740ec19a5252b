"""The display that the kernel draws its console on: pictures without any desktop, library or driver of our own.

Every display driver of Linux that a Raspberry Pi has (vc4, simpledrm, panels on SPI) offers it as /dev/fb0; whoever is
in the group video may write. Source: Linux' Documentation/fb/api.rst and include/uapi/linux/fb.h, kd.h.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .errors import SinkError
from .records import Image

DEVICE = Path("/dev/fb0")
_TERMINALS = (Path("/dev/tty0"), Path("/dev/tty1"))
_HIDE_CURSOR, _SHOW_CURSOR = b"\x1b[?25l", b"\x1b[?25h"
_VARIABLE, _FIXED = 0x4600, 0x4602  # FBIOGET_VSCREENINFO, FBIOGET_FSCREENINFO
_SET_MODE, _TEXT, _GRAPHICS = 0x4B3A, 0, 1  # KDSETMODE, KD_TEXT, KD_GRAPHICS


class Mode(NamedTuple):
    """How a frame buffer lies in memory."""

    width: int
    """Pixels, as the rest unless said otherwise."""
    height: int
    left: int
    """Of the visible part within the buffer."""
    top: int
    bits: int
    """Of a pixel: 32 (B, G, R, unused), 24 (B, G, R) or 16 (5, 6, 5)."""
    row: int
    """Bytes of a row."""
    size: int
    """Bytes of the whole buffer."""


class Framebuffer:
    """A frame buffer that is open; the console's cursor and messages are kept off it meanwhile."""

    def __init__(self, device: Path = DEVICE) -> None:
        """Raises SinkError."""
        self.device = device
        self._terminal: int | None = None
        try:
            descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise SinkError(f"no display at {device}: is one attached?") from error
        except OSError as error:
            hint = ": sudo usermod -aG video USER" if isinstance(error, PermissionError) else ""
            raise SinkError(f"can't open the display {device}: {error.strerror}{hint}") from error
        try:
            self.mode = read_mode(descriptor)
            self._memory = mmap.mmap(descriptor, self.mode.size)
        except (OSError, ValueError) as error:
            raise SinkError(f"can't use the display {device}: {error}") from error
        finally:
            os.close(descriptor)
        self._take_terminal()

    def show(self, picture: Image) -> None:
        """Shows a picture uint8 [mode.height, mode.width, 3], B, G, R."""
        mode = self.mode
        if mode.bits == 32:
            pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2BGRA)
        elif mode.bits == 16:
            pixels = cv2.cvtColor(picture, cv2.COLOR_BGR2BGR565)
        else:
            pixels = picture
        width = mode.bits // 8
        rows = np.frombuffer(self._memory, np.uint8, mode.row * (mode.top + mode.height))
        rows = rows.reshape(-1, mode.row)[mode.top :, mode.left * width : (mode.left + mode.width) * width]
        rows[:] = np.ascontiguousarray(pixels).view(np.uint8).reshape(mode.height, -1)

    def close(self) -> None:
        """Leaves a black screen, and gives the console back."""
        with contextlib.suppress(ValueError):
            self.show(np.zeros((self.mode.height, self.mode.width, 3), np.uint8))
        with contextlib.suppress(BufferError):
            self._memory.close()
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                os.write(self._terminal, _SHOW_CURSOR)
                fcntl.ioctl(self._terminal, _SET_MODE, _TEXT)
            os.close(self._terminal)
            self._terminal = None

    def _take_terminal(self) -> None:
        """Keeps the console off the picture, as far as this user may."""
        for path in _TERMINALS:
            try:
                descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOCTTY)
            except OSError:
                continue
            with contextlib.suppress(OSError):
                os.write(descriptor, _HIDE_CURSOR)  # whoever may write to it can do this
                fcntl.ioctl(descriptor, _SET_MODE, _GRAPHICS)  # and only its owner this: no text at all
            self._terminal = descriptor
            return


def read_mode(descriptor: int) -> Mode:
    """The mode of an open frame buffer. Raises OSError, ValueError."""
    variable, fixed = bytearray(160), bytearray(80)
    fcntl.ioctl(descriptor, _VARIABLE, variable)
    fcntl.ioctl(descriptor, _FIXED, fixed)
    return parse_mode(bytes(variable), bytes(fixed))


def parse_mode(variable: bytes, fixed: bytes) -> Mode:
    """The mode in struct fb_var_screeninfo and fb_fix_screeninfo. Raises ValueError."""
    width, height, _, _, left, top, bits = struct.unpack_from("=7I", variable)
    # char id[16], unsigned long smem_start, __u32 smem_len, type, type_aux, visual, __u16 xpanstep, ypanstep,
    # ywrapstep, __u32 line_length: in the machine's own alignment
    _, size, *_, row = struct.unpack_from("@16xLIIIIHHHI", fixed)
    if bits not in (16, 24, 32):
        raise ValueError(f"it has {bits} bits a pixel, not 16, 24 or 32")
    return Mode(width, height, left, top, bits, row, size)
