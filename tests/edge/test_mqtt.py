"""MQTT against a real mosquitto that is killed, frozen, restarted, and refuses."""

from __future__ import annotations

import json
import logging
import signal
import stat
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from observations import NOON, STATUS, seen, wait_for
from servers import Broker, Cable, broker_in, program

pytest.importorskip("paho.mqtt", reason="paho-mqtt is not installed: pip install 'mien[mqtt]'")

from mien.edge.broker import Address, forget, without_secret
from mien.edge.errors import ConfigError, SinkError
from mien.edge.homeassistant import discovery, discovery_topics
from mien.edge.sinks import open_sink
from mien.edge.sinks.mqtt import MqttSink, dominant
from mien.edge.spool import Spool

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")


class Listener:
    """Keeps all that a broker says, in order; goes on over a restart of a broker that keeps its sessions."""

    def __init__(self, port: int, topic: str = "#", name: str = "listener") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.got: list[tuple[str, bytes, bool]] = []
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, qos=2)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _, __, message: self.got.append(
            (message.topic, message.payload, message.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def messages(self, kind: str) -> list[Any]:
        """What came under mien/kitchen/KIND."""
        payloads = [payload for topic, payload, _ in self.got if topic == f"mien/kitchen/{kind}"]
        return [json.loads(payload) if payload.startswith(b"{") else payload.decode() for payload in payloads]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with broker_in(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where spools are."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    return tmp_path / "state"


def sink_to(port: int, query: str = "", scheme: str = "mqtt") -> MqttSink:
    sink = MqttSink(f"{scheme}://127.0.0.1:{port}{query}", name="kitchen")
    sink.name = "mqtt"
    sink.attach(lambda: STATUS)
    return sink


def come_and_go(sink: MqttSink, first: int, last: int) -> None:
    """Face after face, each seen once; four events for each but the last one, which is still there."""
    for number in range(first, last + 1):
        sink.write(seen(NOON + 10 * number, (number, "happy")), None)
        time.sleep(0.002)


def arrived(listener: Listener) -> list[int]:
    return [event["face"] for event in listener.messages("event") if event["event"] == "face_appeared"]


def test_states_events_and_presence(folder: Path, broker: Broker) -> None:
    with Listener(broker.port) as listener:
        with sink_to(broker.port, "?interval=0") as sink:
            wait_for(lambda: listener.messages("availability") == ["online"])
            sink.write(seen(NOON, (1, "happy"), (2, "sad"), (3, "sad")), None)
            wait_for(lambda: len(listener.messages("state")) == 1)
            sink.write(seen(NOON + 1, (1, "happy")), None)
            sink.write(seen(NOON + 2), None)
            sink.write(seen(NOON + 5), None)
            wait_for(lambda: len(listener.messages("state")) == 3 and len(sink._spool) == 0)
        assert listener.messages("state") == [
            {"time": "2027-01-15T08:00:00.000Z", "emotion": "sad", "confidence": 0.75, "faces": 3, "fps": 12.3},
            {"time": "2027-01-15T08:00:01.000Z", "emotion": "happy", "confidence": 0.75, "faces": 1, "fps": 12.3},
            {"time": "2027-01-15T08:00:02.000Z", "emotion": None, "confidence": None, "faces": 0, "fps": 12.3},
        ]
        wait_for(lambda: listener.messages("availability") == ["online", "offline"])
        events = listener.messages("event")
        assert [event["event"] for event in events].count("face_left") == 3
        assert all(event["mien"] == "kitchen" for event in events)
        assert len({event["id"] for event in events}) == len(events) == 12
    assert sink.errors == 0
    with Listener(broker.port, "mien/#", "late") as late:
        wait_for(lambda: len(late.got) == 2)
        assert sorted((topic, retain) for topic, _, retain in late.got) == [
            ("mien/kitchen/availability", True),
            ("mien/kitchen/state", True),
        ]


def test_a_state_that_changes_often_is_sent_seldom(folder: Path, broker: Broker) -> None:
    with Listener(broker.port) as listener, sink_to(broker.port, "?interval=0.5") as sink:
        wait_for(lambda: listener.messages("availability"))
        start = time.monotonic()
        for i in range(100):
            sink.write(seen(NOON + i / 100, (1, "happy" if i % 2 else "sad")), None)
            time.sleep(0.01)
        allowed = (time.monotonic() - start) / 0.5 + 1
        wait_for(lambda: listener.messages("state"))
        assert 1 <= len(listener.messages("state")) <= allowed
        wait_for(lambda: listener.messages("state")[-1]["emotion"] == "happy"), "the last one is always sent"


def test_home_assistant_finds_it_and_forgets_it(folder: Path, broker: Broker) -> None:
    with sink_to(broker.port) as sink:
        sink.write(seen(NOON, (1, "happy")), None)
        wait_for(lambda: sink._connected)
    with Listener(broker.port) as listener:
        wait_for(lambda: len(listener.got) == 7)
        found = {topic: json.loads(payload) for topic, payload, retain in listener.got if topic.endswith("/config")}
        assert set(found) == set(discovery_topics("homeassistant", "kitchen").values())
        emotion = found["homeassistant/sensor/kitchen/emotion/config"]
        assert emotion["device_class"] == "enum" and emotion["options"] == ["happy", "sad", "uncertain", "nobody"]
        assert emotion["device"]["identifiers"] == ["kitchen"] and emotion["device"]["model"] == "tiny 1"
        assert emotion["availability_topic"] == "mien/kitchen/availability" and emotion["expire_after"] > 60
        assert all(each["device"] == emotion["device"] and each["origin"]["name"] == "Mien" for each in found.values())
        assert len({each["unique_id"] for each in found.values()}) == 5
        assert found["homeassistant/binary_sensor/kitchen/online/config"]["payload_on"] == "online"
    result = subprocess.run(
        [MIEN, "mqtt", "forget", f"mqtt://127.0.0.1:{broker.port}", "--name", "kitchen"], capture_output=True, text=True
    )
    assert result.returncode == 0 and "kitchen is forgotten" in result.stdout, result.stderr
    with Listener(broker.port, name="another") as listener:
        time.sleep(0.3)
        assert listener.got == []


def test_a_broker_that_answers_before_the_run_begins_is_told_later(folder: Path, broker: Broker) -> None:
    with Listener(broker.port, "homeassistant/#") as listener:
        with MqttSink(f"mqtt://127.0.0.1:{broker.port}", name="kitchen") as sink:
            wait_for(lambda: sink._connected)
            assert not sink._announced
            sink.attach(lambda: STATUS)
            sink.write(seen(NOON), None)
            wait_for(lambda: len(listener.got) == 5)
        with MqttSink(f"mqtt://127.0.0.1:{broker.port}?discovery=", name="hall") as sink:
            sink.attach(lambda: STATUS)
            wait_for(lambda: sink._announced)
        time.sleep(0.2)
        assert len(listener.got) == 5, "who wants none gets none"


def test_the_templates_say_what_the_state_holds() -> None:
    jinja = pytest.importorskip("jinja2", reason="jinja2 is not installed")
    found = discovery("kitchen", "s", "a", ["happy"], "m", "v", 180)

    def value(entity: str, **state: Any) -> str:
        template: str = jinja.Template(found[entity]["value_template"]).render(value_json=state)
        return template

    assert value("emotion", emotion="happy") == "happy" and value("emotion", emotion=None) == "nobody"
    assert value("confidence", confidence=0.5) == "50.0" and value("confidence", confidence=None) == "None"
    assert value("faces", faces=2) == "2" and value("fps", fps=9.5) == "9.5"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("persistent", [True, False])
def test_a_broker_that_goes_and_comes_back_gets_all_in_order_and_nothing_twice(
    folder: Path, tmp_path: Path, number: signal.Signals, persistent: bool
) -> None:
    with broker_in(tmp_path / "broker", persistent=persistent) as broker:
        listener = Listener(broker.port, "mien/kitchen/#")
        with listener, sink_to(broker.port) as sink:
            come_and_go(sink, 1, 20)
            wait_for(lambda: arrived(listener) == list(range(1, 21)))
            wait_for(lambda: len(sink._spool) == 0)
            broker.stop(number)
            come_and_go(sink, 21, 120)
            wait_for(lambda: len(sink._spool) > 300 and sink.errors >= 1)
            broker.start()
            # Who listens must be there again before the events are, else a broker without a memory drops them.
            wait_for(lambda: len(sink._spool) == 0, 60)
            if persistent and number == signal.SIGTERM:
                wait_for(lambda: arrived(listener) == list(range(1, 121)))
            come_and_go(sink, 121, 130)
            wait_for(lambda: arrived(listener)[-1:] == [130])
        wait_for(lambda: listener.messages("availability")[-1] == "offline")
        events = listener.messages("event")
        numbers = [int(event["id"].partition("-")[2]) for event in events]
        assert numbers == sorted(set(numbers)), "in order, and nothing twice"
        if persistent and number == signal.SIGTERM:
            assert numbers == list(range(1, 4 * 130 + 1)), "and all of them"


def test_a_cable_that_is_cut_again_and_again_loses_nothing_and_repeats_nothing(folder: Path, broker: Broker) -> None:
    with Listener(broker.port, "mien/kitchen/event") as listener, Cable(broker.port) as cable:
        with sink_to(cable.port) as sink:
            for round in range(6):
                wait_for(lambda: sink._connected)
                begin = 50 * round
                for number in range(begin + 1, begin + 51):
                    come_and_go(sink, number, number)
                    if number == begin + 10 + 7 * round:
                        cable.cut()
                wait_for(lambda: not sink._connected or len(sink._spool) == 0)
            wait_for(lambda: len(sink._spool) == 0)
        wait_for(lambda: len(listener.got) >= 4 * 300)
        numbers = [int(event["id"].partition("-")[2]) for event in listener.messages("event")]
        assert numbers == list(range(1, 4 * 300 + 1)) and sink.errors >= 4


def test_what_a_broker_without_a_memory_never_read_comes_once(folder: Path, tmp_path: Path) -> None:
    with broker_in(tmp_path / "broker", persistent=False) as broker, sink_to(broker.port) as sink:
        for round in range(3):
            wait_for(lambda: sink._connected and len(sink._spool) == 0)
            broker.freeze()
            come_and_go(sink, 10 * round + 1, 10 * round + 6)
            wait_for(lambda: len(sink._under_way) > 15)
            broker.kill()
            broker.start()
            with Listener(broker.port, "mien/kitchen/event", str(round)) as listener:
                wait_for(lambda: sink._connected and len(sink._spool) == 0)
                time.sleep(0.3)
                numbers = [int(event["id"].partition("-")[2]) for event in listener.messages("event")]
                assert numbers == sorted(set(numbers)) and len(numbers) > 15


def test_a_broker_that_is_killed_in_mid_sentence_gets_again_what_was_under_way(folder: Path, tmp_path: Path) -> None:
    """Nobody can know what it had passed on: that may come twice, and the ids tell."""
    with broker_in(tmp_path / "broker", persistent=False) as broker:
        log: list[int] = []
        with sink_to(broker.port) as sink:
            for round in range(4):
                with Listener(broker.port, "mien/kitchen/event") as listener:
                    wait_for(lambda: sink._connected, 60)
                    begin = len(log)
                    come_and_go(sink, 100 * round + 1, 100 * round + 60)
                    if round < 3:
                        broker.stop(signal.SIGKILL)
                    else:
                        wait_for(lambda: len(sink._spool) == 0)
                        time.sleep(0.3)
                    log += [int(event["id"].partition("-")[2]) for event in listener.messages("event")]
                    assert sorted(set(log[begin:])) == list(dict.fromkeys(log[begin:]))
                if round < 3:
                    broker.start()
        assert len(set(log)) > 200
        assert len(log) - len(set(log)) <= 3 * 20, "at most what was under way at each kill"


def test_a_broker_that_listens_but_says_nothing_holds_up_nobody(folder: Path, broker: Broker) -> None:
    with sink_to(broker.port) as sink:
        wait_for(lambda: sink._connected)
        broker.freeze()
        start = time.monotonic()
        for number in range(1, 2000):
            sink.write(seen(NOON + 10 * number, (number, "happy")), None)
        longest = time.monotonic() - start
        wait_for(lambda: sink.pending == 0 or sink.dropped > 0)
        broker.thaw()
    assert longest < 5 and len(sink._under_way) <= 20


def test_a_run_that_was_killed_is_followed_by_one_that_sends_the_rest(folder: Path, tmp_path: Path) -> None:
    broker = Broker(tmp_path / "b") if (tmp_path / "b").mkdir() is None else None
    assert broker
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from test_mqtt import *\n"
        "sink = sink_to(int(sys.argv[1])); sink.open(); come_and_go(sink, 1, 30)\n"
        "wait_for(lambda: len(sink._spool) >= 4 * 29); print('ready', flush=True); os.kill(os.getpid(), 9)"
    )
    command = [sys.executable, "-c", code, str(broker.port), str(Path(__file__).parent)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.stdout == "ready\n", result.stderr
    broker.start()
    try:
        with Listener(broker.port) as listener, sink_to(broker.port) as sink:
            come_and_go(sink, 31, 40)
            wait_for(lambda: arrived(listener) == list(range(1, 41)))
        ids = [event["id"] for event in listener.messages("event")]
        assert len(set(ids)) == len(ids)
    finally:
        broker.stop()


def test_the_last_will_says_that_it_is_gone(folder: Path, broker: Broker) -> None:
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[2]); from test_mqtt import *\n"
        "sink = sink_to(int(sys.argv[1])); sink.open(); wait_for(lambda: sink._connected)\n"
        "time.sleep(0.5); os.kill(os.getpid(), 9)"
    )
    with Listener(broker.port) as listener:
        subprocess.run([sys.executable, "-c", code, str(broker.port), str(Path(__file__).parent)], timeout=60)
        wait_for(lambda: listener.messages("availability") == ["online", "offline"])


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Broker]:
    """A broker that knows one user, whose password is s3:cret."""
    folder = tmp_path / "guarded"
    folder.mkdir()
    users = folder / "users"
    users.touch()
    subprocess.run([program("mosquitto_passwd", "mosquitto"), "-b", users, "me", "s3:cret"], check=True)
    with broker_in(folder, "allow_anonymous false", f"password_file {users}") as broker:
        yield broker


