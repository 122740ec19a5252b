"""What the live page stands: broken requests, slow and stuck clients, made-up ones; the camera keeps its rate."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from livepage import LivePage, make_certificate, pictures, token_file, until

from mien.edge.sinks.webpage import app as web_app
from mien.edge.sinks.webpage import server as web_server
from mien.edge.sinks.webpage import streams as web_streams

pytest.importorskip("uvicorn", reason="the live page needs: pip install 'mien[web]'")
pytest.importorskip("starlette", reason="the live page needs: pip install 'mien[web]'")

LEAST = 0.9
"""Share of the camera's frames that must be read: of ten a second, each of which takes a few milliseconds."""

HOST = b"Host: localhost\r\n"
PATHS = [
    f"{start}{rest}"
    for start in ("/", "/api/v1/", "/style.css/", "//", "/picture.mjpeg/")
    for rest in (
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/app.py",
        "..\\..\\app.py",
        "..;/app.py",
        "%00",
        "style.css%00.html",
        "%c0%ae%c0%ae/app.py",
        "%ff%fe",
        "%",
        "a" * 4000,
    )
]
QUERIES = [
    f"/api/v1/{path}"
    for path in (
        *(
            f"events?limit={value}"
            for value in ("", "-1", "0", "1001", "1e3", "x", "%00", "١", "9" * 400, "1.0", "null")
        ),
        *(f"events?after={value}" for value in ("-1", "", "[]", "9" * 30, "1;DROP TABLE events", "' OR 1=1 --")),
        *(
            f"history?{name}={value}"
            for name in ("since", "until")
            for value in (
                "",
                "yesterday",
                "0",
                "NaN",
                "2026-13-01T00:00:00Z",
                "2026-01-31T12:00:00",
                "9" * 100,
                "%ff",
                "{}",
            )
        ),
        *(f"history?step={value}" for value in ("0", "1", "61", "-60", "86401", "inf", "", "60&step=60")),
        "history?stop=60",
        "events?limit[]=1",
        "events?%ff=%ff",
    )
]
BODIES = [
    b"token=" + b"x" * 5000,
    b"token=%ff%fe%00",
    b"&&&===",
    b'{"token": ',
    b"{" * 1000,
    b"\x00" * 100,
    b'--x\r\nContent-Disposition: form-data; name="token"\r\n\r\nx\r\n--x--',
]
AUTHORIZATIONS = [
    b"Bearer",
    b"Bearer ",
    b"Bearer wrong",
    b"Bearer " + b"x" * 8000,
    b"Bearer \xff\xfe",
    b"bearer\ttoken",
    b"Basic bWllbjptaWVu",
    b"Digest username=mien",
    b"Token x",
    b"=",
]
COOKIES = [
    b"mien=",
    b"mien=x",
    b"mien=99999999999." + b"0" * 64,
    b"mien=" + b"9" * 5000 + b".",
    b'mien="99999999999.\\000"',
    b"mien=\xff.\xff",
    b";;;=;",
    b"mien=1; mien=2",
    b"__Host-mien=99999999999." + b"0" * 64,
]


def broken() -> Iterator[bytes]:
    """Requests as bytes that no good client sends."""
    yield from (
        b"",
        b"\r\n\r\n",
        b"\x00\x01\x02\x03" * 50,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 100,  # TLS
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost : localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \xff\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET / HTTP/1.1\n" + HOST + b"bad header\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b": no name\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c: folded\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n\r\n",
        b"G\xc3\x84T / HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n",
        b"A" * 100_000,
    )
    for method in (b"TRACE", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"PROPFIND", b"get", b"X" * 500):
        for path in (b"/", b"/api/v1/faces", b"/picture.mjpeg"):
            yield method + b" " + path + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for header in (
        b"A: " + b"x" * 20_000,
        b"x" * 20_000 + b": a",
        b"\r\n".join(b"H%d: x" % i for i in range(3000)),
        b"Cookie: " + b"a=b; " * 8000,
        b"Range: bytes=99999999999999-",
        b"Range: bytes=" + b"0-1," * 3000,
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: rubbish",
        b"Expect: 100-continue",
        b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13",
        b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
        b"If-None-Match: " + b'"' * 5000,
        b"If-Modified-Since: yesterday",
        b"Accept-Encoding: \xff",
        b"Origin: http://[\r\nSec-Fetch-Site: cross-site",
    ):
        yield b"GET /style.css HTTP/1.1\r\n" + HOST + header + b"\r\n\r\n"
    for path in (*PATHS, *QUERIES):
        yield b"GET " + path.encode().replace(b" ", b"%20") + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for body in BODIES:
        yield b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % len(body) + body
        yield b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (len(body) + 5) + body
        yield b"POST /api/v1/faces HTTP/1.1\r\n" + HOST + b"Content-Length: %d\r\n\r\n" % (len(body) + 5) + body
    for chunk in (
        b"zz\r\nx\r\n0\r\n\r\n",
        b"-1\r\n",
        b"ffffffffffffffffffff\r\nx",
        b"5;" + b"x" * 20_000,
        b"0\r\n\r\n",
    ):
        yield b"POST /login HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + chunk
    for path, value in itertools.product((b"/api/v1/faces", b"/picture.mjpeg"), AUTHORIZATIONS):
        yield b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Authorization: " + value + b"\r\n\r\n"
    for path, value in itertools.product((b"/api/v1/faces", b"/picture.mjpeg"), COOKIES):
        yield b"GET " + path + b" HTTP/1.1\r\n" + HOST + b"Cookie: " + value + b"\r\n\r\n"


