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
import queue
import time
from collections.abc import Callable
from typing import Any

from ..broker import AT_ONCE, Address, connect, make_client, topics
from ..errors import SinkError
from ..events import Event, EventDetector
from ..files import state_folder
from ..homeassistant import discovery, discovery_topics
from ..records import Image, Observation
from ..spool import Spool
from ..status import Status, iso_time
from .background import BackgroundSink

_HEARTBEAT = 60.0
"""Seconds after which the state is sent though it didn't change."""
_SESSION = 86_400
"""Seconds for which the broker shall remember a broken connection."""
_PATIENCE = 3.0
"""Seconds to send at the end what is left; the rest waits in the spool for the next run."""


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
        self._connected = False
        self._under_way: dict[int, int] = {}
        """paho's number of a message → the spool's."""
        self._last_sent = 0
        self._detector = EventDetector()
        self._latest: Observation | None = None
        self._state: tuple[Any, ...] | None = None
        self._next_state = self._next_heartbeat = 0.0
        self._unspooled: list[Event] = []
        self._closing = self._announced = False

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
        self._connected = False
        self._under_way.clear()
        self._last_sent = 0
        generation = self._generation
        client = self._client = make_client(self._address, self._id)

        known = False
        """Whether the broker should remember this client."""

        def tell(what: str, detail: Any = None) -> None:
            self._told.put((generation, what, detail))

        def on_connect(_: Any, __: Any, flags: Any, reason: Any, ___: Any) -> None:
            nonlocal known
            if reason.is_failure:
                tell("refused", reason)
            elif flags.session_present != known:
                # The broker forgot what was under way, or remembers what an earlier process had. Left alone paho would
                # send again what it has, beside the next client: its goodbye goes out before that.
                client.disconnect()
                tell("forgotten")
            else:
                known = True
                tell("connected")

        # In paho's thread, which holds locks of its own meanwhile: only tell.
        client.on_connect = on_connect
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
            if not self._announced and self._status is not None:  # a broker may answer before the run has begun
                self._announce(self._status())
            self._send_events()
            self._send_state()
        # What waited while the broker was gone doesn't wait for frames too.
        self.idle_after = 0.05 if self._connected and len(self._spool) else 1.0

    def _take(self, what: str, detail: Any) -> None:
        if what == "connected":
            self._connected = True
            self._greet()
        elif what == "refused":
            self.report(SinkError(f"the broker {self._address} refuses: {detail}"))
        elif what == "forgotten":
            self._start()
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
        """Says that this Mien is there."""
        self._client.publish(self._availability, "online", qos=1, retain=True)
        self._announced, self._state, self._next_state = False, None, 0.0

    def _announce(self, status: Status) -> None:
        """Tells Home Assistant what it is."""
        self._announced = True
        if not self._address.discovery:
            return
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

    def _send_events(self) -> None:
        room = AT_ONCE - len(self._under_way)
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