def secret(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def test_user_and_password_from_a_file(folder: Path, guarded: Broker, tmp_path: Path) -> None:
    file = secret(tmp_path / "secret", "me:s3:cret\n")
    with sink_to(guarded.port, f"?credentials={file}") as sink:
        wait_for(lambda: sink._connected)
    alone = secret(tmp_path / "alone", "s3:cret\n")
    with MqttSink(f"mqtt://me@127.0.0.1:{guarded.port}?credentials={alone}") as sink:
        wait_for(lambda: sink._connected)
    assert forget(f"mqtt://127.0.0.1:{guarded.port}?credentials={file}", "kitchen")


def test_credentials_as_systemd_hands_them_over(
    folder: Path, guarded: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given").mkdir()
    secret(tmp_path / "given" / "mqtt", "me:s3:cret", 0o440)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "given"))
    with sink_to(guarded.port) as sink:
        wait_for(lambda: sink._connected)


def test_a_wrong_password_is_told_and_nothing_is_lost(
    folder: Path, guarded: Broker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = secret(tmp_path / "secret", "me:wrong")
    with caplog.at_level(logging.WARNING, "mien"), sink_to(guarded.port, f"?credentials={file}") as sink:
        come_and_go(sink, 1, 3)
        wait_for(lambda: sink.errors >= 1)
        wait_for(lambda: len(sink._spool) >= 8)
        assert not sink._connected
    assert f"mqtt: the broker 127.0.0.1:{guarded.port} refuses: Not authorized" in caplog.text
    assert "wrong" not in caplog.text
    with pytest.raises(SinkError, match="refuses: Not authorized: check the credentials"):
        forget(f"mqtt://127.0.0.1:{guarded.port}?credentials={file}", "kitchen")


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = secret(tmp_path / "secret", "me:s3:cret", mode)
    with pytest.raises(ConfigError, match=r"holds a secret that others can read or change: chmod 600"):
        Address.parse(f"mqtt://host?credentials={file}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate of 127.0.0.1 by it, and another authority."""
    openssl, folder = program("openssl", "openssl"), tmp_path_factory.mktemp("certificates")

    def run(*arguments: str) -> None:
        subprocess.run([openssl, *arguments], check=True, capture_output=True, cwd=folder)

    for name in ("ca", "other"):
        subject = ["-subj", f"/CN=Mien test {name}", "-addext", "keyUsage=critical,keyCertSign"]
        run("req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", f"{name}.key", "-out", f"{name}.pem")
    run("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", "broker.key", "-out", "broker.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    signing = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
    run("x509", "-req", "-in", "broker.csr", *signing, "-out", "broker.pem")
    return folder


def test_tls(folder: Path, tmp_path: Path, certificates: Path, caplog: pytest.LogCaptureFixture) -> None:
    options = [f"certfile {certificates / 'broker.pem'}", f"keyfile {certificates / 'broker.key'}"]
    with broker_in(tmp_path / "tls", *options) as broker:
        with sink_to(broker.port, f"?ca={certificates / 'ca.pem'}", "mqtts") as sink:
            come_and_go(sink, 1, 5)
            wait_for(lambda: sink._connected and len(sink._spool) == 0)
        assert sink.errors == 0
        with sink_to(broker.port, f"?ca={certificates / 'other.pem'}", "mqtts") as sink:
            come_and_go(sink, 1, 5)
            wait_for(lambda: sink.errors >= 1)
            wait_for(lambda: len(sink._spool) >= 16)
            assert not sink._connected
        assert f"can't reach the broker 127.0.0.1:{broker.port}" in caplog.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("mqtt:host", "sink mqtt:host is no address: write mqtt://HOST"),
        ("mqtt:", "sink mqtt: names no host: write mqtt://HOST"),
        ("mqtt://", "names no broker"),
        ("mqtt://host/prefix", "names no broker"),
        ("mqtt://host:port", "is no address"),
        ("mqtt://host?retain=1", "unknown option retain"),
        ("mqtt://host?interval=often", "interval is 0 to 3600 seconds"),
        ("mqtt://host?interval=nan", "interval is 0 to 3600 seconds"),
        ("mqtt://host?ca=/etc/hosts", "ca is for mqtts://"),
        ("mqtts://host?ca=/gone", "ca names no file"),
        ("mqtt://host?credentials=/gone", "can't read /gone: No such file"),
    ],
)
def test_addresses_that_are_none(uri: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        open_sink(uri)
    assert words in str(error.value)


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="put it into a file") as error:
        open_sink("mqtt://me:s3cret@host")
    assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigError) as error:
        open_sink("mqtt://me:s3cret@host:x")
    assert "s3cret" not in str(error.value)


