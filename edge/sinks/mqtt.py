"""States and events over MQTT, with Home Assistant's discovery.

    mqtt://[user@]host[:port]  or  mqtts://…    with a query of any of
    credentials=FILE         "user:password", or the password alone if the address has the user; a file that no others
                             may read. Without it systemd's credential "mqtt" is taken, if there is one
    ca=FILE                  the certificates that the broker's is checked against; by default the system's
    interval=1               least seconds between two states
    discovery=homeassistant  the prefix that Home Assistant listens to; empty for none
    spool=FILE               where events wait while the broker is gone; limit=10000 of them at most

Topics are mien/NAME/state (retained JSON, when it changes), mien/NAME/availability (retained, online or offline, which
the broker says itself when the connection breaks) and mien/NAME/event (JSON, one an event).

An event is removed from the spool when the broker has taken it for good (QoS 2). The broker remembers the connection's
state over a break, so that nothing is sent twice. Where it forgot that, or this process was killed, an event of which
it is not known whether it arrived is sent again: its id tells. None is lost but those that the spool has no room for.
"""

from __future__ import annotations

import json
import os
import queue
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConfigError, SinkError
from ..events import Event, EventDetector
from ..files import check_private, state_folder
from ..homeassistant import discovery, discovery_topics
from ..records import Image, Observation
from ..spool import Spool
from ..status import Status, iso_time
from .background import BackgroundSink

_KEEP_ALIVE = 30
"""Seconds: a broker that says nothing for half as much again is gone."""
_HEARTBEAT = 60.0
"""Seconds after which the state is sent though it didn't change."""
_SESSION = 86_400
"""Seconds for which the broker shall remember a broken connection."""
_AT_ONCE = 20
"""Events under way to the broker; few enough for brokers that take only that many."""
_PATIENCE = 3.0
"""Seconds to send at the end what is left; the rest waits in the spool for the next run."""


@dataclass(frozen=True)
class Address:
    """A broker, and how to use it."""

    host: str
    port: int
    tls: bool
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    interval: float = 1.0
    discovery: str = "homeassistant"
    spool: Path | None = None
    limit: int = 10_000

    @classmethod
    def parse(cls, uri: str) -> Address:
        """Raises ConfigError."""
        try:
            parts = urlsplit(uri)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"{without_secret(uri)} is no address: {error}") from error
        if not parts.hostname or parts.path not in ("", "/"):
            raise ConfigError(f"{without_secret(uri)} names no broker: write mqtt://host or mqtts://host:8883")
        if parts.password is not None:
            raise ConfigError(
                f"{without_secret(uri)} has a password that others can see: put it into a file that only you can "
                "read, and write ?credentials=FILE"
            )
        tls = parts.scheme == "mqtts"
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if unknown := set(options) - {"credentials", "ca", "interval", "discovery", "spool", "limit"}:
            raise ConfigError(f"{uri}: unknown option {min(unknown)}: see the sink's documentation")
        if "ca" in options and not (tls and Path(options["ca"]).is_file()):
            raise ConfigError(f"{uri}: ca names no file" if tls else f"{uri}: ca is for mqtts://")
        user, password = unquote(parts.username) if parts.username else None, None
        if (file := _credentials(options)) is not None:
            user, password = _read_credentials(file, user)
        try:
            interval, limit = float(options.get("interval", 1.0)), int(options.get("limit", 10_000))
            if not (0 <= interval <= 3600 and 1 <= limit <= 1_000_000):
                raise ValueError
        except ValueError:
            raise ConfigError(f"{uri}: interval is 0 to 3600 seconds, limit 1 to 1000000 events") from None
        return cls(
            host=parts.hostname,
            port=port or (8883 if tls else 1883),
            tls=tls,
            user=user,
            password=password,
            ca=options.get("ca"),
            interval=interval,
            discovery=options.get("discovery", "homeassistant").strip("/"),
            spool=Path(options["spool"]).expanduser() if options.get("spool") else None,
            limit=limit,
        )

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def without_secret(uri: str) -> str:
    """An address as messages may show it."""
    scheme, _, rest = uri.partition("://")
    host = rest.rpartition("@")[2]
    return f"{scheme}://{host}"


def _credentials(options: dict[str, str]) -> Path | None:
    if "credentials" in options:
        return Path(options["credentials"]).expanduser()
    # As systemd hands them over: LoadCredential=mqtt:/etc/mien/mqtt
    if folder := os.environ.get("CREDENTIALS_DIRECTORY"):
        path = Path(folder) / "mqtt"
        return path if path.exists() else None
    return None


def _read_credentials(file: Path, user: str | None) -> tuple[str | None, str]:
    check_private(file)
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"can't read the credentials {file}: {error}") from error
    if user is not None:
        return user, text
    name, colon, password = text.partition(":")
    if not (name and colon):
        raise ConfigError(f"the credentials {file} must be one line, user:password")
    return name, password