def check_rate(page: LivePage) -> None:
    """Nearly every frame that the camera took was read, and none was lost on the way to the sinks."""
    status = page.pipeline.status()
    assert [name for name, count in status.dropped.items() if count and name != "capture"] == []
    assert status.frames >= LEAST * page.camera.due - 2, (status.frames, page.camera.due)  # type: ignore[attr-defined]


def test_broken_requests_get_nothing_and_break_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, token = token_file(tmp_path)
    requests = list(broken())
    assert len(requests) >= 200
    statuses: dict[str, int] = {}
    with LivePage(f"?token={path}", frame_rate=10.0) as page:
        # Again and again, for as long as the camera takes fifty frames.
        for number, request in enumerate(itertools.cycle(requests)):
            if number >= len(requests) and page.camera.due >= 50:  # type: ignore[attr-defined]
                break
            answer = page.raw(request, 5.0)
            status = answer[9:12].decode() if answer.startswith(b"HTTP/1.1 ") else "none"
            statuses[status] = statuses.get(status, 0) + 1
            assert status in ("none", "303") or status.startswith("4") or b"GET /style.css" in request, (
                request[:200],
                answer[:200],
            )
            assert b"root:" not in answer and b"Traceback" not in answer and b'"faces"' not in answer, request[:200]
        # With the token the same paths and queries reach the app itself.
        for path_and_query in (*PATHS, *QUERIES):
            head = f"GET {path_and_query} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
            answer = page.raw(head.encode(), 5.0)
            assert answer[9:10] == b"4", (path_and_query, answer[:200])
        assert page.json("/api/v1/faces", {"Authorization": f"Bearer {token}"})["faces"]
        check_rate(page)
    assert caplog.messages == [], "whoever sends them would fill the log"
    print(f"\n{len(requests)} broken requests, {number} in all: {statuses}; {page.stats}")


def test_slow_clients_hold_no_place_for_long(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(web_server, "OWING", 1.0)
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 20)
    with LivePage() as page:
        slow = [socket.create_connection(("127.0.0.1", page.port), 20) for _ in range(15)]
        for number, connection in enumerate(slow):
            # Some send nothing, some a part of the head or of the body.
            connection.sendall(
                (
                    b"",
                    b"GET / HTTP/1.1\r\nHost: loc",
                    b"POST /login HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\n1",
                )[number % 3]
            )
        assert page.json("/api/v1/faces")["faces"]
        # A byte now and then doesn't help them.
        dripping, open_ones = slow[1::3], len(slow)

        def all_closed() -> bool:
            nonlocal open_ones
            for connection in dripping:
                try:
                    connection.sendall(b"x")
                except ConnectionError:
                    continue
            open_ones = len(page.sink._server._uvicorn.server_state.connections)  # type: ignore[union-attr]
            return open_ones == 0

        until(all_closed)
        for connection in slow:
            connection.close()
        assert page.json("/api/v1/faces")["faces"]
        check_rate(page)
    assert caplog.messages == []


