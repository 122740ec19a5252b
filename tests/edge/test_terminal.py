"""The line on a terminal, and `mien run` in a real one."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from faces import scene, write_video
from observations import NOON, STATUS, seen

from mien.edge.sinks.terminal import TerminalSink, clock, describe

rich_console = pytest.importorskip("rich.console", reason="rich is not installed")
MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")


def drawn(sink: TerminalSink, width: int = 120) -> str:
    console = rich_console.Console(width=width, file=io.StringIO())
    console.print(sink.line())
    text = console.file.getvalue()
    assert text.count("\n") == 1, "one line, however much there is to say"
    return str(text.rstrip("\n"))


def test_a_camera() -> None:
    sink = TerminalSink()
    assert drawn(sink) == "waits for the first frame"
    sink.attach(lambda: replace(STATUS, temperature_c=51.2, throttled="too hot now", dropped={"capture": 1200}))
    sink.write(seen(NOON, (1, "happy"), (2, "uncertain")))
    assert drawn(sink) == ("10 frames · 12.3/s · 2 faces: happy 75%, uncertain · 1,200 dropped · 51 °C · too hot now")
    assert len(drawn(sink, width=40)) <= 40


def test_a_file_with_the_time_left() -> None:
    sink = TerminalSink(length=1000)
    sink.attach(lambda: replace(STATUS, frames=250, fps=10.0, sink_errors={"mqtt": 2, "jsonl": 0}))
    sink.write(seen(NOON))
    text = drawn(sink)
    assert " 25% 1:15 left 250 frames · 10.0/s · no face · trouble: mqtt" in text and "━" in text
    sink.attach(lambda: replace(STATUS, frames=1100, fps=0.0))
    assert "100%" in drawn(sink) and "left" not in drawn(sink), "files may hold more than they say"


@pytest.mark.parametrize(("seconds", "text"), [(7, "0:07"), (754, "12:34"), (3723, "1:02:03")])
def test_the_time(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_faces_in_words() -> None:
    assert describe(seen(NOON)) == "no face"
    assert describe(seen(NOON, (1, "sad"))) == "1 face: sad 75%"
    many = seen(NOON, *((number, "sad") for number in range(1, 6)))
    assert describe(many) == "5 faces: sad 75%, sad 75%, sad 75%, …"


@pytest.fixture
def in_a_terminal(bundle: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs `mien run` with standard error, and output if wanted, on a terminal: (exit code, terminal, output)."""

    def run(*arguments: object, both: bool = True) -> tuple[int, str, str]:
        master, slave = pty.openpty()
        child = subprocess.Popen(
            [MIEN, "run", *map(str, arguments), "--model", str(bundle)],
            stdin=slave,
            stdout=slave if both else subprocess.PIPE,
            stderr=slave,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
        )
        os.close(slave)
        shown = b""
        while True:
            try:
                data = os.read(master, 65_536)
            except OSError:  # the child has closed its end
                break
            if not data:
                break
            shown += data
        output = child.communicate()[0]
        os.close(master)
        return child.returncode, shown.decode(), (output or b"").decode()

    return run


@pytest.fixture(scope="module")
def long_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Long enough for the line to be drawn several times."""
    images = [scene((20 + i % 40, 60, 90)) for i in range(250)]
    return write_video(tmp_path_factory.mktemp("videos") / "long.avi", images, rate=25)


def test_a_terminal_gets_one_line_and_no_flood(in_a_terminal, long_video: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, shown, _ = in_a_terminal(long_video, "--sink", f"video:{tmp_path / 'out.mp4'}")
    assert code == 0 and (tmp_path / "out.mp4").exists()
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(r"\d+% \d+:\d\d left \d+ frames · [\d.]+/s · (1|no) face", plain), shown
    assert plain.rstrip().splitlines()[-1].startswith("mien: 250 frames in ")
    assert shown.count("\n") < 10 and '{"time"' not in shown


def test_without_a_sink_it_is_the_line_alone(in_a_terminal, face_video: Path) -> None:  # type: ignore[no-untyped-def]
    code, shown, _ = in_a_terminal(face_video)
    assert code == 0 and '{"time"' not in shown and "mien: 12 frames in " in shown


def test_the_log_is_printed_where_it_is_asked_for(in_a_terminal, face_video: Path) -> None:  # type: ignore[no-untyped-def]
    code, shown, _ = in_a_terminal(face_video, "--sink", "jsonl:-")
    assert code == 0 and shown.count('{"time"') == 12 and "left" not in shown
    code, shown, output = in_a_terminal(face_video, both=False)
    assert code == 0 and output.count('{"time"') == 12 and shown.count("\n") == 1, "a pipe gets the log"