def topics(name: str) -> tuple[str, str, str]:
    """Where a Mien's state, availability and events are."""
    return f"mien/{name}/state", f"mien/{name}/availability", f"mien/{name}/event"


def make_client(address: Address, name: str) -> Any:
    """A paho client that isn't connected yet. Raises SinkError."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

    client = Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=MQTTProtocolVersion.MQTTv5)
    client.max_inflight_messages_set(_AT_ONCE + 20)  # discovery goes beside the events
    client.reconnect_delay_set(1, 30)
    client.connect_timeout = 10.0
    if address.user is not None:
        client.username_pw_set(address.user, address.password)
    if address.tls:
        try:
            client.tls_set(ca_certs=address.ca, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        except (OSError, ValueError) as error:
            raise SinkError(f"can't use the certificates of {address}: {error}") from error
    return client


def connect(client: Any, address: Address, seconds_remembered: int) -> None:
    """Starts to connect, and goes on trying, in the client's own thread."""
    from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.properties import Properties

    properties = Properties(PacketTypes.CONNECT)
    properties.SessionExpiryInterval = seconds_remembered
    client.connect_async(
        address.host,
        address.port,
        keepalive=_KEEP_ALIVE,
        clean_start=MQTT_CLEAN_START_FIRST_ONLY,
        properties=properties,
    )
    client.loop_start()


def dominant(observation: Observation) -> tuple[str | None, float | None]:
    """The emotion that the faces in view show most, by their confidences; and the mean confidence of those faces."""
    found: dict[str, list[float]] = {}
    for reading in observation.readings:
        found.setdefault(reading.emotion, []).append(reading.confidence)
    if not found:
        return None, None
    emotion = max(found, key=lambda each: sum(found[each]))
    return emotion, sum(found[emotion]) / len(found[emotion])


