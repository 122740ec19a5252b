"""Events and minutes on disk: what they add up to, how long they are kept, what a kill or a power cut leaves."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from observations import NOON, seen, wait_for

from mien.edge.errors import SinkError
from mien.edge.events import Event
from mien.edge.history import VERSION, History, Minute, default_path
from mien.edge.recorder import Recorder
from mien.edge.sinks import open_sink


def appeared(number: int, time: float = NOON) -> Event:
    return Event(time, "face_appeared", number)


def test_events_come_back_as_they_were(tmp_path: Path) -> None:
    events = [appeared(1), Event(NOON + 1, "emotion_ended", 1, "怒", 0.5)]
    with History(tmp_path / "h.db") as history:
        history.add(events)
        history.add([appeared(2, NOON + 2)])
    with History(tmp_path / "h.db", read_only=True) as history:
        assert history.events() == [(1, events[0]), (2, events[1]), (3, appeared(2, NOON + 2))]
        assert [number for number, _ in history.events(limit=2)] == [2, 3], "the last ones"
        assert [number for number, _ in history.events(limit=1, after_id=1)] == [2], "the next one"
        assert [number for number, _ in history.events(since=NOON + 1, until=NOON + 2)] == [2]


def test_only_its_owner_and_group_read_it(tmp_path: Path) -> None:
    with History(tmp_path / "h.db") as history:
        history.add([appeared(1)])
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) & 0o007 == 0, path.name


def test_parts_of_a_minute_add_up(tmp_path: Path) -> None:
    minute = int(NOON)
    with History(None) as history:
        history.add([], [Minute(minute, 10, 1.0, 1, {"happy": 1.0})])
        history.add([], [Minute(minute, 5, 0.5, 0, {"happy": 0.25, "sad": 0.25}), Minute(minute + 120, 1)])
        assert history.minutes(minute, minute + 61) == [Minute(minute, 15, 1.5, 1, {"happy": 1.25, "sad": 0.25})]
        assert history.span() == (minute, minute + 180)
        rows = history.timeline(minute, minute + 180)
        assert [row["time"] for row in rows] == [minute, minute + 60, minute + 120]
        assert rows[0]["fps"] == 10 and rows[1]["fps"] is None and rows[1]["frames"] == 0
        (whole,) = history.timeline(minute, minute + 180, step_s=180)
        assert whole["frames"] == 16 and whole["emotions"] == {"happy": 1.25, "sad": 0.25} and whole["faces"] == 1


def test_what_is_recorded_of_observations() -> None:
    with History(None) as history:
        recorder = Recorder(history)
        for i in range(61):  # two a second, across a minute's end
            recorder.update(seen(NOON + 45 + i / 2, (1, "happy" if i < 20 else "sad")))
        for i in range(5):  # after a gap of ten seconds
            recorder.update(seen(NOON + 85 + i / 2))
        recorder.finish()
        first, second = history.minutes(NOON, NOON + 120)
        assert first.emotions == {"happy": 9.5, "sad": 5.0} and first.frames == 30 and first.watched == 14.5
        assert second.emotions == {"sad": 15.5} and second.frames == 36 and second.watched == 17.5
        assert (first.faces, second.faces) == (1, 0)
        assert [event.kind for _, event in history.events()] == [
            "face_appeared",
            "emotion_began",
            "emotion_ended",
            "emotion_began",
            "emotion_ended",
            "face_left",
        ]


def test_what_cannot_be_stored_is_kept_and_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(History):
        full = True

        def add(self, *args, **options) -> None:  # type: ignore[no-untyped-def]
            if self.full:
                raise sqlite3.OperationalError("database or disk is full")
            super().add(*args, **options)

    monkeypatch.setattr("mien.edge.recorder._MOST", 6)
    with Full(None) as history:
        recorder = Recorder(history)
        for number in range(1, 6):
            recorder.update(seen(NOON + number / 10, (number, "sad")))
        with pytest.raises(sqlite3.OperationalError):
            recorder.store()
        history.full = False
        recorder.store()
        assert recorder.lost == 4
        assert [event.face for _, event in history.events()] == [3, 3, 4, 4, 5, 5]
        assert history.minutes(NOON, NOON + 60)[0].frames == 5


def test_old_things_go(tmp_path: Path) -> None:
    now = NOON + 10 * 86_400
    with History(tmp_path / "h.db") as history:
        for day in range(10):
            time = NOON + day * 86_400
            history.add([appeared(day, time)], [Minute(int(time), 1, 0, 0, {"sad": 1.0})])
        history.prune(keep_days=3.5, keep_mb=100, now=now)
        assert [event.face for _, event in history.events()] == [7, 8, 9]
        assert len(history.minutes(0, now)) == 3
        assert history._rows("SELECT count(*) FROM emotions") == [(3,)]


def test_too_much_goes_and_gives_space_back(tmp_path: Path) -> None:
    with History(tmp_path / "h.db") as history:
        history.add(appeared(number, NOON + number) for number in range(60_000))
        before = history.size()
        history.prune(keep_days=1e6, keep_mb=1.0, now=NOON + 60_000)
        left = history.events()
        assert before > 2_000_000 and 100_000 < history.size() <= 1_000_000
        assert left[-1][1].face == 59_999 and len(left) > 10_000, "the newest stay"
        history.add([appeared(1)])
        assert history.events(limit=1)[0][0] == 60_001, "no id is given twice"


def test_readers_in_other_processes_see_what_was_committed_while_one_writes(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    count = (
        "import sys; from pathlib import Path; from mien.edge.history import History\n"
        "with History(Path(sys.argv[1]), read_only=True) as history: print(len(history.events()))"
    )
    with History(path) as history:
        for number in range(1, 4):
            history.add([appeared(number)])
            with history._transaction() as connection:  # one that isn't committed yet
                connection.execute("INSERT INTO events (time, kind, face) VALUES (1, 'x', 1)")
                command = [sys.executable, "-c", count, str(path)]
                readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
                assert [int(reader.communicate(timeout=60)[0]) for reader in readers] == [2 * number - 1] * 2


def test_threads_share_one(tmp_path: Path) -> None:
    with History(tmp_path / "h.db") as history:

        def work(start: int) -> None:
            for number in range(start, start + 30):
                history.add([appeared(number)])
                history.events(limit=3)

        threads = [threading.Thread(target=work, args=(100 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(history.events()) == 120


WRITER = """
import itertools, sys
from pathlib import Path
from mien.edge.events import Event
from mien.edge.history import History, Minute
history = History(Path(sys.argv[1]))
for number in itertools.count(1):
    history.add([Event(float(number), "face_appeared", number)] * 2, [Minute(60 * number, 2, 0.0, 0, {"sad": 1.0})])
    print(number, flush=True)
