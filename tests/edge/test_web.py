"""The live page and its data, as programs and browsers ask for them."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest
from livepage import LivePage, make_certificate, pictures, token_file, until
from typer.testing import CliRunner

from mien.edge.errors import ConfigError, RuntimeMissing, SinkError
from mien.edge.main import app
from mien.edge.sinks import open_sink
from mien.edge.sinks.webpage import app as web_app
from mien.edge.sinks.webpage.access import Access, make_token, token_path
from mien.edge.sinks.webpage.address import Address

pytest.importorskip("uvicorn", reason="the live page needs: pip install 'mien[web]'")
pytest.importorskip("starlette", reason="the live page needs: pip install 'mien[web]'")


class TestAddress:
    def test_what_is_left_out(self) -> None:
        assert Address.parse("http://") == Address("127.0.0.1", 8080)
        assert Address.parse("http://:9000") == Address("127.0.0.1", 9000)
        assert Address.parse("http://[::1]:1?picture=no") == Address("::1", 1, picture=False)
        assert Address.parse("http://[::1]:1").url() == "http://[::1]:1"

    @pytest.mark.parametrize(
        ("uri", "words"),
        [
            ("http://127.0.0.1:99999", "out of range"),
            ("http://127.0.0.1:x", "Port could not be cast"),
            ("http://127.0.0.1:8080/page", "host and a port only"),
            ("http://me:secret@127.0.0.1:8080", "host and a port only"),
            ("http://127.0.0.1?pictures=no", "unknown option pictures; known are cert, key, picture, token"),
            ("http://127.0.0.1?picture=maybe", "picture must be yes or no"),
            ("http://127.0.0.1?picture=no&picture=no", "given twice"),
            ("http://127.0.0.1?token=", "token is empty"),
            ("http://127.0.0.1?cert=a.pem", "https takes cert=FILE"),
            ("https://127.0.0.1", "https takes cert=FILE"),
            ("https://127.0.0.1?key=a.pem", "https takes cert=FILE"),
        ],
    )
    def test_what_is_wrong(self, uri: str, words: str) -> None:
        with pytest.raises(ConfigError, match=words):
            open_sink(uri)

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "[::1]", "localhost"])
    def test_this_machine_alone(self, host: str) -> None:
        assert Address.parse(f"http://{host}").is_loopback

    @pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.168.1.5", "kitchen.local", "localhost.example.org"])
    def test_beyond_this_machine_a_token_is_needed(
        self, host: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
        with pytest.raises(ConfigError, match=r"there is no token in .*web-token: make one with `mien token`"):
            open_sink(f"http://{host}:0")
        make_token(tmp_path / "web-token")
        open_sink(f"http://{host}:0")


def test_says_where_it_is_and_that_http_is_open_to_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    make_token(tmp_path / "web-token")
    with open_sink("http://0.0.0.0:0") as sink:
        first, second = capsys.readouterr().err.splitlines()
        assert first == f"mien: the page is at http://{socket.gethostname()}:{sink.port}"  # type: ignore[attr-defined]
    assert second.startswith("mien: without https")
    with open_sink("http://127.0.0.1:0"):
        assert len(capsys.readouterr().err.splitlines()) == 1


class TestAccess:
    def test_the_token_is_shown_once_and_kept_as_a_hash_for_its_owner(self, tmp_path: Path) -> None:
        path = tmp_path / "state" / "web-token"
        result = CliRunner().invoke(app, ["token", "--file", str(path)])
        assert result.exit_code == 0
        token = result.stdout.strip()
        assert len(token) >= 32 and token not in path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        access = Access(path)
        assert access.allows(token)
        assert not any(access.allows(wrong) for wrong in ("", token[:-1], token + "x", "ü", path.read_text().strip()))

    def test_a_new_token_ends_the_old_one_and_every_session(self, tmp_path: Path) -> None:
        path, token = token_file(tmp_path)
        access = Access(path)
        session = access.session(now=1000.0)
        assert access.knows(session, now=1001.0)
        make_token(path)
        assert not access.allows(token) and not access.knows(session, now=1001.0)

    def test_sessions_end_and_cant_be_made_up(self, tmp_path: Path) -> None:
        access = Access(token_file(tmp_path)[0])
        session = access.session(now=1000.0)
        end, _, signature = session.partition(".")
        assert access.knows(session, now=1000.0 + 29 * 86_400) and not access.knows(session, now=1000.0 + 31 * 86_400)
        for wrong in ("", ".", end, f"{int(end) + 1}.{signature}", f"{end}.{signature[:-1]}", f".{signature}", "ü.ü"):
            assert not access.knows(wrong, now=1000.0)

    def test_without_its_file_nobody_gets_in(self, tmp_path: Path) -> None:
        path, token = token_file(tmp_path)
        access = Access(path)
        session = access.session()
        path.unlink()
        assert not access.allows(token) and not access.knows(session) and not access.allows("")

    def test_a_file_that_others_can_read_or_that_holds_no_token_is_refused(self, tmp_path: Path) -> None:
        path, _ = token_file(tmp_path)
        path.chmod(0o644)
        with pytest.raises(ConfigError, match=r"others can read the token in .*: chmod 600"):
            Access(path)
        path.write_text("secret\n")
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="holds no token"):
            Access(path)

    def test_where_the_token_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/mien:/var/lib/other")
        assert token_path() == Path("/var/lib/mien/web-token")
        monkeypatch.delenv("STATE_DIRECTORY")
        monkeypatch.setenv("XDG_STATE_HOME", "/tmp/state")
        assert token_path() == Path("/tmp/state/mien/web-token")


def happy_seconds(page: LivePage) -> float:
    return sum(step["emotions"].get("happy", 0.0) for step in page.json("/api/v1/history")["steps"])


class TestData:
    def test_faces_are_in_the_logs_form(self) -> None:
        with LivePage() as page:
            faces = page.json("/api/v1/faces")
        assert list(faces) == ["time", "frame", "faces"]
        (face,) = faces["faces"]
        assert face == {
            "id": 1,
            "box": [50, 30, 60, 60],
            "emotion": "happy",
            "confidence": 0.75,
            "scores": {"happy": 0.75, "sad": 0.25},
            "raw": {"emotion": "happy", "confidence": 0.75},
        }

    def test_status_events_and_history(self) -> None:
        with LivePage() as page:
            until(lambda: page.json("/api/v1/events")["events"])
            status = page.json("/api/v1/status")
            events = page.json("/api/v1/events")["events"]
            until(lambda: happy_seconds(page) > 0)
            history = page.json("/api/v1/history")
            assert page.json("/api/v1/events?limit=1")["events"] == events[-1:]
            assert page.json("/api/v1/events?after=1&limit=1")["events"] == events[1:2]
            time = events[0]["time"]
            assert page.json(f"/api/v1/events?until={time}")["events"] == []
            assert page.json(f"/api/v1/history?since={time}&until={time}")["steps"] == []
            long = page.json(f"/api/v1/history?since=2000-01-01T00:00:00Z&until={time}")
        assert [(event["id"], event["event"], event["face"]) for event in events] == [
            (1, "face_appeared", 1),
            (2, "emotion_began", 1),
        ]
        assert status["frames"] >= 1 and status["model"] == "tiny 1" and status["name"] == "kitchen"
        assert status["emotions"] == {"happy": "#f0e442", "sad": "#0072b2", "uncertain": "#ffffff"}
        assert set(status["stages_ms"]) == {"capture", "detect", "classify", "draw", "sink"}
        assert history["step_s"] == 60 and len(history["steps"]) == 60
        assert len(long["steps"]) <= 1501 and long["step_s"] % 60 == 0

    def test_before_the_first_frame_there_is_nothing_in_it(self) -> None:
        with open_sink("http://127.0.0.1:0") as sink:
            with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/api/v1/faces") as answer:  # type: ignore[attr-defined]
                assert json.load(answer) == {"time": None, "frame": None, "faces": []}
            with urllib.request.urlopen(f"http://127.0.0.1:{sink.port}/api/v1/history") as answer:  # type: ignore[attr-defined]
                assert not any(step["frames"] for step in json.load(answer)["steps"])

    def test_the_stream_tells_faces_state_and_events(self) -> None:
        with LivePage() as page, urllib.request.urlopen(f"{page.url}/api/v1/stream", timeout=20) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            seen: dict[str, list[dict[str, object]]] = {}
            while len(seen.get("faces", ())) < 3 or len(seen.get("status", ())) < 2:
                kind = stream.readline().decode().removeprefix("event: ").strip()
                value = json.loads(stream.readline().decode().removeprefix("data: "))
                assert stream.readline() == b"\n"
                seen.setdefault(kind, []).append(value)
        frames = [message["frame"] for message in seen["faces"]]
        assert frames == sorted(set(frames))
        assert seen["faces"][-1]["seconds"]["1"] > seen["faces"][0]["seconds"]["1"]  # type: ignore[index]
        assert seen["status"][0]["version"]

    def test_the_description_has_every_path_of_the_data(self) -> None:
        with LivePage() as page:
            description = page.json("/api/v1/openapi.json")
            assert page.get("/api/v1/stream", method="HEAD")[0] == 200
        assert set(description["paths"]) == {
            *(f"/api/v1/{name}" for name in ("status", "faces", "events", "history", "stream")),
            "/picture.mjpeg",
        }
        assert "{{" not in json.dumps(description)


class TestPicture:
    def test_is_drawn_and_encoded_only_while_somebody_looks(self) -> None:
        with LivePage() as page:
            until(lambda: page.pipeline.status().frames > 5)
            assert page.pipeline.timings("draw") == []
            with page.watch() as connection:
                stream = pictures(connection)
                first, second = next(stream), next(stream)
                connection.shutdown(socket.SHUT_RDWR)
            assert page.pipeline.timings("draw")
            until(lambda: page.sink._hub.viewers == 0)
            drawn = len(page.pipeline.timings("draw"))
            frames = page.pipeline.status().frames
            until(lambda: page.pipeline.status().frames > frames + 5)
            assert len(page.pipeline.timings("draw")) <= drawn + 1
        assert first != second
        picture = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape == (120, 160, 3)
        # The box around the face is yellow, as happy is.
        assert np.abs(picture[60, 50].astype(int) - (66, 228, 240)).max() < 60

    def test_comes_at_a_bounded_rate_and_size(self) -> None:
        images = [np.full((1080, 1920, 3), level, np.uint8) for level in (60, 120)]
        with LivePage(images=images, frame_rate=40.0) as page, page.watch() as connection:
            stream = pictures(connection)
            picture = cv2.imdecode(np.frombuffer(next(stream), np.uint8), cv2.IMREAD_COLOR)
            begin, drawn = page.camera.due, len(page.pipeline.timings("draw"))  # type: ignore[attr-defined]
            for _ in range(10):
                next(stream)
            passed = (page.camera.due - begin) / 40  # type: ignore[attr-defined]
            assert len(page.pipeline.timings("draw")) - drawn <= 10 * passed + 2
        assert picture.shape == (450, 800, 3)

    @pytest.mark.parametrize("how", ["address", "configuration"])
    def test_can_be_left_out(self, how: str) -> None:
        page = LivePage("?picture=no") if how == "address" else LivePage(picture=False)
        with page:
            status, headers, _ = page.get("/picture.mjpeg")
            assert (status, headers["content-type"]) == (404, "application/json")
            assert b'data-picture="no"' in page.get("/")[2]
            assert page.json("/api/v1/faces")["faces"]
            until(lambda: page.pipeline.status().frames > 3)
            assert not page.sink.wants_picture and page.pipeline.timings("draw") == []

    def test_has_no_face_if_faces_are_hidden(self) -> None:
        fine = np.tile(np.indices((120, 160)).sum(0) % 2 * 255, (3, 1, 1)).transpose(1, 2, 0).astype(np.uint8)
        details = []
        for blur in (False, True):
            with LivePage(images=[fine], blur=blur) as page, page.watch() as connection:
                jpeg = next(pictures(connection))
            picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
            details.append(picture[40:75, 60:100].std())
        assert details[0] > 50 and details[1] < 5

    def test_viewers_are_limited(self) -> None:
        with LivePage() as page:
            connections = [page.watch() for _ in range(4)]
            for connection in connections:
                next(pictures(connection))
            status, headers, _ = page.get("/picture.mjpeg")
            assert (status, headers["retry-after"]) == (503, "10")
            connections[0].close()
            until(lambda: page.sink._hub.viewers < 4)
            with page.watch() as connection:
                assert next(pictures(connection)).startswith(b"\xff\xd8")
            for connection in connections:
                connection.close()

    def test_listeners_are_limited(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(web_app, "MAX_STREAMS", 1)
        with LivePage() as page, urllib.request.urlopen(f"{page.url}/api/v1/stream", timeout=20) as stream:
            stream.readline()
            assert page.get("/api/v1/stream")[0] == 503


class TestWhoMaySeeIt:
    def test_with_a_token_alone(self, tmp_path: Path) -> None:
        path, token = token_file(tmp_path)
        with LivePage(f"?token={path}") as page:
            for data in ("status", "faces", "events", "history", "stream", "openapi.json"):
                status, headers, body = page.get(f"/api/v1/{data}")
                assert (status, headers["www-authenticate"]) == (401, "Bearer") and b"faces" not in body
            assert page.get("/picture.mjpeg")[0] == 401
            assert page.get("/page.js")[0] == 401
            status, headers, _ = page.get("/")
            assert (status, headers["location"]) == (303, "/login")
            assert page.json("/api/v1/faces", {"Authorization": f"Bearer {token}"})["faces"]
            assert page.get(f"/api/v1/faces?token={token}")[0] == 401  # addresses end up in logs

    def test_after_logging_in(self, tmp_path: Path) -> None:
        path, token = token_file(tmp_path)
        with LivePage(f"?token={path}") as page:
            assert b'name="token"' in page.get("/login")[2]
            status, headers, body = page.get("/login", method="POST", body=b"token=wrong")
            assert status == 403 and "set-cookie" not in headers and b"That is not the token" in body
            status, headers, _ = page.get("/login", method="POST", body=f"token={token}".encode())
            assert (status, headers["location"]) == (303, "/")
            cookie = headers["set-cookie"]
            assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; ")) and token not in cookie
            session = {"Cookie": cookie.partition(";")[0]}
            assert page.get("/", session)[0] == 200 and page.json("/api/v1/faces", session)["faces"]
            assert page.get("/login", session)[1]["location"] == "/"
            status, headers, _ = page.get("/logout", session, "POST")
            assert (status, headers["location"]) == (303, "/login") and "Max-Age=0" in headers["set-cookie"]

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "[", ""])
    def test_under_no_foreign_name(self, host: str) -> None:
        with LivePage() as page:
            status, _, body = page.get("/api/v1/faces", {"Host": host})
            assert status == 421 and b"localhost" in body
            assert page.get("/api/v1/faces", {"Host": "localhost:1234"})[0] == 200  # through a tunnel

    def test_not_within_another_sites_page(self, tmp_path: Path) -> None:
        path, token = token_file(tmp_path)
        with LivePage(f"?token={path}") as page:
            login = f"token={token}".encode()
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            ):
                assert page.get("/login", headers, "POST", login)[0] == 403
            known = {"Authorization": f"Bearer {token}"}
            embedded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
            assert page.get("/api/v1/faces", known | embedded)[0] == 403
            followed = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
            assert page.get("/", known | followed)[0] == 200
            own = {"Origin": page.url, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
            assert page.get("/login", own, "POST", login)[0] == 303

    def test_every_answer_tells_browsers_what_not_to_do(self, tmp_path: Path) -> None:
        path, _ = token_file(tmp_path)
        with LivePage() as page, LivePage(f"?token={path}") as closed:
            answers = [page.get(p) for p in ("/", "/style.css", "/api/v1/faces", "/nothing")] + [closed.get("/login")]
            answers += [closed.get("/api/v1/faces"), page.get("/", {"Host": "evil.example"})]
        for _, headers, _ in answers:
            policy = headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert "access-control-allow-origin" not in headers and "server" not in headers

    def test_the_notice_and_the_name_are_only_text(self) -> None:
        with LivePage(notice='<script>alert("1")</script> & more') as page:
            body = page.get("/")[2].decode()
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; more" in body and 'alert("' not in body

    def test_with_a_certificate_of_ones_own(self, tmp_path: Path) -> None:
        certificate, key = tmp_path / "own.pem", tmp_path / "own.key"
        make_certificate(certificate, key)
        path, token = token_file(tmp_path)
        with LivePage(f"?cert={certificate}&key={key}&token={path}", scheme="https") as page:
            context = ssl.create_default_context(cafile=certificate)
            request = urllib.request.Request(f"{page.url}/login", f"token={token}".encode())
            opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), NoRedirect())
            answer = opener.open(request, timeout=20)
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-mien=") and "Secure" in cookie
            session = {"Cookie": cookie.partition(";")[0]}
            request = urllib.request.Request(f"{page.url}/api/v1/faces", headers=session)
            assert json.load(opener.open(request, timeout=20))["faces"]
            assert page.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""  # not without TLS

    def test_a_certificate_that_cant_be_used(self, tmp_path: Path) -> None:
        (tmp_path / "bad.pem").write_text("no certificate")
        with pytest.raises(ConfigError, match=r"can't use the certificate in .*bad\.pem"):
            open_sink(f"https://127.0.0.1:0?cert={tmp_path / 'bad.pem'}").open()
        with pytest.raises(ConfigError, match=r"no\.pem: No such file or directory"):
            open_sink(f"https://127.0.0.1:0?cert={tmp_path / 'no.pem'}").open()


class NoRedirect(urllib.request.HTTPErrorProcessor):
    """Gives every answer as it is."""

    def http_response(self, request, response):  # type: ignore[no-untyped-def]
        return response

    https_response = http_response


def test_a_port_that_is_taken() -> None:
    with (
        open_sink("http://127.0.0.1:0") as sink,
        pytest.raises(SinkError, match=r"can't serve at http://127.0.0.1:\d+: Address"),
    ):
        open_sink(f"http://127.0.0.1:{sink.port}").open()  # type: ignore[attr-defined]


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(RuntimeMissing, match=r"sink http: needs uvicorn: pip install 'mien\[web\]'"):
        open_sink("http://127.0.0.1:0")


def test_run_serves_and_ends_cleanly(face_video: Path, bundle: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    options = ["--model", str(bundle), "--sink", "http://127.0.0.1:0", "--sink", f"jsonl:{log}", "--no-picture"]
    result = CliRunner().invoke(app, ["run", str(face_video), *options])
    assert result.exit_code == 0, result.output
    assert len(log.read_text().splitlines()) == 12
