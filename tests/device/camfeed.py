#!/usr/bin/env python3
"""Play a file of JPEGs into a v4l2loopback device, for ever (standard library only; runs in the machine).

usage: camfeed.py CLIP.mjpeg DEVICE WIDTH HEIGHT FPS
"""

import fcntl
import os
import struct
import sys
import time

VIDIOC_S_FMT = 0xC0D05605  # _IOWR('V', 5, struct v4l2_format), 208 bytes on 64-bit
OUTPUT, MJPG, FIELD_NONE, SRGB = 2, 0x47504A4D, 1, 8


def frames(data):
    """The JPEGs in data, each from its start marker to its end marker."""
    at = 0
    while (start := data.find(b"\xff\xd8\xff", at)) >= 0:
        at = data.find(b"\xff\xd9", start) + 2
        if at < 2:
            return
        yield data[start:at]


def main():
    clip, device, width, height, fps = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
    with open(clip, "rb") as f:  # noqa: PTH123
        jpegs = list(frames(f.read()))
    if not jpegs:
        sys.exit("camfeed: no JPEG in " + clip)
    fd = os.open(device, os.O_WRONLY)
    pix = struct.pack("8I", width, height, MJPG, FIELD_NONE, 0, width * height * 2, SRGB, 0)
    fcntl.ioctl(fd, VIDIOC_S_FMT, bytearray(struct.pack("II", OUTPUT, 0) + pix.ljust(200, b"\0")))
    due = time.monotonic()
    while True:
        for jpeg in jpegs:
            os.write(fd, jpeg)
            due = max(due + 1 / fps, time.monotonic() - 1)
            time.sleep(max(0, due - time.monotonic()))


if __name__ == "__main__":
    main()
