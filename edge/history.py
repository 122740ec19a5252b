"""What happened, kept on disk: events and a row a minute in SQLite, without any picture.

One process writes; any number read meanwhile (write-ahead log). A commit is on the disk before it returns
(synchronous=FULL): after a power cut what was committed is there, and the database opens. That costs one fsync a
commit, so the writer commits at most once a second, when there is an event, and twice a minute otherwise.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time as clock
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from .errors import SinkError
from .events import Event
from .files import state_folder

VERSION = 1
"""Of the tables, kept in the database's user_version."""
_TABLES = """
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- never given twice, so that a reader can go on after one
    time REAL NOT NULL,                   -- seconds since the epoch, UTC
    kind TEXT NOT NULL,
    face INTEGER NOT NULL,                -- unique within one run
    emotion TEXT,
    duration REAL                         -- seconds
);
CREATE INDEX events_by_time ON events (time);
CREATE TABLE minutes (
    minute INTEGER PRIMARY KEY,           -- its begin, seconds since the epoch
    frames INTEGER NOT NULL,
    watched REAL NOT NULL,                -- seconds in which frames came
    faces INTEGER NOT NULL                -- that appeared
);
CREATE TABLE emotions (
    minute INTEGER NOT NULL,
    emotion TEXT NOT NULL,
    seconds REAL NOT NULL,                -- summed over all faces
    PRIMARY KEY (minute, emotion)
) WITHOUT ROWID;
"""


@dataclass
class Minute:
    """What one minute adds up to, or the part of it since it was last stored."""

    minute: int
    """Its begin, seconds since the epoch."""
    frames: int = 0
    watched: float = 0.0
    """Seconds in which frames came."""
    faces: int = 0
    """That appeared."""
    emotions: dict[str, float] = field(default_factory=dict)
    """Emotion → seconds, summed over all faces."""


