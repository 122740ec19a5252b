"""Each outlet gets stuck while a camera runs: the camera goes on at its rate, and so does every other outlet."""

from __future__ import annotations

import os
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from observations import Camera, Dark, Keeper, OneBox, wait_for
from servers import broker_in

from mien.edge.finder import EveryFrame
from mien.edge.pipeline import Pipeline
from mien.edge.sinks import background, open_sink
from mien.edge.sinks.background import detached
from mien.edge.smoother import Smoother
from mien.edge.sources.video import VideoFile

FRAMES = 250

Stuck = Iterator[tuple[str, Callable[[], None]]]
"""A sink's URI, and what makes it get stuck once the run goes on."""


@contextmanager
def a_log_that_nobody_reads(folder: Path) -> Stuck:
    pipe = folder / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"a line that was there before\n" * 100)
    os.close(writer)
    yield f"jsonl:{pipe}", lambda: None
    os.close(reader)


@contextmanager
def a_disk_that_is_stuck(folder: Path) -> Stuck:
    """Another process holds the database, so that a commit waits as it does for a disk that doesn't answer."""
    held: list[sqlite3.Connection] = []

    def hold() -> None:
        connection = sqlite3.connect(folder / "h.db", isolation_level=None, check_same_thread=False, timeout=20)
        connection.execute("BEGIN IMMEDIATE")
        held.append(connection)

    yield f"history:{folder / 'h.db'}", hold
    for connection in held:
        connection.close()


@contextmanager
def a_broker_that_is_frozen(folder: Path) -> Stuck:
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'mien[mqtt]'")
    with broker_in(folder / "broker") as broker:
        yield f"mqtt://127.0.0.1:{broker.port}?interval=0&spool={folder / 's.db'}", broker.freeze
        broker.thaw()


@contextmanager
def a_broker_behind_a_wall(folder: Path) -> Stuck:
    """It takes connections and never says a word."""
    pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'mien[mqtt]'")
    with socket.create_server(("127.0.0.1", 0)) as wall:
        yield f"mqtt://127.0.0.1:{wall.getsockname()[1]}?spool={folder / 's.db'}", lambda: None


@contextmanager
def scrapers_that_say_nothing(folder: Path) -> Stuck:
    pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'mien[metrics]'")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    clients: list[socket.socket] = []

    def connect() -> None:
        for _ in range(40):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(b"GET /metrics HTTP/1.1\r\nX-Slow: ")
            clients.append(client)

    yield f"metrics://127.0.0.1:{port}", connect
    for client in clients:
        client.close()


OUTLETS = [
    a_log_that_nobody_reads,
    a_disk_that_is_stuck,
    a_broker_that_is_frozen,
    a_broker_behind_a_wall,
    scrapers_that_say_nothing,
]


@pytest.mark.parametrize("outlet", OUTLETS)
def test_it_holds_up_nobody(outlet: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_PATIENCE", 0.2)
    free = Keeper()
    with outlet(tmp_path) as (uri, get_stuck):  # type: ignore[attr-defined]
        with Camera(FRAMES, written=lambda: free.written) as camera, free:
            stuck = detached(open_sink(uri))
            stuck.open()
            smoother = Smoother(("dark",), 0.0, 0.0, 0.0)
            pipeline = Pipeline(camera, EveryFrame(OneBox()), Dark(), smoother, [stuck, free])
            freezer = threading.Timer(0.1, get_stuck)
            freezer.start()
            stats = pipeline.run()
            freezer.join()
            wait_for(lambda: len(free.got) == FRAMES)
        assert stats.frames == FRAMES and stats.dropped == {"capture": 0, "output": 0} and not camera.waited_in_vain
        threading.Thread(target=stuck.close, daemon=True).start()


def test_a_log_that_nobody_reads_really_is_stuck(tmp_path: Path) -> None:
    """Else the first of the above would show nothing."""
    with a_log_that_nobody_reads(tmp_path) as (uri, _), Camera(FRAMES, interval=0.001) as camera:
        stuck = detached(open_sink(uri))
        stuck.open()
        pipeline = Pipeline(camera, EveryFrame(OneBox()), Dark(), Smoother(("dark",), 0.0, 0.0, 0.0), [stuck])
        stats = pipeline.run()
        assert stuck.pending >= stats.frames - 20
        threading.Thread(target=stuck.close, daemon=True).start()


def test_a_file_is_not_detached_from(face_video: Path) -> None:
    """Of a file nothing is dropped, so that its sinks are waited for."""
    assert not VideoFile(face_video).live
