"""An MQTT broker: its address, how it is connected to, and what it keeps of a Mien."""

from __future__ import annotations

import os
import queue
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from .errors import ConfigError, SinkError
from .files import check_private
from .homeassistant import discovery_topics

AT_ONCE = 20
"""Events under way to the broker; few enough for brokers that take only that many."""
_KEEP_ALIVE = 30
"""Seconds: a broker that says nothing for half as much again is gone."""


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
    client.max_inflight_messages_set(AT_ONCE + 20)  # discovery goes beside the events
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
