"""Where the page is served, and how: read from a sink's URI."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from ...errors import ConfigError

PORT = 8080
_OPTIONS = ("cert", "key", "picture", "token")


@dataclass(frozen=True)
class Address:
    """One place to serve at: ``http://127.0.0.1:8080`` or ``https://0.0.0.0:8443?cert=own.pem&key=own.key``."""

    host: str = "127.0.0.1"
    """A name or number, without brackets."""
    port: int = PORT
    """0 takes any that is free."""
    certificate: Path | None = None
    """PEM, with those between it and the root; None: no TLS."""
    key: Path | None = None
    """PEM; None: it is in the certificate's file."""
    picture: bool = True
    """Whether the page has the picture; else only what was read in it."""
    token: Path | None = None
    """The file with the token's hash; None: where `mien token` writes it."""

    @classmethod
    def parse(cls, uri: str) -> Address:
        """The address in a URI; what it leaves out is as above. Raises ConfigError."""
        try:
            parts = urlsplit(uri)
            port = PORT if parts.port is None else parts.port
            pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
        except ValueError as error:
            raise ConfigError(f"sink {uri}: {error}; write http://127.0.0.1:8080") from error
        options = dict(pairs)
        if len(options) < len(pairs) or (unknown := sorted(set(options) - set(_OPTIONS))):
            wrong = f"unknown option {unknown[0]}" if len(options) == len(pairs) else "an option is given twice"
            raise ConfigError(f"sink {uri}: {wrong}; known are {', '.join(_OPTIONS)}")
        if empty := [name for name, value in options.items() if not value]:
            raise ConfigError(f"sink {uri}: {empty[0]} is empty")
        if parts.username is not None or parts.path not in ("", "/") or parts.fragment:
            raise ConfigError(f"sink {uri} must have a host and a port only: write http://127.0.0.1:8080")
        if options.get("picture", "yes") not in ("yes", "no"):
            raise ConfigError(f"sink {uri}: picture must be yes or no")
        if (parts.scheme == "https") != ("cert" in options) or ("key" in options and "cert" not in options):
            raise ConfigError(
                f"sink {uri}: https takes cert=FILE, and key=FILE if that is in a file of its own; http takes neither"
            )
        return cls(
            host=parts.hostname or cls.host,
            port=port,
            certificate=_path(options.get("cert")),
            key=_path(options.get("key")),
            picture=options.get("picture", "yes") == "yes",
            token=_path(options.get("token")),
        )

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def url_for_people(self, port: int) -> str:
        """As `url`, with this machine's name in place of "on every address"."""
        everywhere = self.host in ("0.0.0.0", "::")
        return replace(self, host=socket.gethostname()).url(port) if everywhere else self.url(port)

    def url(self, port: int | None = None) -> str:
        """What to type into a browser; `port` is the one that was taken for 0."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{port or self.port}"


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
