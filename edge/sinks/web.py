"""A live page: what is read now, on any phone or computer that may see it."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2

from ..errors import SinkError
from ..history import History
from ..overlay import colour_of
from ..recorder import Recorder
from ..records import UNCERTAIN, Image, Observation
from ..status import Status, iso_time
from .background import BackgroundSink
from .webpage.access import Access, token_path
from .webpage.address import Address
from .webpage.app import make_app
from .webpage.hub import PICTURE_RATE, Hub
from .webpage.server import Server

_LONGEST_SIDE = 800
"""Of the picture that is sent, pixels: a page shows it no larger."""
_QUALITY = 75
"""Of its JPEG, up to 100."""
_WAITING = 8
"""Observations that may wait, some with pictures."""
_HOUR = 3600.0
_STORE_EVERY, _PRUNE_EVERY = 2.0, 60.0
"""Seconds."""


class WebSink(BackgroundSink):
    """Serves the page and its data; draws, encodes and sends pictures only while somebody looks.

    What the page tells of the last hour is kept in memory.
    """

    def __init__(
        self, uri: str, frame_rate: float = 0.0, name: str = "Mien", notice: str = "", picture: bool = True
    ) -> None:
        """`uri` is described in `Address`; without `picture` no image is served, whatever the URI says.

        Raises ConfigError, ModuleNotFoundError without the extra's libraries.
        """
        for library in ("starlette", "uvicorn"):  # they are imported for good when the sink is opened
            importlib.import_module(library)
        super().__init__(_WAITING)
        address = Address.parse(uri)
        self._address = replace(address, picture=picture and address.picture)
        # Whoever reaches this machine's own address is on it; from elsewhere only those come in who have the token.
        needs_token = not self._address.is_loopback or self._address.token is not None
        self._access = Access(self._address.token or token_path()) if needs_token else None
        self._texts = {"name": name, "notice": notice, "picture": "yes" if self._address.picture else "no"}
        self._hub = Hub()
        self._history: History | None = None
        self._server: Server | None = None
        self._status: Callable[[], Status] | None = None
        self._since: dict[int, float] = {}
        """Face → when its emotion began, seconds since the Epoch."""
        self._next_picture = self._next_store = self._next_prune = 0.0

    @property
    def wants_picture(self) -> bool:  # type: ignore[override]
        """Whether somebody looks, and a picture is due."""
        return self._address.picture and self._hub.viewers > 0 and time.monotonic() >= self._next_picture

    @property
    def port(self) -> int:
        """On which it serves; once open, the one that was taken for 0."""
        return self._server.port if self._server else self._address.port

    @property
    def pictures(self) -> int:
        """That were encoded so far."""
        return self._hub.picture[0]

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def open(self) -> None:
        self._history = History(None)
        self._recorder = Recorder(self._history)
        app = make_app(self._hub, self, self._address, self._access, self._texts)
        self._server = Server(app, self._address)
        self._server.start()
        print(f"mien: the page is at {self._address.url_for_people(self.port)}", file=sys.stderr)
        if not self._address.is_loopback and not self._address.certificate:
            print("mien: without https whoever shares the network can read the token and the picture", file=sys.stderr)
        super().open()

    def write(self, observation: Observation, picture: Image | None = None) -> None:
        super().write(observation, picture)
        if picture is not None:
            self._next_picture = time.monotonic() + 1 / PICTURE_RATE

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        for event in self._recorder.update(observation):
            if event.kind == "emotion_began":
                self._since[event.face] = event.time
            elif event.kind == "face_left":
                self._since.pop(event.face, None)
        now = observation.frame.time
        seconds = {reading.face.id: now - self._since[reading.face.id] for reading in observation.readings}
        self._hub.publish(observation, seconds, encode(picture) if picture is not None else None)
        self._store(now)

    def close(self) -> None:
        self._hub.close()
        super().close()
        if self._server is not None:
            self._server.stop()
        self._server = None
        if self._history is not None and not self.stuck:
            self._history.close()
            self._history = None

    def _store(self, now: float) -> None:
        assert self._history is not None
        if time.monotonic() >= self._next_store:
            self._recorder.store()
            self._next_store = time.monotonic() + _STORE_EVERY
        if time.monotonic() >= self._next_prune:
            self._history.prune((_HOUR + 60) / 86_400, 100.0, now)
            self._next_prune = time.monotonic() + _PRUNE_EVERY

    # What the app asks for, in threads of the server.

    def status(self) -> dict[str, Any]:
        """The run's state, with each emotion's colour as the overlay has it."""
        about = {"name": self._texts["name"], "notice": self._texts["notice"]}
        if self._status is None:  # the run hasn't begun
            return about
        status = self._status()
        colours = {name: _hex(colour_of(name, status.labels)) for name in (*status.labels, UNCERTAIN)}
        return {**status.to_json(), **about, "emotions": colours}

    def events(self, since: float | None, until: float | None, limit: int, after: int | None) -> list[dict[str, Any]]:
        """Events with their numbers, in order."""
        if self._history is None:
            return []
        found = self._history.events(since, until, limit, after)
        return [{"id": number, **event.to_json()} for number, event in found]

    def history(self, since: float, until: float, step: int) -> list[dict[str, Any]]:
        """One row a step, the empty ones too."""
        if self._history is None:
            return []
        rows = self._history.timeline(since, until, step)
        for row in rows:
            row["time"] = iso_time(row["time"])
            row["watched_s"] = round(row["watched_s"], 2)
            row["fps"] = None if row["fps"] is None else round(row["fps"], 2)
            row["emotions"] = {emotion: round(seconds, 2) for emotion, seconds in row["emotions"].items()}
        return rows


def encode(picture: Image) -> bytes:
    """A picture uint8 [H, W, 3] as JPEG, made smaller if it is larger than the page shows it. Raises SinkError."""
    scale = _LONGEST_SIDE / max(picture.shape[:2])
    if scale < 1:
        size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    good, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, _QUALITY))
    if not good:
        raise SinkError("OpenCV can't encode the picture")
    return data.tobytes()


def _hex(colour: tuple[int, int, int]) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
