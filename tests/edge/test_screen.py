"""The attached display: its memory, and displays that come and go."""

from __future__ import annotations

import logging
import struct
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.edge import framebuffer
from mien.edge.errors import ConfigError, SinkError
from mien.edge.framebuffer import Framebuffer, Mode, parse_mode
from mien.edge.records import Frame, Observation
from mien.edge.sinks import open_sink
from mien.edge.sinks import screen as screen_module
from mien.edge.sinks.screen import ScreenSink
from mien.edge.sinks.window import WindowSink

RNG = np.random.default_rng(0)
PICTURE = cv2.resize(RNG.integers(0, 256, (9, 12, 3)).astype(np.uint8), (640, 480))
MODE = Mode(800, 480, 0, 0, 32, 3200, 3200 * 480)


def observation(index: int = 0) -> Observation:
    return Observation(Frame(index, 1_800_000_000.0, PICTURE, PICTURE[:, :, 0]), ())


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of a display's memory."""
    monkeypatch.setattr(framebuffer, "read_mode", lambda descriptor: MODE)
    monkeypatch.setattr(framebuffer, "_TERMINALS", ())
    path = tmp_path / "fb0"
    path.write_bytes(bytes(MODE.size))
    return path


def shown(path: Path, mode: Mode = MODE) -> np.ndarray:
    return np.fromfile(path, np.uint8).reshape(mode.height, mode.width, 4)


def test_the_kernels_structures_are_read() -> None:
    variable = struct.pack("=7I", 1920, 1080, 1920, 2160, 0, 1080, 16) + bytes(132)
    fixed = struct.pack("@16sLIIIIHHHI", b"vc4drmfb", 0x3E000000, 8_294_400, 0, 0, 2, 1, 1, 0, 3840) + bytes(20)
    assert parse_mode(variable, fixed) == Mode(1920, 1080, 0, 1080, 16, 3840, 8_294_400)
    with pytest.raises(ValueError, match="it has 8 bits a pixel"):
        parse_mode(struct.pack("=7I", 64, 48, 64, 48, 0, 0, 8) + bytes(132), fixed)


@pytest.mark.parametrize("bits", [16, 24, 32])
def test_pixels_lie_where_the_mode_says(bits: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    width = bits // 8
    mode = Mode(20, 10, 3, 2, bits, 30 * width, 30 * width * 14)
    monkeypatch.setattr(framebuffer, "read_mode", lambda descriptor: mode)
    monkeypatch.setattr(framebuffer, "_TERMINALS", ())
    path = tmp_path / "fb0"
    path.write_bytes(bytes(mode.size))
    display = Framebuffer(path)
    picture = np.zeros((10, 20, 3), np.uint8)
    picture[0, 0] = picture[9, 19] = (0, 0, 255)  # red
    display.show(picture)
    pixels = np.fromfile(path, np.uint8).reshape(14, 30, width)
    red = {16: (0x00, 0xF8), 24: (0, 0, 255), 32: (0, 0, 255, 255)}[bits]
    assert tuple(pixels[2, 3]) == red and tuple(pixels[11, 22]) == red
    assert pixels[:2].max() == 0 and pixels[:, :3].max() == 0 and pixels[:, 23:].max() == 0 and pixels[12:].max() == 0
    display.close()
    assert np.fromfile(path, np.uint8).reshape(14, 30, width)[2, 3][:2].max() == 0


def test_a_picture_fills_the_screen_above_its_strip(device: Path) -> None:
    sink = ScreenSink()
    sink._device = device
    with sink:
        sink.write(observation(), PICTURE)
        until = time.monotonic() + 10
        while shown(device).max() == 0 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1)
        seen = shown(device)
    strip = 480 // 16
    assert seen[: 480 - strip, 110:690, :3].std() > 20, "no picture"
    assert seen[: 480 - strip, :95, :3].max() == 0, "not letterboxed"
    assert seen[480 - strip :, :, :3].max() > 150, "no text in the strip"
    middle = cv2.resize(PICTURE, (600, 450))
    assert np.abs(seen[:450, 100:700, :3].astype(int) - middle).mean() < 3
    assert shown(device)[..., :3].max() == 0, "the screen is left black"


def test_without_a_display_the_run_goes_on_and_one_that_comes_is_used(
    device: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    connectors = tmp_path / "drm"
    status = connectors / "card0-HDMI-A-1" / "status"
    status.parent.mkdir(parents=True)
    status.write_text("disconnected\n")
    now = [0.0]
    sink = ScreenSink(connectors=connectors, clock=lambda: now[0])
    sink._device = device

    def second() -> np.ndarray:
        now[0] += 1
        sink.deliver(observation(), PICTURE)
        return shown(device)[..., :3]

    with caplog.at_level(logging.INFO):
        assert max(int(second().max()) for _ in range(12)) == 0
        assert caplog.text.count("goes on without") == 1
        status.write_text("connected\n")
        assert [int(second().max()) > 0 for _ in range(6)][-1]
        assert "shows pictures on" in caplog.text
        status.write_text("disconnected\n")
        for _ in range(6):
            second()
        assert caplog.text.count("the display is gone") == 1 and second().max() == 0
        status.write_text("connected\n")
        for _ in range(6):
            second()
        assert second().max() > 0
    sink.finish()


def test_what_is_no_display(tmp_path: Path, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="screen:fb0 must be screen:, or name a device such as screen:/dev/fb0"):
        open_sink("screen:fb0")
    with pytest.raises(SinkError, match=r"no display at .*: is one attached\?"):
        Framebuffer(tmp_path / "fb7")
    monkeypatch.undo()
    with pytest.raises(SinkError, match="can't use the display"):
        Framebuffer(device)


def test_on_a_desktop_it_is_a_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setattr("mien.edge.sinks.window.check_display", lambda: None)
    assert isinstance(open_sink("screen:"), WindowSink)
    assert isinstance(open_sink("screen:/dev/fb0"), ScreenSink)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    assert isinstance(screen_module.open_screen(), ScreenSink)