def test_the_dominant_emotion() -> None:
    assert dominant(seen(NOON)) == (None, None)
    assert dominant(seen(NOON, (1, "sad"), (2, "happy"), (3, "happy"))) == ("happy", 0.75)


class TestSpool:
    def test_what_is_not_removed_is_there_again(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "s.db", 10)
        spool.add(["a", "b", "c"])
        spool.remove(1)
        token = spool.token
        spool.close()
        spool = Spool(tmp_path / "s.db", 10)
        assert [tuple(each) for each in spool.first(9)] == [(2, "b"), (3, "c")]
        assert len(spool) == 2 and spool.token == token
        spool.remove(2), spool.remove(3), spool.remove(3)
        assert len(spool) == 0
        spool.add(["d"])
        assert spool.first(9)[0].number == 4, "no number is given twice"
        assert stat.S_IMODE((tmp_path / "s.db").stat().st_mode) & 0o007 == 0
        spool.close()

    def test_too_many_push_the_oldest_out(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "s.db", 5)
        for i in range(9):
            spool.add([str(i)])
        assert [each.text for each in spool.first(9)] == list("45678")
        assert (len(spool), spool.lost) == (5, 4)
        assert [each.text for each in spool.first(2, after=6)] == list("67")
        spool.close()

    def test_two_processes_cannot_have_one(self, tmp_path: Path) -> None:
        spool = Spool(tmp_path / "s.db", 5)
        spool.add(["a"])
        with pytest.raises(SinkError, match="is it in use by another Mien"):
            Spool(tmp_path / "s.db", 5)
        spool.close()

    def test_a_file_that_is_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "s.db").write_bytes(b"something else" * 100)
        with pytest.raises(SinkError, match="not a database: move it away"):
            Spool(tmp_path / "s.db", 5)


def test_the_brokers_name_is_not_asked_for_before_it_is_needed(folder: Path) -> None:
    """A host that can't be found, or a broker that isn't there yet, is no reason not to start."""
    with MqttSink("mqtt://no.such.host.invalid", name="kitchen") as sink:
        sink.write(seen(NOON, (1, "happy")), None)
        wait_for(lambda: sink.errors >= 1)
        wait_for(lambda: len(sink._spool) == 2)
    assert without_secret("mqtt://me:pw@host?x=1") == "mqtt://host?x=1"
