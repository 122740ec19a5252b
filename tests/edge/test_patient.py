"""A service's sink that can't be opened yet costs its own output only."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from observations import NOON, seen

from mien.edge.sinks import open_sink
from mien.edge.sinks.background import detached
from mien.edge.sinks.patient import RETRY, Patient


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("kind", ["jsonl", "history"])
def test_it_writes_as_soon_as_it_can(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    clock, path = Clock(), tmp_path / "later" / "file"
    with caplog.at_level(logging.INFO), Patient(detached(open_sink(f"{kind}:{path}")), clock) as sink:
        for index in range(3):
            sink.write(seen(NOON + index, (1, "happy"), index=index), None)
        path.parent.mkdir()
        sink.write(seen(NOON + 3, index=3), None)
        assert not path.exists() and sink.errors == 4, "it doesn't try again at every frame"
        clock.now += RETRY
        sink.write(seen(NOON + 4, (1, "happy"), index=4), None)
        assert sink.errors == 4 and sink.name == kind
    told = [message for message in caplog.messages if message.startswith(kind)]
    assert len(told) == 2 and "goes on without" in told[0] and "4 frames are not in it" in told[1]
    if kind == "jsonl":
        assert [json.loads(line)["frame"] for line in path.read_text().splitlines()] == [4]
    else:
        assert path.stat().st_size > 0


def test_it_may_never_be_opened(tmp_path: Path) -> None:
    clock = Clock()
    with Patient(detached(open_sink(f"jsonl:{tmp_path}/none/log")), clock) as sink:
        for _ in range(5):
            clock.now += RETRY
            sink.write(seen(NOON), None)
    assert sink.errors == 5 and not list(tmp_path.iterdir())


def test_one_that_opens_is_only_passed_on(tmp_path: Path) -> None:
    with Patient(detached(open_sink(f"video:{tmp_path}/film.avi"))) as sink:
        assert sink.wants_picture and sink.name == "video"
        assert (sink.errors, sink.dropped, sink.pending, sink.done) == (0, 0, 0, False)
