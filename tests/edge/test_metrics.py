"""Metrics as a real Prometheus scrapes them, and what the address does with those who aren't one."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sysconfig
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
from observations import NOON, STATUS, seen, wait_for
from servers import free_port, program, wait_for_port

pytest.importorskip("prometheus_client", reason="prometheus-client is not installed: pip install 'mien[metrics]'")

from mien.edge.errors import ConfigError, SinkError
from mien.edge.sinks import metrics, open_sink
from mien.edge.sinks.metrics import MetricsSink
from mien.edge.status import Histogram

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")
DASHBOARD = Path(__file__).resolve().parents[2] / "docs" / "grafana.json"


def latency() -> Histogram:
    histogram = Histogram()
    for value in (0.4, 3.0, 3.0, 2000.0):
        histogram.add(value)
    return histogram


FULL = replace(
    STATUS,
    dropped={"capture": 3, "output": 0, "video": 7},
    queue_depth={"output": 1, "video": 2},
    sink_errors={"mqtt": 5},
    temperature_c=51.2,
    throttled="under-voltage now",
    camera_restarts=2,
    latencies={"detect": latency()},
)


@pytest.fixture
def sink() -> Iterator[MetricsSink]:
    sink = MetricsSink("metrics://127.0.0.1:0", name="kitchen")
    sink.attach(lambda: FULL)
    with sink:
        yield sink


def scrape(sink: MetricsSink, path: str = "/metrics", **headers: str) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{sink.port}{path}", headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return str(answer.read().decode())


def values(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"^(mien\S*(?:\{[^}]*\})?) (\S+)$", text, re.MULTILINE)}


def test_every_figure(sink: MetricsSink) -> None:
    for i in range(5):
        sink.write(seen(NOON + i / 2, (1, "happy"), *([(2, "sad")] if i >= 3 else [])), None)
    sink.write(seen(NOON + 60, (3, "happy")), None)  # nobody knows what was in between
    found = values(scrape(sink))
    assert found['mien_emotion_seconds_total{emotion="happy"}'] == 2.0
    assert found['mien_emotion_seconds_total{emotion="sad"}'] == 1.0
    assert found["mien_faces_total"] == 3 and found["mien_faces_in_view"] == 1
    assert found["mien_frames_total"] == 10 and found["mien_inferences_total"] == 10
    assert found['mien_dropped_total{where="video"}'] == 7 and found['mien_queue_depth{queue="video"}'] == 2
    assert found['mien_sink_errors_total{sink="mqtt"}'] == 5 and found["mien_camera_restarts_total"] == 2
    assert found["mien_temperature_celsius"] == 51.2 and found["mien_throttled"] == 1
    assert found["mien_frames_per_second"] == 12.34
    assert found['mien_stage_seconds_bucket{le="0.0005",stage="detect"}'] == 1
    assert found['mien_stage_seconds_bucket{le="0.005",stage="detect"}'] == 3
    assert found['mien_stage_seconds_bucket{le="+Inf",stage="detect"}'] == 4
    assert found['mien_stage_seconds_count{stage="detect"}'] == 4
    assert found['mien_stage_seconds_sum{stage="detect"}'] == pytest.approx(2.0064)
    assert found['mien_info{model="tiny 1",name="kitchen",source="a camera",version="0.1.0"}'] == 1


def test_before_the_run_and_on_a_machine_that_tells_little() -> None:
    with MetricsSink("metrics://localhost:0") as sink:
        assert values(scrape(sink)) == {"mien_faces_in_view": 0.0, "mien_faces_total": 0.0}
        sink.attach(lambda: STATUS)
        found = values(scrape(sink))
        assert "mien_frames_total" in found and "mien_temperature_celsius" not in found


def test_faces_that_come_together_are_all_counted(sink: MetricsSink) -> None:
    sink.write(seen(NOON, (4, "sad"), (2, "sad"), (3, "sad")), None)
    assert values(scrape(sink))["mien_faces_total"] == 3


@pytest.mark.parametrize("path", ["/", "/metrics/..", "/etc/passwd", "/metrics/x"])
def test_elsewhere_is_nothing(sink: MetricsSink, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as error:
        scrape(sink, path)
    assert error.value.code == 404


def test_a_token(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    file.chmod(0o600)
    with MetricsSink(f"metrics://127.0.0.1:0?token={file}") as sink:
        for headers in ({}, {"Authorization": "Bearer 0123456789abcdee"}, {"Authorization": "Bearer ä"}):
            with pytest.raises((urllib.error.HTTPError, UnicodeEncodeError)) as error:
                scrape(sink, **headers)
            assert getattr(error.value, "code", 401) == 401
        assert "mien_faces" in scrape(sink, Authorization="Bearer 0123456789abcdef")


def test_strange_and_slow_clients_leave_it_answering(sink: MetricsSink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics._Handler, "timeout", 0.5)
    slow = [socket.create_connection(("127.0.0.1", sink.port)) for _ in range(30)]
    for connection in slow:
        connection.sendall(b"GET /metr")
    for words in (b"\0" * 5000, b"GET " + b"/x" * 40_000 + b"\r\n\r\n", b"\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", sink.port)) as connection:
            connection.sendall(words)

    def answers() -> bool:
        try:
            return "mien_frames_total" in scrape(sink)
        except OSError:
            return False

    wait_for(answers)  # as soon as the slow ones have had their time
    for connection in slow:
        connection.close()


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("metrics://0.0.0.0:9464", "beyond this machine a token is demanded"),
        ("metrics://[::]:9464", "beyond this machine a token is demanded"),
        ("metrics://127.0.0.1:x", "is no address"),
        ("metrics://127.0.0.1/other", "write metrics://127.0.0.1:9464"),
        ("metrics://127.0.0.1?password=1", "write metrics://127.0.0.1:9464"),
        ("metrics:9464", "is no address: write metrics://HOST:PORT"),
        ("metrics://127.0.0.1?token=/gone", "can't read /gone"),
    ],
)
def test_addresses_that_are_none(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_sink(uri)
    assert words in str(error.value)


def test_where_it_is_if_nobody_says() -> None:
    for uri in ("metrics:", "metrics://", "metrics://127.0.0.1/metrics"):
        assert metrics._parse(uri) == ("127.0.0.1", 9464, None)
    assert metrics._parse("metrics://[::1]:99") == ("::1", 99, None)


def test_the_newer_protocol_too() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        sink = MetricsSink("metrics://[::1]:0")
        sink.open()
    except SinkError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with urllib.request.urlopen(f"http://[::1]:{sink.port}/metrics", timeout=10) as answer:
        assert answer.status == 200
    sink.close()


def test_tokens_that_are_none(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("short")
    file.chmod(0o600)
    with pytest.raises(ConfigError, match="too short: openssl rand -hex 32"):
        MetricsSink(f"metrics://0.0.0.0?token={file}")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read"):
        MetricsSink(f"metrics://0.0.0.0?token={file}")


def test_a_port_that_is_taken(sink: MetricsSink) -> None:
    with pytest.raises(SinkError, match=r"can't listen at 127\.0\.0\.1"), open_sink(f"metrics://127.0.0.1:{sink.port}"):
        pass


def ask(port: int, path: str, **query: str) -> dict:  # type: ignore[type-arg]
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.loads(answer.read())["data"]  # type: ignore[no-any-return]


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


def test_a_real_prometheus_scrapes_a_real_run(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    server, port, scraped = program("prometheus", "prometheus"), free_port(), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        f'scrape_configs: [{{job_name: mien, static_configs: [{{targets: ["127.0.0.1:{scraped}"]}}]}}]\n'
    )
    run = [MIEN, "run", str(face_video), "--loop", "--model", str(bundle), "--sink", f"metrics://127.0.0.1:{scraped}"]
    mien = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    prometheus = subprocess.Popen(
        [
            server,
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, prometheus)
        wait_for(lambda: is_ready(port))

        def value(query: str) -> float:
            result = ask(port, "query", query=query)["result"]
            return float(result[0]["value"][1]) if result else 0.0

        wait_for(lambda: value('up{job="mien"}') == 1, 30)
        wait_for(lambda: value("sum(rate(mien_frames_total[5s]))") > 5, 30)
        wait_for(lambda: value("histogram_quantile(0.9, sum by (le) (rate(mien_stage_seconds_bucket[5s])))") > 0, 30)
        assert value("mien_faces_total") >= 2 and value("sum(mien_emotion_seconds_total)") > 0
        (target,) = ask(port, "targets")["activeTargets"]
        assert target["health"] == "up" and target["lastError"] == ""
        for query in dashboard_queries():  # an answer of 400 would raise
            ask(port, "query", query=query.replace("$__rate_interval", "30s").replace("$instance", ".*"))
        mien.send_signal(signal.SIGTERM)
        assert mien.wait(20) == 0
    finally:
        for process in (mien, prometheus):
            process.kill()
            process.communicate()


def dashboard_queries() -> list[str]:
    if not DASHBOARD.exists():
        return []  # the wheel's tests have no docs
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


@pytest.mark.skipif(not DASHBOARD.exists(), reason="about the checkout, which isn't here")
def test_the_dashboard_shows_every_figure(sink: MetricsSink) -> None:
    sink.write(seen(NOON, (1, "happy")), None)
    names = {name.partition("{")[0] for name in values(scrape(sink))}
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in names if not name.endswith("_created")}
    shown = {re.sub(r"_bucket$", "", name) for query in dashboard_queries() for name in re.findall(r"mien_\w+", query)}
    assert shown == names
    dashboard = json.loads(DASHBOARD.read_text())
    assert dashboard["title"] == "Mien" and dashboard["__inputs"][0]["pluginId"] == "prometheus"
    places = [tuple(panel["gridPos"].values()) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places) and len({panel["id"] for panel in dashboard["panels"]}) == len(places)
