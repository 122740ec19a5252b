"""A picture of what `mien bench` measured: a bar for each stage. Drawn by OpenCV, so that the device can do it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .bench import Benchmark, Spread
from .errors import SinkError
from .files import replacing
from .records import Image

_INK, _BAR, _PALE = (40, 40, 40), (180, 110, 40), (235, 205, 175)
_LEFT, _WIDTH, _ROW = 120, 620, 44


def draw_picture(result: Benchmark) -> Image:
    """uint8 [H, W, 3]: each stage's median as a bar, its 95 and 99 % as paler ones behind it."""
    rows = [*result.stages.items(), ("all", result.all)]
    canvas = np.full((150 + _ROW * len(rows), 900, 3), 255, np.uint8)
    top = max(spread.p99 for _, spread in rows) or 1.0
    _write(canvas, f"Mien: milliseconds a frame, {result.width} x {result.height}, one thread", (20, 36), 0.75)
    _write(canvas, f"{_ascii(result.machine.get('machine', ''))}, {result.faces:.1f} faces a frame", (20, 64), 0.5)
    for i, (name, spread) in enumerate(rows):
        _bar(canvas, 90 + i * _ROW, name, spread, top)
    under = f"median; paler: 95 % and 99 %. The classic loop: {result.reference_ms:.0f} ms, "
    _write(canvas, f"{under}{result.times_faster:.0f} times as long", (20, canvas.shape[0] - 22), 0.5)
    return canvas


def _bar(canvas: Image, y: int, name: str, spread: Spread, top: float) -> None:
    _write(canvas, name, (20, y + 21), 0.6)
    for value, colour in ((spread.p99, _PALE), (spread.p95, (215, 165, 115)), (spread.median, _BAR)):
        cv2.rectangle(canvas, (_LEFT, y), (_LEFT + max(1, round(_WIDTH * value / top)), y + 28), colour, -1)
    _write(canvas, f"{spread.median:.2f}", (_LEFT + _WIDTH + 20, y + 21), 0.6)


def _write(canvas: Image, text: str, place: tuple[int, int], size: float) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)


def _ascii(text: str) -> str:
    """OpenCV's font has no other letters."""
    return text.encode("ascii", "replace").decode("ascii")


def write_picture(result: Benchmark, path: Path) -> None:
    """Draws to a .png or .jpg file. Raises SinkError, OSError."""
    good, data = cv2.imencode(path.suffix, draw_picture(result))
    if not good:
        raise SinkError(f"can't write {path}: OpenCV can't encode it")
    with replacing(path) as partial:
        partial.write_bytes(data.tobytes())
