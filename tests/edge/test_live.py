"""Cameras and streams, with captures that ship as fakes: what a camera does when it is slow, stalls or is unplugged."""

from __future__ import annotations

import errno
import fcntl
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene, write_video

from mien.edge.errors import ConfigError, SourceError
from mien.edge.sources import live as live_module
from mien.edge.sources import open_source
from mien.edge.sources.fake import FakeCapture
from mien.edge.sources.live import Live, is_busy, open_camera

PICTURES = [np.full((48, 64, 3), i, np.uint8) for i in range(40)]


def live(capture: FakeCapture, timeout: float = 5.0) -> Live:
    return Live("the camera", lambda: capture, "plug it in", timeout)


def test_a_slow_reader_gets_the_newest_frame() -> None:
    capture = FakeCapture(PICTURES, interval=0.01, stalls=True)
    before = time.time()
    with live(capture) as source:
        frames = []
        for frame in islice(source, 3):
            frames.append(frame)
            time.sleep(0.1)
    steps = np.diff([frame.index for frame in frames])
    assert (steps > 1).all(), "frames were kept that should have been dropped"
    assert all(frame.gray[0, 0] == frame.index for frame in frames)
    assert before <= frames[0].time < frames[1].time < frames[2].time <= time.time()


def test_a_quick_reader_gets_each_frame_once() -> None:
    with live(FakeCapture(PICTURES, interval=0.02, stalls=True)) as source:
        indices = [frame.index for frame in islice(source, 10)]
    assert len(set(indices)) == 10 and indices == sorted(indices)


def test_a_camera_that_is_unplugged() -> None:
    capture = FakeCapture(PICTURES[:3], interval=0.01)
    with pytest.raises(SourceError, match="the camera stopped giving frames: plug it in"), live(capture) as source:
        list(source)
    assert capture.released.is_set()


def test_a_camera_that_stalls() -> None:
    capture = FakeCapture(PICTURES[:1], stalls=True)
    with pytest.raises(SourceError, match=r"the camera has given no frame for 0\.3 s"), live(capture, 0.3) as source:
        list(source)


def test_a_camera_that_gives_nothing_fails_at_once() -> None:
    with pytest.raises(SourceError, match="stopped giving frames"), live(FakeCapture([])):
        pytest.fail("it must not open")


def test_a_camera_that_does_not_open() -> None:
    capture = FakeCapture(PICTURES)
    capture.release()
    with pytest.raises(SourceError, match="can't open the camera: plug it in"), live(capture):
        pytest.fail("it must not open")


def test_a_row_of_bytes_is_no_picture() -> None:
    """What OpenCV gave of a packed format: one long row."""
    with (
        pytest.raises(SourceError, match=r"gives frames of shape \[1, 9216\] instead of pictures"),
        live(FakeCapture([np.zeros((1, 9216), np.uint8)])),
    ):
        pytest.fail("it must not open")


def test_stop_interrupts_the_wait_for_a_frame() -> None:
    with live(FakeCapture(PICTURES[:1], stalls=True), timeout=30) as source:
        threading.Timer(0.2, source.stop).start()
        start = time.monotonic()
        assert len(list(source)) == 1
    assert time.monotonic() - start < 5


def test_a_finite_stream_ends_without_an_error() -> None:
    capture = FakeCapture(PICTURES[:3], interval=0.02, properties={cv2.CAP_PROP_FRAME_COUNT: 3})
    with live(capture) as source:
        assert list(source)[-1].index == 2


@pytest.mark.parametrize("formats, chosen", [(("MJPG", "YUYV"), "MJPG"), (("YUYV",), "YUYV"), ((), None)])
def test_a_camera_is_asked_for_a_format_that_opencv_decodes(formats: tuple[str, ...], chosen: str | None) -> None:
    capture = FakeCapture(PICTURES, formats=formats, stalls=True)
    asked: list[tuple[str, int]] = []

    def connect(device: str, backend: int) -> FakeCapture:
        asked.append((device, backend))
        return capture

    # /dev/null is a character device that every machine has.
    with open_camera("v4l2:///dev/null?width=320&height=240&fps=15", open_capture=connect) as source:
        next(iter(source))
    assert asked == [("/dev/null", cv2.CAP_V4L2)]
    code = cv2.VideoWriter.fourcc(*chosen) if chosen else None
    assert capture.properties.get(cv2.CAP_PROP_FOURCC) == code
    assert capture.properties[cv2.CAP_PROP_FRAME_WIDTH] == 320
    assert capture.properties[cv2.CAP_PROP_FRAME_HEIGHT] == 240
    assert source.frame_rate == 15


@pytest.mark.parametrize(
    "uri, message",
    [
        ("v4l2://dev/video0", "three slashes"),
        ("v4l2:///video0", "three slashes"),
        ("v4l2:///dev/video0?with=3", "with=3 isn't one of size=WxH, width=, height=, fps="),
        ("v4l2:///dev/video0?width=wide", "width=wide isn't"),
        ("v4l2:///dev/video0?fps=0", "fps=0 isn't"),
        ("rtsp://", "names no host"),
        ("http:///path", "names no host"),
    ],
)
def test_addresses_that_cannot_be(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_source(uri)


def test_no_camera(tmp_path: Path) -> None:
    for uri in ("v4l2:///dev/video97", "/dev/video97"):
        with pytest.raises(SourceError, match="no camera at /dev/video97: "), open_source(uri):
            pass
    with pytest.raises(SourceError, match="can't open the camera /dev/null"), open_source("v4l2:///dev/null"):
        pass


def test_a_camera_that_somebody_else_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_busy(Path("/dev/null")) and not is_busy(Path("/dev/no-camera"))

    def refuse(descriptor: int, request: int, argument: bytes) -> bytes:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(fcntl, "ioctl", refuse)
    monkeypatch.setattr(live_module, "holders", lambda device: [])  # other users' programs can't be seen
    assert is_busy(Path("/dev/null"))
    capture = FakeCapture(PICTURES)
    capture.release()
    source = open_camera("v4l2:///dev/null", open_capture=lambda *_: capture)
    with pytest.raises(SourceError, match="another program uses it: `sudo mien check` names it"), source:
        pass


def test_an_address_where_nobody_answers_hides_the_password() -> None:
    with pytest.raises(SourceError) as error, open_source("rtsp://user:secret@127.0.0.1:9/live"):
        pass
    assert "can't open rtsp://127.0.0.1:9/live" in str(error.value) and "secret" not in str(error.value)


def test_a_video_over_http(tmp_path: Path) -> None:
    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    write_video(tmp_path / "faces.avi", [scene((20 + i, 60, 90)) for i in range(10)])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with open_source(f"http://127.0.0.1:{server.server_port}/faces.avi") as source:
            frames = list(source)
    finally:
        server.shutdown()
        server.server_close()
    assert frames and frames[0].image.shape == (240, 320, 3)
