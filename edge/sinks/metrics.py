"""Figures for Prometheus, at an address of their own.

    metrics://[host][:port]    by default 127.0.0.1:9464; the figures are at /metrics
    ?token=FILE                "Authorization: Bearer TOKEN" is demanded, and must be beyond the loopback interface

All but the seconds of each emotion is asked of the run when somebody scrapes: without a scraper it costs next to
nothing.
"""

from __future__ import annotations

import hmac
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from ..errors import ConfigError, SinkError
from ..files import check_private
from ..records import Image, Observation
from ..status import BUCKETS_MS, Status
from .base import Sink

_PORT = 9464
_LONGEST = 2.0
"""Seconds between two frames; what is longer doesn't count for the emotions."""
_AT_ONCE = 8
"""Requests that are answered at the same time; more are turned away."""


class MetricsSink(Sink):
    """Answers Prometheus in threads of its own."""

    may_be_detached = False  # `write` never waits

    def __init__(self, target: str, frame_rate: float = 0.0, name: str = "mien") -> None:
        """`target` is the address, `name` the Mien's. Raises ConfigError."""
        from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app

        self._host, self._port, self._token = _parse(target)
        self._id = name
        self._status: Callable[[], Status] | None = None
        self._server: WSGIServer | None = None
        self._seconds: dict[str, float] = {}
        """Emotion → seconds, summed over all faces."""
        self._in_view = self._came = self._newest = 0
        self._last: float | None = None
        registry = CollectorRegistry()
        registry.register(self)
        ProcessCollector(registry=registry)
        self._answer = make_wsgi_app(registry)

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def open(self) -> None:
        try:
            server = _Server6 if ":" in self._host else _Server
            self._server = make_server(self._host, self._port, self._serve, server, _Handler)
        except OSError as error:
            raise SinkError(f"can't listen at {self._host}:{self._port}: {error.strerror}") from error
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens; another than it was told if that was 0."""
        assert self._server is not None
        return int(self._server.server_port)

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        now = observation.frame.time
        passed = 0.0 if self._last is None else now - self._last
        self._last = now
        passed = passed if 0 <= passed <= _LONGEST else 0.0
        for reading in observation.readings:
            self._seconds[reading.emotion] = self._seconds.get(reading.emotion, 0.0) + passed
            if reading.face.id > self._newest:  # numbers rise, and none is given twice
                self._came += 1
        self._newest = max([self._newest, *(reading.face.id for reading in observation.readings)])
        self._in_view = len(observation.readings)

    def close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()

    def describe(self) -> list[Any]:
        """Nothing: so that registering asks for no figures."""
        return []

    def collect(self) -> Iterator[Any]:
        """The figures, as prometheus-client asks for them at each scrape."""
        from prometheus_client.core import CounterMetricFamily as Counter
        from prometheus_client.core import GaugeMetricFamily as Gauge
        from prometheus_client.core import HistogramMetricFamily as Histogram
        from prometheus_client.core import InfoMetricFamily as Info

        def labelled(kind: Any, name: str, words: str, label: str, values: dict[str, Any]) -> Any:
            family = kind(name, words, labels=[label])
            for key, value in values.items():
                family.add_metric([key], value)
            return family

        yield labelled(
            Counter, "mien_emotion_seconds", "Seconds of each emotion, over all faces.", "emotion", self._seconds.copy()
        )
        yield Gauge("mien_faces_in_view", "Faces in the latest frame.", self._in_view)
        yield Counter("mien_faces", "Faces that came.", self._came)
        if self._status is None:
            return
        status = self._status()
        yield Info(
            "mien",
            "What runs.",
            {"name": self._id, "version": status.version, "model": status.model, "source": status.source},
        )
        yield Gauge("mien_uptime_seconds", "Since the run began.", status.uptime_s)
        yield Counter("mien_frames", "Frames that were read.", status.frames)
        yield Gauge("mien_frames_per_second", "Over the last few seconds.", status.fps)
        yield Counter("mien_inferences", "Faces that were read, in all frames.", status.faces)
        yield labelled(Counter, "mien_dropped", "Frames and observations left out.", "where", status.dropped)
        yield labelled(Gauge, "mien_queue_depth", "Observations that wait.", "queue", status.queue_depth)
        yield labelled(Counter, "mien_sink_errors", "Times that a sink failed.", "sink", status.sink_errors)
        yield Counter("mien_camera_restarts", "Times that the source was opened anew.", status.camera_restarts)
        stages = Histogram("mien_stage_seconds", "How long each stage of a frame took.", labels=["stage"])
        for stage, histogram in status.latencies.items():
            total, buckets = 0, []
            for end, count in zip([*(f"{ms / 1000:g}" for ms in BUCKETS_MS), "+Inf"], histogram.counts, strict=True):
                total += count
                buckets.append((end, total))
            stages.add_metric([stage], buckets, histogram.total_ms / 1000)
        yield stages
        if status.temperature_c is not None:
            yield Gauge("mien_temperature_celsius", "Of the processor.", status.temperature_c)
        if status.throttled is not None:
            yield Gauge("mien_throttled", "1 while the processor is held back.", int(" now" in status.throttled))

    def _serve(self, environment: dict[str, Any], start: Callable[..., Any]) -> Any:
        if self._token is not None:
            given = str(environment.get("HTTP_AUTHORIZATION", "")).encode("utf-8", "surrogateescape")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                start("401 Unauthorized", [("Content-Type", "text/plain"), ("WWW-Authenticate", "Bearer")])
                return [b"a token is required\n"]
        if environment.get("PATH_INFO") != "/metrics" or environment.get("REQUEST_METHOD") not in ("GET", "HEAD"):
            start("404 Not Found", [("Content-Type", "text/plain")])
            return [b"the figures are at /metrics\n"]
        return self._answer(environment, start)


class _Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread, and few at once."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._places = threading.BoundedSemaphore(_AT_ONCE)
        super().__init__(*arguments)

    def server_bind(self) -> None:
        # WSGIServer would look the host's name up, which can take long without a network.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 5.0
    """Seconds for a client to say what it wants, and to take the answer."""

    def log_message(self, format: str, *arguments: Any) -> None:
        """Scrapes aren't logged."""


def _parse(uri: str) -> tuple[str, int, bytes | None]:
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"{uri} is no address: {error}") from error
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if set(options) - {"token"} or parts.path not in ("", "/", "/metrics") or parts.username:
        raise ConfigError(f"{uri}: write metrics://127.0.0.1:{_PORT}, or metrics://0.0.0.0:{_PORT}?token=FILE")
    host, token = parts.hostname or "127.0.0.1", None
    if "token" in options:
        path = Path(options["token"]).expanduser()
        check_private(path)
        token = path.read_bytes().strip()
        if len(token) < 16:
            raise ConfigError(f"the token in {path} is too short: openssl rand -hex 32 > {path}")
    if token is None and not _is_loopback(host):
        raise ConfigError(f"{uri}: beyond this machine a token is demanded: add ?token=FILE")
    return host, _PORT if port is None else port, token


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