class History:
    """Events and minutes in an SQLite file, or in memory; may be used from several threads."""

    def __init__(self, path: Path | None, read_only: bool = False) -> None:
        """Makes the file unless `read_only`; its folder must exist. Raises SinkError, which says what to do."""
        self._path, self._lock = path, threading.RLock()
        if path is not None and read_only and not path.is_file():
            raise SinkError(f"no history at {path}: mien run … --sink history:{path} writes one")
        try:
            if path is None:
                self._connection = sqlite3.connect(":memory:", check_same_thread=False)
            elif read_only:
                self._connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            else:
                # Made first, so that nobody but its owner and group reads who came and went.
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640))
                self._connection = sqlite3.connect(path, timeout=10, check_same_thread=False)
            self._connection.isolation_level = None  # transactions are begun by hand
            self._prepare(read_only)
        except (OSError, sqlite3.Error) as error:
            raise SinkError(f"can't use the history {path}: {_words(error)}") from error

    def _prepare(self, read_only: bool) -> None:
        (found,) = self._connection.execute("PRAGMA user_version").fetchone()
        if found > VERSION:
            raise SinkError(f"the history {self._path} was written by a newer Mien: use that one, or another file")
        if read_only:
            if found == 0:
                raise SinkError(f"the history {self._path} is empty yet: try again in a moment")
            return
        if found == 0:
            self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # so that retention gives space back
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        self._connection.execute(f"PRAGMA journal_size_limit = {4 << 20}")
        if found == 0:
            self._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, events: Iterable[Event], minutes: Iterable[Minute] = ()) -> None:
        """Stores all of it or nothing; what a minute says is added to what is stored of it. Raises sqlite3.Error."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT INTO events (time, kind, face, emotion, duration) VALUES (?, ?, ?, ?, ?)",
                [(event.time, event.kind, event.face, event.emotion, event.duration) for event in events],
            )
            for each in minutes:
                connection.execute(
                    "INSERT INTO minutes VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
                    " frames = frames + excluded.frames, watched = watched + excluded.watched,"
                    " faces = faces + excluded.faces",
                    (each.minute, each.frames, each.watched, each.faces),
                )
                connection.executemany(
                    "INSERT INTO emotions VALUES (?, ?, ?)"
                    " ON CONFLICT DO UPDATE SET seconds = seconds + excluded.seconds",
                    [(each.minute, emotion, seconds) for emotion, seconds in each.emotions.items()],
                )

    def events(
        self,
        since: float | None = None,
        until: float | None = None,
        limit: int | None = None,
        after_id: int | None = None,
    ) -> list[tuple[int, Event]]:
        """Events and their ids, in the order of ids; the last `limit` of them, or the first ones after `after_id`.

        `since` and `until` (excluded) are seconds since the epoch.
        """
        newest = limit is not None and after_id is None
        rows = self._rows(
            "SELECT id, time, kind, face, emotion, duration FROM events WHERE time >= ? AND time < ? AND id > ?"
            f" ORDER BY id {'DESC' if newest else 'ASC'} LIMIT ?",
            (
                float("-inf") if since is None else since,
                float("inf") if until is None else until,
                -1 if after_id is None else after_id,
                -1 if limit is None else limit,
            ),
        )
        found = [(number, Event(*values)) for number, *values in rows]
        return found[::-1] if newest else found

    def minutes(self, since: float, until: float) -> list[Minute]:
        """The minutes that begin in [since, until), in order; those without frames are left out."""
        rows = self._rows("SELECT * FROM minutes WHERE minute >= ? AND minute < ? ORDER BY minute", (since, until))
        found = {row[0]: Minute(*row) for row in rows}
        for minute, emotion, seconds in self._rows(
            "SELECT * FROM emotions WHERE minute >= ? AND minute < ?", (since, until)
        ):
            if minute in found:
                found[minute].emotions[emotion] = seconds
        return list(found.values())

    def timeline(self, since: float, until: float, step_s: int = 60) -> list[dict[str, Any]]:
        """One row a step of `step_s` seconds (whole minutes) from `since` on, the empty ones too.

        Each has time (seconds since the epoch), frames, watched_s, fps (None if nothing was watched), faces (that
        appeared) and emotions (→ seconds, summed over all faces).
        """
        step = max(60, round(step_s / 60) * 60)
        begin = int(since // step) * step
        rows: list[dict[str, Any]] = [
            {"time": time, "frames": 0, "watched_s": 0.0, "fps": None, "faces": 0, "emotions": {}}
            for time in range(begin, int(-(-until // step)) * step, step)
        ]
        for each in self.minutes(begin, until):
            row = rows[(each.minute - begin) // step]
            row["frames"] += each.frames
            row["watched_s"] += each.watched
            row["faces"] += each.faces
            for emotion, seconds in each.emotions.items():
                row["emotions"][emotion] = row["emotions"].get(emotion, 0.0) + seconds
        for row in rows:
            row["fps"] = row["frames"] / row["watched_s"] if row["watched_s"] else None
        return rows

    def span(self) -> tuple[float, float] | None:
        """The begin of the first minute and the end of the last one; None if there is none."""
        ((first, last),) = self._rows("SELECT min(minute), max(minute) FROM minutes")
        return None if first is None else (first, last + 60)

    def prune(self, keep_days: float, keep_mb: float, now: float | None = None) -> None:
        """Deletes what is older than `keep_days`, then the oldest until the file is under `keep_mb` (10⁶ bytes)."""
        limit = (clock.time() if now is None else now) - keep_days * 86_400
        while True:
            with self._transaction() as connection:
                connection.execute("DELETE FROM events WHERE time < ?", (limit,))
                connection.execute("DELETE FROM minutes WHERE minute < ?", (limit,))
                connection.execute("DELETE FROM emotions WHERE minute < ?", (limit,))
            with self._lock:
                # It frees one page a step, and `execute` takes one step only.
                self._connection.executescript("PRAGMA incremental_vacuum")
            ((first, last),) = self._rows(
                "SELECT min(t), max(t) FROM (SELECT min(time) t FROM events UNION ALL SELECT max(time) FROM events"
                " UNION ALL SELECT min(minute) FROM minutes UNION ALL SELECT max(minute) FROM minutes)"
            )
            if self.size() <= keep_mb * 1e6 or first is None or first >= last:
                return
            # A tenth of the time at once: a few rounds are enough, and each leaves room for a while.
            limit = first + (last - first) / 10 + 1e-3

    def size(self) -> int:
        """Bytes of the database, without its log of at most some MiB."""
        ((pages,),), ((size,),) = self._rows("PRAGMA page_count"), self._rows("PRAGMA page_size")
        return int(pages * size)

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise SinkError(f"can't read the history {self._path}: {_words(error)}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # A full disk has rolled it back already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


def default_path() -> Path:
    """Where the history is if nobody says."""
    return state_folder() / "history.db"


def _words(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error)
    if "not a database" in text or "malformed" in text:
        return f"{text}: move it away, and a new one is made"
    if "unable to open" in text:
        return f"{text}: may you read and write it, and its folder?"
    return text