class MqttSink(BackgroundSink):
    """Publishes to one broker; see the module. All but paho's callbacks runs in the sink's own thread."""

    def __init__(self, target: str, frame_rate: float = 0.0, name: str = "mien") -> None:
        """`target` is the address, `name` the Mien's id. Raises ConfigError."""
        super().__init__()
        self._address, self._id = Address.parse(target), name
        self._state_topic, self._availability, self._event_topic = topics(name)
        make_client(self._address, name)  # so that a library or certificate that is missing is told at once
        self._status: Callable[[], Status] | None = None
        self._told: queue.SimpleQueue[tuple[int, str, Any]] = queue.SimpleQueue()
        """(generation of the client, what happened, with what), from paho's thread."""
        self._generation = 0
        self._connected = self._was_connected = False
        self._under_way: dict[int, int] = {}
        """paho's number of a message → the spool's."""
        self._last_sent = 0
        self._detector = EventDetector()
        self._latest: Observation | None = None
        self._state: tuple[Any, ...] | None = None
        self._next_state = self._next_heartbeat = 0.0
        self._unspooled: list[Event] = []
        self._closing = False

    def attach(self, status: Callable[[], Status]) -> None:
        self._status = status

    def open(self) -> None:
        default = state_folder() / f"mqtt-{self._id}-{self._address.host}-{self._address.port}.db"
        self._spool = Spool(self._address.spool or default, self._address.limit)
        self._start()
        super().open()

    def deliver(self, observation: Observation, picture: Image | None) -> None:
        self._latest = observation
        self._unspooled += self._detector.update(observation)
        self._turn()

    def idle(self) -> None:
        self._turn()

    def finish(self) -> None:
        self._closing = True
        if self._latest is not None:
            self._unspooled += self._detector.finish(self._latest.frame.time)
        deadline = time.monotonic() + _PATIENCE
        self._turn()
        while self._connected and len(self._spool) and time.monotonic() < deadline:
            time.sleep(0.02)
            self._turn()
        if self._connected:
            info = self._client.publish(self._availability, "offline", qos=1, retain=True)
            while not info.is_published() and time.monotonic() < deadline:
                time.sleep(0.02)
        self._client.disconnect()
        self._spool.close()

    def _start(self) -> None:
        """Makes a new client, of which the broker remembers nothing."""
        self._generation += 1
        self._connected = self._was_connected = False
        self._under_way.clear()
        self._last_sent = 0
        generation = self._generation
        client = self._client = make_client(self._address, self._id)

        def tell(what: str, detail: Any = None) -> None:
            self._told.put((generation, what, detail))

        # In paho's thread, which holds locks of its own meanwhile: only tell.
        client.on_connect = lambda _, __, flags, reason, ___: tell("connected", (reason, flags.session_present))
        client.on_connect_fail = lambda *_: tell("unreachable")
        client.on_disconnect = lambda _, __, ___, reason, ____: tell("disconnected", reason)
        client.on_publish = lambda _, __, number, reason, ____: tell("published", (number, reason))
        client.will_set(self._availability, "offline", qos=1, retain=True)
        connect(client, self._address, _SESSION)

    def _turn(self) -> None:
        """Takes in what paho told, and sends what is due."""
        if self._unspooled:
            del self._unspooled[: -self._address.limit]
            self._spool.add(json.dumps(event.to_json(), ensure_ascii=False) for event in self._unspooled)
            self._unspooled = []  # not before: a full disk may have room again later
        while not self._told.empty():
            generation, what, detail = self._told.get()
            if generation == self._generation:
                self._take(what, detail)
        if self._connected:
            self._send_events()
            self._send_state()
        # What waited while the broker was gone doesn't wait for frames too.
        self.idle_after = 0.05 if self._connected and len(self._spool) else 1.0

    def _take(self, what: str, detail: Any) -> None:
        if what == "connected":
            reason, remembered = detail
            if reason.is_failure:
                self.report(SinkError(f"the broker {self._address} refuses: {reason}"))
            elif remembered != self._was_connected:
                # It forgot what was under way, or remembers what an earlier process had: begin afresh.
                self._client.disconnect()
                self._start()
            else:
                self._connected = self._was_connected = True
                self._greet()
        elif what == "published":
            number, reason = detail
            if (spooled := self._under_way.pop(number, None)) is not None:
                if reason.is_failure:
                    self.report(SinkError(f"the broker {self._address} refuses an event: {reason}"))
                self._spool.remove(spooled)
        elif what == "disconnected":
            if self._connected and not self._closing:
                self.report(SinkError(f"lost the broker {self._address}: {detail}; events wait in the spool"))
            self._connected = False
        else:
            self.report(SinkError(f"can't reach the broker {self._address}; events wait in the spool"))

    def _greet(self) -> None:
        """Says what this Mien is, and that it is there."""
        if self._address.discovery and self._status is not None:
            status = self._status()
            configurations = discovery(
                self._id,
                self._state_topic,
                self._availability,
                status.labels,
                status.model,
                status.version,
                round(3 * _HEARTBEAT + self._address.interval),
            )
            paths = discovery_topics(self._address.discovery, self._id)
            for entity, configuration in configurations.items():
                self._client.publish(paths[entity], json.dumps(configuration), qos=1, retain=True)
        self._client.publish(self._availability, "online", qos=1, retain=True)
        self._state, self._next_state = None, 0.0

    def _send_events(self) -> None:
        room = _AT_ONCE - len(self._under_way)
        for message in self._spool.first(room, self._last_sent) if room else []:
            payload = {**json.loads(message.text), "mien": self._id, "id": f"{self._spool.token}-{message.number}"}
            info = self._client.publish(self._event_topic, json.dumps(payload, ensure_ascii=False), qos=2)
            self._under_way[info.mid] = message.number
            self._last_sent = message.number

    def _send_state(self) -> None:
        now = time.monotonic()
        if self._latest is None or now < self._next_state:
            return
        emotion, confidence = dominant(self._latest)
        # A confidence that trembles is no change.
        state = (emotion, len(self._latest.readings), None if confidence is None else round(20 * confidence))
        if state == self._state and now < self._next_heartbeat:
            return
        values = {
            "time": iso_time(self._latest.frame.time),
            "emotion": emotion,
            "confidence": None if confidence is None else round(confidence, 2),
            "faces": len(self._latest.readings),
            "fps": round(self._status().fps, 1) if self._status is not None else None,
        }
        self._client.publish(self._state_topic, json.dumps(values, ensure_ascii=False), qos=0, retain=True)
        self._state, self._next_state, self._next_heartbeat = state, now + self._address.interval, now + _HEARTBEAT


def forget(uri: str, name: str, timeout: float = 15.0) -> list[str]:
    """Removes all that the broker keeps of a Mien; gives the topics. Raises ConfigError, SinkError."""
    address = Address.parse(uri)
    client = make_client(address, f"{name}-forget")
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()
    client.on_connect = lambda _, __, ___, reason, ____: answers.put(str(reason) if reason.is_failure else "")
    connect(client, address, 0)
    deadline = time.monotonic() + timeout
    try:
        try:
            refusal = answers.get(timeout=timeout)
        except queue.Empty:
            raise SinkError(f"can't reach the broker {address}: is it running, and the address right?") from None
        if refusal:
            raise SinkError(f"the broker {address} refuses: {refusal}: check the credentials")
        paths = [*discovery_topics(address.discovery, name).values()] if address.discovery else []
        paths += topics(name)[:2]
        sent = [client.publish(path, b"", qos=1, retain=True) for path in paths]
        while not all(info.is_published() for info in sent):
            if time.monotonic() > deadline:
                raise SinkError(f"the broker {address} doesn't confirm: try again")
            time.sleep(0.02)
        return paths
    finally:
        client.disconnect()
        client.loop_stop()