def test_slow_clients_hold_no_place_before_a_key_is_agreed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(web_server, "OWING", 1.0)
    certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
    make_certificate(certificate, key)
    with LivePage(f"?cert={certificate}&key={key}", scheme="https") as page:
        slow = [socket.create_connection(("127.0.0.1", page.port), 20) for _ in range(5)]
        slow[0].sendall(b"\x16\x03\x01")
        until(lambda: len(select.select(slow, (), (), 0)[0]) == 5)  # these were closed
        for connection in slow:
            connection.close()
        check_rate(page)


def test_more_clients_than_the_limit_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_server, "MAX_CONNECTIONS", 20)
    with LivePage() as page:
        many = [socket.create_connection(("127.0.0.1", page.port), 20) for _ in range(40)]
        until(lambda: len(select.select(many, (), (), 0)[0]) == 20)  # these were closed
        for connection in many:
            connection.close()

        def answers() -> bool:
            with contextlib.suppress(ConnectionError):
                return bool(page.json("/api/v1/faces")["faces"])
            return False

        until(answers)
        check_rate(page)


@pytest.mark.parametrize("by", ["server", "kernel"])
def test_a_stuck_viewer_is_dropped_and_slows_nobody(
    by: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(web_streams, "STALL", 1.0 if by == "server" else 60.0)
    monkeypatch.setattr(web_server, "_STUCK", 60_000 if by == "server" else 1000)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (480, 640, 3), np.uint8) for _ in range(4)]  # large as JPEG: buffers fill soon
    with LivePage(images=noise) as page, page.watch(buffer=4096) as stuck, page.watch() as other:
        stream = pictures(other)
        next(stream)
        until(lambda: page.sink._hub.viewers == 2)
        # The stuck one takes nothing; the other one gets its pictures all the while.
        until(lambda: next(stream) and page.sink._hub.viewers == 1)
        next(stream)
        with pytest.raises(ConnectionError):
            while stuck.recv(65536):
                pass
            raise ConnectionError("closed")
        check_rate(page)
    assert caplog.messages == []


def test_a_stuck_listener_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_streams, "STALL", 1.0)
    monkeypatch.setattr(web_streams, "FACES_RATE", 2000.0)
    monkeypatch.setattr(web_server, "_BUFFER", 4096)
    with LivePage(frame_rate=100.0) as page, socket.socket() as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        stuck.connect(("127.0.0.1", page.port))
        stuck.sendall(b"GET /api/v1/stream HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: page.sink._hub.streams == 1)
        until(lambda: page.sink._hub.streams == 0)
        assert page.json("/api/v1/faces")["faces"]


def test_a_run_ends_at_once_and_quietly_though_clients_are_stuck(face_video: Path, bundle: Path) -> None:
    program = Path(sys.executable).with_name("mien")
    command = [str(program), "run", str(face_video), "--loop", "--model", str(bundle), "--sink", "http://127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as run, contextlib.ExitStack() as stack:
        assert run.stderr is not None
        first = run.stderr.readline()
        assert first.startswith("mien: the page is at http://127.0.0.1:")
        port = int(first.rpartition(":")[2])
        for path in ("/picture.mjpeg", "/api/v1/stream", "/picture.mjpeg"):
            stuck = stack.enter_context(socket.socket())
            stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            stuck.connect(("127.0.0.1", port))
            stuck.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert stuck.recv(15) == b"HTTP/1.1 200 OK"
        time.sleep(1)  # until nothing more fits
        run.send_signal(signal.SIGINT)
        words = run.stderr.read()
        assert run.wait(30) == 0
    assert len(words.splitlines()) == 1 and " frames in " in words, words


def test_requests_made_up_from_the_description_find_no_fault(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis", reason="needs: pip install schemathesis")
    program = Path(sys.executable).with_name("schemathesis")
    with LivePage() as page:
        until(lambda: page.json("/api/v1/events")["events"])
        command = [str(program), "run", f"{page.url}/api/v1/openapi.json", "--checks", "all", "-n", "60", "--no-color"]
        # Answers without an end have tests of their own.
        command += ["--exclude-path", "/api/v1/stream", "--exclude-path", "/picture.mjpeg", "--seed", "1"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout
        assert "Tested: 4" in done.stdout
        check_rate(page)
    print(done.stdout[done.stdout.index("Test cases") :])
    assert json.loads((web_app.ASSETS / "openapi.json").read_text())["openapi"] == "3.1.0"
