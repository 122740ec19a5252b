"""Who may see the page: a token that was shown once, and the cookie that a browser gets for it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from pathlib import Path

from ...errors import ConfigError, SinkError

SESSION = 30 * 24 * 3600
"""Seconds for which a browser stays logged in."""
_FILE = "web-token"
_PREFIX = "sha256:"


def token_path() -> Path:
    """Where the token's hash is: the service's state directory, or the user's."""
    if state := os.environ.get("STATE_DIRECTORY"):  # set by systemd; several are parted by colons
        return Path(state.partition(":")[0]) / _FILE
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "mien" / _FILE


def make_token(path: Path) -> str:
    """Makes a token that from now on is the only one, and writes its hash to `path`, for its owner alone.

    Raises SinkError.
    """
    token = secrets.token_urlsafe(24)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".partial-{path.name}")
        partial.unlink(missing_ok=True)
        # Not `write_text`: it would be readable by all until its mode is changed.
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as stream:
            stream.write(f"{_PREFIX}{_hash(token)}\n")
            stream.flush()
            os.fsync(stream.fileno())
            if os.geteuid() == 0:  # made for the service, which must be able to read it
                folder = path.parent.stat()
                os.fchown(stream.fileno(), folder.st_uid, folder.st_gid)
        partial.replace(path)
    except OSError as error:
        raise SinkError(f"can't write {path}: {error.strerror}") from error
    return token


class Access:
    """Checks tokens and sessions against a file, which is read anew each time: a new token counts at once.

    The token has 192 random bits: nobody guesses it, and a plain hash keeps it. A session is the time at which it
    ends with a message authentication code, so the server remembers nothing and a new token ends every session.
    """

    def __init__(self, path: Path) -> None:
        """Raises ConfigError if the file holds no token, or others can read it."""
        self._path = path
        try:
            mode = path.stat().st_mode
            self._stored()
        except FileNotFoundError as error:
            raise ConfigError(f"there is no token in {path}: make one with `mien token`") from error
        except OSError as error:
            raise ConfigError(f"can't read the token in {path}: {error.strerror}") from error
        if mode & 0o077:
            raise ConfigError(f"others can read the token in {path}: chmod 600 {path}, or make one with `mien token`")

    def allows(self, token: str) -> bool:
        """Whether this is the token."""
        return hmac.compare_digest(_hash(token), self._stored_or_none())

    def session(self, now: float | None = None) -> str:
        """A cookie's value for who has shown the token; `now` in seconds since the Epoch."""
        end = str(int((time.time() if now is None else now) + SESSION))
        return f"{end}.{self._sign(end)}"

    def knows(self, session: str, now: float | None = None) -> bool:
        """Whether `session` made this value and it still counts."""
        end, _, signature = session.partition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(end).encode()):
            return False
        return int(end) > (time.time() if now is None else now)

    def _sign(self, end: str) -> str:
        key = self._stored_or_none() or secrets.token_hex()
        return hmac.new(key.encode(), f"mien session {end}".encode(), hashlib.sha256).hexdigest()

    def _stored_or_none(self) -> str:
        try:
            return self._stored()
        except (OSError, ConfigError):
            return ""

    def _stored(self) -> str:
        text = self._path.read_text(encoding="ascii", errors="replace").strip()
        if not text.startswith(_PREFIX) or len(text) != len(_PREFIX) + 64:
            raise ConfigError(f"{self._path} holds no token: make one with `mien token`")
        return text.removeprefix(_PREFIX)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
