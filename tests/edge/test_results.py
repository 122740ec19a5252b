"""`mien events` and `mien report`: what is printed, followed, exported and drawn of a history."""

from __future__ import annotations

import csv
import io
import json
import re
import signal
import subprocess
import sysconfig
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from observations import NOON, seen, wait_for
from typer.testing import CliRunner, Result

from mien.edge.errors import ConfigError, DataError
from mien.edge.events import Event
from mien.edge.history import History, Minute
from mien.edge.main import app
from mien.edge.recorder import Recorder
from mien.edge.report import _duration, find_gaps, write_report
from mien.edge.results import _time

MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="mien")


def as_json(*options: object) -> list[dict[str, object]]:
    """What `mien events` prints as JSON lines."""
    return [json.loads(line) for line in invoke("events", "--format", "jsonl", *options).stdout.splitlines()]


DAY = ("--since", "2027-01-15T00:00:00Z", "--until", "2027-01-16T00:00:00Z")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of an hour: two faces, a gap of ten minutes, an emotion with a hostile name."""
    path = tmp_path / "history.db"
    with History(path) as history:
        recorder = Recorder(history)
        for second in range(3600):
            if not 1200 <= second < 1800:
                faces = [(1, "happy" if second < 600 else "sad")] if second < 2400 else [(2, "<b>&\"'")]
                recorder.update(seen(NOON + second, *faces))
        recorder.finish()
    return path


class Reader(HTMLParser):
    """Checks that a page is well formed and asks for nothing from elsewhere; keeps its text."""

    VOID = ("meta", "rect", "line")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.tags: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attributes:
            assert name not in ("src", "href", "onload", "onclick"), (tag, name, value)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


class TestEvents:
    def test_as_text(self, path: Path) -> None:
        result = invoke("events", "--history", path, "--limit", 6)
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert [line.split("  ")[1] for line in lines] == [
            "face 2 appeared",
            "face 2 looks <b>&\"'",
            "face 1 looked sad for 599.0 s",
            "face 1 left after 599.0 s",
            "face 2 looked <b>&\"' for 1199.0 s",
            "face 2 left after 1199.0 s",
        ]
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", lines[0].split("  ")[0])

    def test_as_jsonl_and_csv(self, path: Path) -> None:
        rows = [
            json.loads(line) for line in invoke("events", "--history", path, "--format", "jsonl").stdout.splitlines()
        ]
        assert [row["id"] for row in rows] == list(range(1, len(rows) + 1))
        assert rows[0] == {"id": 1, "time": "2027-01-15T08:00:00.000Z", "event": "face_appeared", "face": 1}
        table = list(csv.DictReader(io.StringIO(invoke("events", "--history", path, "--format", "csv").stdout)))
        assert len(table) == len(rows) and list(table[0]) == ["id", "time", "event", "face", "emotion", "duration_s"]
        for row, cells in zip(rows, table, strict=True):
            assert {key: str(value) for key, value in row.items()} == {k: v for k, v in cells.items() if v != ""}

    def test_since_and_until(self, path: Path) -> None:
        result = invoke(
            "events",
            "--history",
            path,
            "--format",
            "jsonl",
            "--since",
            "2027-01-15T08:10:00Z",
            "--until",
            "2027-01-15T08:11:00Z",
        )
        assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["emotion_ended", "emotion_began"]

    def test_where_the_configuration_says(self, path: Path, tmp_path: Path) -> None:
        config = tmp_path / "mien.toml"
        config.write_text(f'sinks = ["history:{path}"]')
        assert invoke("events", "--config", config, "--limit", 1).stdout.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--format", "xml"], "--format is text, jsonl or csv, not xml"),
            (["--since", "yesterday"], "yesterday is no time: write such as 15m"),
        ],
    )
    def test_what_is_wrong_is_said_in_a_line(self, path: Path, options: list[str], words: str) -> None:
        result = invoke("events", "--history", path, *options)
        assert result.exit_code == 1 and words in result.stderr and result.stderr.count("\n") == 1

    def test_no_history(self, tmp_path: Path) -> None:
        result = invoke("events", "--history", tmp_path / "gone.db")
        assert result.exit_code == 1 and "no history at" in result.stderr

    def test_follow_goes_on_with_what_another_process_writes(self, tmp_path: Path) -> None:
        path = tmp_path / "history.db"
        with History(path) as history:
            command = [MIEN, "events", "--history", str(path), "--follow", "--format", "jsonl"]
            reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            assert reader.stdout
            for number in range(1, 4):
                history.add([Event(NOON, "face_appeared", number), Event(NOON, "emotion_began", number, "sad")])
                assert [json.loads(reader.stdout.readline())["face"] for _ in range(2)] == [number] * 2
            reader.send_signal(signal.SIGINT)
            assert reader.communicate(timeout=60) == ("", "") and reader.returncode == 0

    def test_follow_begins_with_the_last_ten(self, path: Path) -> None:
        with History(path) as history:
            history.add([Event(NOON, "face_appeared", number) for number in range(100, 150)])
        command = [MIEN, "events", "--history", str(path), "--follow", "--format", "jsonl"]
        reader = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert reader.stdout
        assert [json.loads(reader.stdout.readline())["face"] for _ in range(10)] == list(range(140, 150))
        reader.kill()
        reader.communicate()

    def test_a_reader_that_has_seen_enough(self, path: Path) -> None:
        with History(path) as history:
            history.add([Event(NOON, "face_appeared", number) for number in range(20_000)])
        result = subprocess.run(f"{MIEN} events --history {path} | head -1", shell=True, capture_output=True, text=True)
        assert result.stdout.count("\n") == 1 and result.stderr == ""


class TestReport:
    def test_the_page(self, path: Path, tmp_path: Path) -> None:
        out = tmp_path / "page.html"
        result = invoke(
            "report",
            "--history",
            path,
            "--since",
            "2027-01-15T00:00:00Z",
            "--until",
            "2027-01-16T00:00:00Z",
            "--out",
            out,
        )
        assert result.exit_code == 0 and result.stdout == f"{out}\n", result.stderr
        page = out.read_text()
        reader = Reader(page)
        text = " ".join(reader.text)
        assert "<b>" not in page and "<b>&\"'" in text, "labels are text"
        assert "script" not in reader.tags and "url(" not in page and "http" not in page
        assert reader.tags.count("svg") > 6
        for words in (
            "Emotions over time",
            "Gaps in service",
            "Frames a second",
            "10 min",
            "An expression is not a feeling",
        ):
            assert words in text, words
        shares = dict(re.findall(r'scope="?row"?>([^<]+)</th><td>([\d.]+%)', page))
        # 600 s of happy, 600 + 600 s of sad, 1200 s of the other; a second less where something began.
        assert shares == {"sad": "40.0%", "&lt;b&gt;&amp;&quot;&#x27;": "40.0%", "happy": "20.0%"} or (
            float(shares["happy"].rstrip("%")) == pytest.approx(20, abs=0.2)
            and float(shares["sad"].rstrip("%")) == pytest.approx(40, abs=0.2)
        )

    def test_nothing_to_report(self, path: Path, tmp_path: Path) -> None:
        result = invoke("report", "--history", path, "--since", "1s", "--out", tmp_path / "page.html")
        assert result.exit_code == 1 and "the history holds nothing between" in result.stderr
        assert not (tmp_path / "page.html").exists()
        with History(None) as history, pytest.raises(DataError):
            write_report(history, 0, NOON)

    def test_where_it_can_not_be_written(self, path: Path, tmp_path: Path) -> None:
        result = invoke("report", "--history", path, *DAY, "--out", tmp_path / "no" / "page.html")
        assert result.exit_code == 1 and "can't write" in result.stderr

    def test_a_year_is_drawn_in_few_columns(self) -> None:
        with History(None) as history:
            history.add([], [Minute(int(NOON) + 60 * i * 60, 1500, 60.0, 1, {"sad": 30.0}) for i in range(24 * 365)])
            page = write_report(history, 0, NOON + 370 * 86_400)
        assert len(page) < 400_000
        Reader(page)

    def test_gaps(self) -> None:
        minutes = [Minute(60 * i, 60, watched) for i, watched in [(0, 30.0), (1, 60.0), (2, 20.0), (5, 58.0), (6, 3.0)]]
        assert [(gap.begin, gap.end, gap.missing) for gap in find_gaps(minutes)] == [(120, 300, 160)]
        assert find_gaps(minutes[:1]) == []

    @pytest.mark.parametrize(
        ("seconds", "words"),
        [
            (0.04, "0.0 s"),
            (59.9, "59.9 s"),
            (60, "1 min"),
            (200, "3 min 20 s"),
            (18_600, "5 h 10 min"),
            (183_600, "2 d 3 h"),
        ],
    )
    def test_durations(self, seconds: float, words: str) -> None:
        assert _duration(seconds) == words


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert _time("90s", now=NOON) == NOON - 90 and _time("1.5h", now=NOON) == NOON - 5400
        assert _time("2027-01-15T08:00:00Z") == _time("2027-01-15T09:00") == NOON
        assert _time(None) is None
        for wrong in ("", "5", "5y", "-5m", "2027-13-01"):
            with pytest.raises(ConfigError):
                _time(wrong)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_run_leaves_a_history_that_can_be_read(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    result = invoke("run", face_video, "--model", bundle, "--sink", f"history:{path}")
    assert result.exit_code == 0, result.stderr
    rows = as_json("--history", path)
    assert [row["face"] for row in rows if row["event"] == "face_appeared"] == [1, 2]
    assert [row["face"] for row in rows if row["event"] == "face_left"] == [1, 2]


def test_kill_9_of_a_run_loses_no_event_that_was_committed(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    command = [MIEN, "run", str(face_video), "--loop", "--model", str(bundle), "--sink", f"history:{path}"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: invoke("events", "--history", path).exit_code == 0, 60)
        with History(path, read_only=True) as history:
            wait_for(lambda: len(history.events()) > 8, 60)
            before = history.events()
    finally:
        child.kill()
        child.communicate()
    with History(path) as history:
        assert history._rows("PRAGMA integrity_check") == [("ok",)]
        assert history.events()[: len(before)] == before
