"""Short videos around events: what they show, when they begin and end, how long they are kept."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import read_video
from observations import NOON, seen

from mien.edge.errors import ConfigError, SinkError
from mien.edge.sinks import open_sink
from mien.edge.sinks.clips import ClipsSink


def play(sink: ClipsSink, *rows: tuple[int, int, str | None], start: float = NOON) -> None:
    """Frames at ten a second: (first, last, emotion of a face or None); each picture's gray value is its frame's."""
    for first, last, emotion in rows:
        for index in range(first, last + 1):
            faces = [(1, emotion)] if emotion else []
            sink.deliver(seen(start + index / 10, *faces), np.full((48, 64, 3), index, np.uint8))


def levels(path: Path) -> list[int]:
    """The gray value of each frame, which lossy codecs move a little."""
    return [round(float(image.mean())) for image in read_video(path)]


def test_a_clip_begins_before_its_event_and_ends_after_it(tmp_path: Path) -> None:
    sink = ClipsSink(f"{tmp_path}?before=1&after=2", 10.0)
    sink.open()
    play(sink, (0, 49, None), (50, 54, "happy"), (55, 120, None))
    sink.close()
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("-face1-appeared.avi")
    assert levels(path) == pytest.approx(list(range(39, 71)), abs=2)


def test_one_clip_goes_on_while_things_happen_and_another_follows(tmp_path: Path) -> None:
    sink = ClipsSink(f"{tmp_path}?before=0.5&after=1", 10.0)
    sink.open()
    play(sink, (0, 19, None), (20, 25, "happy"), (26, 29, "sad"), (30, 79, None), (80, 85, "angry"), (86, 100, None))
    sink.close()
    first, second = sorted(tmp_path.iterdir())
    assert levels(first) == pytest.approx(list(range(14, 37)), abs=2)
    assert levels(second) == pytest.approx(list(range(74, 91)), abs=2)


def test_a_fast_camera_is_kept_coarsely_before_an_event_and_wholly_after(tmp_path: Path) -> None:
    sink = ClipsSink(f"{tmp_path}?before=1&after=0.5", 50.0)
    sink.open()
    for index in range(100):
        faces = [(1, "happy")] if index == 60 else []
        sink.deliver(seen(NOON + index / 50, *faces), np.full((48, 64, 3), 2 * index, np.uint8))
    sink.close()
    (path,) = tmp_path.iterdir()
    found = levels(path)
    assert len(found) == pytest.approx(75, abs=5), "it keeps pace"
    assert len({round(level / 4) for level in found[:45]}) <= 14 and len(set(found[-20:])) >= 15


def test_only_chosen_emotions(tmp_path: Path) -> None:
    sink = ClipsSink(f"{tmp_path}?before=0&after=0.5&emotions=sad,angry", 10.0)
    sink.open()
    play(sink, (0, 19, "happy"), (20, 29, "sad"), (30, 60, "happy"))
    sink.close()
    (path,) = tmp_path.iterdir()
    assert path.name.endswith("-face1-sad.avi") and levels(path) == pytest.approx(list(range(20, 26)), abs=2)


def test_a_clip_that_never_ends_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.edge.sinks.clips._LONGEST", 2.0)
    sink = ClipsSink(f"{tmp_path}?before=0&after=1", 10.0)
    sink.open()
    for index in range(100):  # something new every half second
        emotion = "happy" if index // 5 % 2 else "sad"
        sink.deliver(seen(NOON + index / 10, (1, emotion)), np.full((48, 64, 3), index, np.uint8))
    sink.close()
    lengths = [len(read_video(path)) for path in sorted(tmp_path.iterdir())]
    assert len(lengths) >= 4 and max(lengths) <= 22


def test_a_clock_that_is_set_back_ends_the_clip(tmp_path: Path) -> None:
    sink = ClipsSink(f"{tmp_path}?before=1&after=1", 10.0)
    sink.open()
    play(sink, (0, 4, "happy"))
    play(sink, (0, 30, None), start=NOON - 86_400)
    sink.close()
    (path,) = tmp_path.iterdir()
    assert len(read_video(path)) == 5


def test_the_oldest_go_and_nothing_else(tmp_path: Path) -> None:
    other = tmp_path / "holiday.avi"
    other.write_bytes(b"x" * 5000)
    for day in range(1, 6):
        path = tmp_path / f"2027010{day}-120000-face1-sad.avi"
        path.write_bytes(b"x" * 1000)
        os.utime(path, (NOON - 2 * 86_400 if day == 1 else NOON,) * 2)
    sink = ClipsSink(f"{tmp_path}?keep_days=1&keep_mb=0.0025")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.edge.sinks.clips.time.time", lambda: NOON)
        sink.open()
        sink.close()
    assert sorted(path.name[:8] for path in tmp_path.iterdir() if path != other) == ["20270104", "20270105"]
    assert other.exists()


def test_what_is_wrong_is_said_in_a_line(tmp_path: Path) -> None:
    for query, words in (
        ("before=60", "before is 0 to 10 seconds"),
        ("after=x", "all but the emotions are numbers"),
        ("since=3", "unknown option since"),
        ("keep_mb=0", "keep_days and keep_mb are more than 0"),
        ("before=nan", "before is 0 to 10 seconds"),
    ):
        with pytest.raises(ConfigError, match=words):
            open_sink(f"clips:{tmp_path}?{query}")
    with pytest.raises(SinkError, match="make the folder first"), open_sink(f"clips:{tmp_path / 'gone'}"):
        pass


def test_a_full_disk_is_an_error_that_is_counted_and_what_was_written_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_sink(f"clips:{tmp_path}?before=0&after=9", 10.0) as sink:
        real, calls = os.statvfs, 0

        def statvfs(path: Path) -> os.statvfs_result:
            nonlocal calls
            calls += 1
            result = real(path)
            return result if calls < 4 else os.statvfs_result([*result[:4], 0, *result[5:]])

        monkeypatch.setattr(os, "statvfs", statvfs)
        for index in range(10):
            sink.write(seen(NOON + index / 10, (1, "sad")), np.full((48, 64, 3), index, np.uint8))
            while sink.pending:
                pass
    assert sink.errors >= 1
    (path,) = tmp_path.iterdir()
    assert len(read_video(path)) == 3


def test_they_hold_the_picture_that_left_the_pipeline(tmp_path: Path) -> None:
    """Not the camera's: where faces are made unrecognizable, they are so here too."""
    sink = ClipsSink(f"{tmp_path}?before=1&after=1", 10.0)
    sink.open()
    secret = seen(NOON, (1, "sad"))
    frame = replace(secret.frame, image=np.full((48, 64, 3), 255, np.uint8))
    for index in range(5):
        moment = replace(frame, time=NOON + index / 10)
        sink.deliver(replace(secret, frame=moment), np.zeros((48, 64, 3), np.uint8))
    sink.close()
    (path,) = tmp_path.iterdir()
    assert max(levels(path)) <= 2 and cv2.VideoCapture(str(path)).isOpened()