"""


def check_whole(path: Path, committed: int) -> int:
    """Asserts that the database is sound and holds each commit as a whole; gives the last one's number."""
    with History(path) as history:
        assert history._rows("PRAGMA integrity_check") == [("ok",)]
        faces = [event.face for _, event in history.events()]
        assert faces == [number for number in range(1, len(faces) // 2 + 1) for _ in range(2)]
        assert len(history.minutes(0, 1e12)) == len(faces) // 2 >= committed
    return len(faces) // 2


def test_kill_9_loses_nothing_that_was_committed(tmp_path: Path) -> None:
    path, last = tmp_path / "h.db", 0
    for _ in range(3):
        path.unlink(missing_ok=True)
        for rest in tmp_path.glob("h.db-*"):
            rest.unlink()
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout
        while last < 40:
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest_of_output = writer.communicate()[0].splitlines()
        last = max([last, *(int(line) for line in rest_of_output if line.strip())])
        assert check_whole(path, last) <= last + 1
        last = 0


def test_a_power_cut_leaves_what_was_committed(tmp_path: Path) -> None:
    """As far as a test can go: the files as they are on the disk at any moment, the shared memory lost, the end of the
    log torn as by a sector that was half written."""
    path = tmp_path / "h.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout
        for round in range(6):
            committed = 0
            while committed < 30 * (round + 1):
                committed = int(writer.stdout.readline())
            copy = tmp_path / f"copy{round}"
            copy.mkdir()
            # The log is copied first: the database is changed only when the log is folded into it, which is seldom.
            writer.send_signal(signal.SIGSTOP)
            wait_for(lambda: "T" in Path(f"/proc/{writer.pid}/stat").read_text().split(") ")[1][:1])
            for name in ("h.db-wal", "h.db"):
                if (tmp_path / name).exists():
                    shutil.copy(tmp_path / name, copy)
            writer.send_signal(signal.SIGCONT)
            log = copy / "h.db-wal"
            if round % 2 and log.exists():
                with log.open("ab") as stream:
                    stream.write(bytes(range(256)) * 9)
            assert check_whole(copy / "h.db", committed) >= committed
    finally:
        writer.kill()
        writer.communicate()


def test_every_commit_is_synced_to_the_disk(tmp_path: Path) -> None:
    with History(tmp_path / "h.db") as history:
        assert history._rows("PRAGMA synchronous") == [(2,)], "FULL"
        assert history._rows("PRAGMA journal_mode") == [("wal",)]
        assert history._rows("PRAGMA user_version") == [(VERSION,)]


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"not a database, but longer than its header" * 30, "file is not a database: move it away")],
)
def test_a_file_that_is_something_else(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "h.db").write_bytes(content)
    with pytest.raises(SinkError, match=words):
        History(tmp_path / "h.db")
    assert (tmp_path / "h.db").read_bytes() == content


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"no history at .*gone\.db: mien run … --sink history:"):
        History(tmp_path / "gone.db", read_only=True)
    with pytest.raises(SinkError, match="can't use the history"):
        History(tmp_path / "no" / "h.db")
    with pytest.raises(SinkError, match="make its folder first"), open_sink(f"history:{tmp_path / 'no' / 'h.db'}"):
        pass
    (tmp_path / "just begun.db").touch()
    with pytest.raises(SinkError, match="is empty yet: try again in a moment"):
        History(tmp_path / "just begun.db", read_only=True)
    connection = sqlite3.connect(tmp_path / "new.db")
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    with pytest.raises(SinkError, match="written by a newer Mien"):
        History(tmp_path / "new.db")


def test_the_sink_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "h.db"
    with open_sink(f"history:{path}") as sink:
        for i in range(10):
            sink.write(seen(NOON + i / 10, (1, "happy")), None)
    assert [each.name for each in tmp_path.iterdir()] == ["h.db"], "the log is folded in at the end"
    with History(path, read_only=True) as history:
        assert [event.kind for _, event in history.events()][-1] == "face_left"
        assert history.minutes(0, 1e12)[0].frames == 10


def test_where_it_is_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "mien" / "history.db"
    with open_sink("history:"):
        pass
    assert default_path().is_file()
    monkeypatch.setenv("STATE_DIRECTORY", f"{tmp_path}/a:{tmp_path}/b")
    assert default_path() == tmp_path / "a" / "history.db"
