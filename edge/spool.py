"""Messages that wait for their receiver on disk, in order and at most so many."""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from .errors import SinkError


class Message(NamedTuple):
    """One that waits."""

    number: int
    """Rising from one to the next, and never given twice."""
    text: str


class Spool:
    """A queue in an SQLite file of one process and one thread; what isn't removed is there again after a kill.

    It isn't synced at every commit: a power cut may bring back some that were removed just before, or lose some that
    were added, but never changes their order. Who receives them can tell by `token` and number.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """At most `limit` messages wait; the oldest go first. Raises SinkError."""
        self._limit = limit
        self.lost = 0
        """Messages that were removed unsent because too many waited."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
            self._connection = sqlite3.connect(path, timeout=1, check_same_thread=False, isolation_level=None)
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.executescript(
                "CREATE TABLE IF NOT EXISTS messages (number INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL);"
                "CREATE TABLE IF NOT EXISTS token (token TEXT NOT NULL);"
            )
            if not (found := self._connection.execute("SELECT token FROM token").fetchone()):
                found = (secrets.token_hex(4),)
                self._connection.execute("INSERT INTO token VALUES (?)", found)
            self.token: str = found[0]
            """Tells this file's numbers from those of another one in its place."""
            self._count: int
            (self._count,) = self._connection.execute("SELECT count(*) FROM messages").fetchone()
        except (OSError, sqlite3.Error) as error:
            hint = "is it in use by another Mien?" if "locked" in str(error) else "move it away, or name another one"
            raise SinkError(f"can't use the spool {path}: {error}: {hint}") from error

    def __len__(self) -> int:
        return self._count

    def add(self, texts: Iterable[str]) -> None:
        """Puts messages at the end. Raises sqlite3.Error, and then has put none there."""
        rows = [(text,) for text in texts]
        excess = max(0, self._count + len(rows) - self._limit)
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT INTO messages (text) VALUES (?)", rows)
            if excess:
                self._connection.execute(
                    "DELETE FROM messages WHERE number IN (SELECT number FROM messages ORDER BY number LIMIT ?)",
                    (excess,),
                )
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        self._count += len(rows) - excess
        self.lost += excess

    def first(self, limit: int, after: int = 0) -> list[Message]:
        """The first messages after number `after`."""
        rows = self._connection.execute(
            "SELECT number, text FROM messages WHERE number > ? ORDER BY number LIMIT ?", (after, limit)
        )
        return [Message(*row) for row in rows]

    def remove(self, number: int) -> None:
        """Forgets the message, if it is still there."""
        self._count -= self._connection.execute("DELETE FROM messages WHERE number = ?", (number,)).rowcount

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
