"""A page that is served while a camera runs, for tests: all of it real but the camera and what reads its faces."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest

from mien.edge.bundle import Crop
from mien.edge.config import Config, PrivacyConfig
from mien.edge.finder import EveryFrame
from mien.edge.pipeline import Pipeline
from mien.edge.records import Box, Frame, Image
from mien.edge.sinks import open_sink
from mien.edge.sinks.web import WebSink
from mien.edge.sinks.webpage.access import make_token
from mien.edge.smoother import Smoother
from mien.edge.sources.base import Source, make_frame
from mien.edge.stats import Stats


class Camera(Source):
    """Gives the pictures uint8 [H, W, 3] again and again, `frame_rate` a second, and waits for nobody."""

    live = True

    def __init__(self, images: Sequence[np.ndarray], frame_rate: float = 10.0) -> None:
        self._images, self.frame_rate = images, frame_rate
        self._end = threading.Event()

    def open(self) -> None:
        self._start = time.time()

    def close(self) -> None:
        pass

    def stop(self) -> None:
        super().stop()
        self._end.set()

    @property
    def due(self) -> int:
        """Frames that it took so far, whether somebody wanted them or not."""
        return int((time.time() - self._start) * self.frame_rate)

    def frames(self) -> Iterator[Frame]:
        index = 0
        while not self._end.wait(max(0.0, self._start + index / self.frame_rate - time.time())):
            moment = self._start + index / self.frame_rate
            yield make_frame("the camera", index, moment, self._images[index % len(self._images)])
            index = max(index + 1, self.due)


class OneFace:
    """A detector that says a face is in the middle."""

    def detect(self, gray: Image) -> list[Box]:
        height, width = gray.shape
        side = height // 2
        return [Box((width - side) // 2, height // 4, side, side)]


class Cheerful:
    """A classifier that reads every face alike."""

    labels = ("happy", "sad")
    face_size = (8, 8)
    crop = Crop()

    def scores(self, faces: Image) -> np.ndarray:
        return np.tile(np.array([[0.75, 0.25]], np.float32), (len(faces), 1))


class LivePage:
    """``with LivePage() as page: page.get("/api/v1/faces")``."""

    def __init__(
        self,
        query: str = "",
        images: Sequence[np.ndarray] | None = None,
        frame_rate: float = 10.0,
        scheme: str = "http",
        pipeline: tuple[Any, Any, Any] | None = None,
        source: Source | None = None,
        **privacy: Any,
    ) -> None:
        """`query` ends the sink's URI; `pipeline` is a finder, a classifier and a smoother."""
        if images is None:
            images = [np.full((120, 160, 3), level, np.uint8) for level in (60, 120, 180, 240)]
        self.config = Config(name="kitchen", privacy=PrivacyConfig(**privacy))
        self.camera = source or Camera(images, frame_rate)
        self.scheme = scheme
        sink = open_sink(f"{scheme}://127.0.0.1:0{query}", frame_rate, self.config)
        assert isinstance(sink, WebSink)
        self.sink = sink
        finder, classifier, smoother = pipeline or (
            EveryFrame(OneFace()),
            Cheerful(),
            Smoother(Cheerful.labels, 0.0, 0.0, 0.0),
        )
        notice, blur = self.config.privacy.notice, self.config.privacy.blur
        self.pipeline = Pipeline(
            self.camera, finder, classifier, smoother, [sink], True, "camera", "tiny 1", notice=notice, blur=blur
        )
        self.stats: Stats | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self.camera.__enter__()
        self.sink.__enter__()
        self.port = self.sink.port
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        # The sink has a thread of its own: a frame that the pipeline has counted may not have come to the page yet.
        until(lambda: self.sink._hub.time is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self.pipeline.stop()
        self._thread.join(20)
        self.sink.__exit__(None, None, None)
        self.camera.__exit__(None, None, None)
        if self._error:
            raise self._error

    def _run(self) -> None:
        try:
            self.stats = self.pipeline.run()
        except BaseException as error:
            self._error = error

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", body: bytes | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with names in small letters, and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def json(self, path: str, headers: dict[str, str] | None = None) -> Any:
        status, _, body = self.get(path, headers)
        assert status == 200, (status, body)
        return json.loads(body)

    def raw(self, request: bytes, timeout: float = 20.0) -> bytes:
        """What is answered to bytes, up to the end or 64 KiB."""
        with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
            answer = b""
            try:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                while len(answer) < 65536 and (data := connection.recv(65536)):
                    answer += data
            except ConnectionError:  # it had seen enough
                pass
            return answer

    def watch(self, buffer: int | None = None) -> socket.socket:
        """A connection that has asked for the picture, with a receive buffer of so many bytes."""
        connection = socket.socket()
        if buffer is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", self.port))
        connection.sendall(b"GET /picture.mjpeg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection


def until(true: Any, seconds: float = 20.0) -> None:
    """Waits until something is true, and fails if it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def pictures(connection: socket.socket) -> Iterator[bytes]:
    """The JPEGs of an answer to `LivePage.watch`."""
    stream = connection.makefile("rb")
    while line := stream.readline():
        if line.lower().startswith(b"content-length: "):
            size = int(line.split()[1])
            # The answer is chunked: a picture is one chunk with its head, so nothing cuts it.
            assert stream.readline() == b"\r\n"
            yield stream.read(size)


def token_file(folder: Path) -> tuple[Path, str]:
    """A file with a token's hash, and the token."""
    path = folder / "web-token"
    return path, make_token(path)


def make_certificate(certificate: Path, key: Path) -> None:
    """A certificate of ones own for this machine, and its key."""
    names = "subjectAltName=IP:127.0.0.1,DNS:localhost"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    try:
        subprocess.run(
            [*command, "-addext", names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("openssl is not installed: apt-get install openssl")
