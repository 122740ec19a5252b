from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import read_video, reading

from mien.edge.errors import ConfigError, RuntimeMissing, SinkError
from mien.edge.records import Box, Face, Frame, Observation
from mien.edge.sinks import open_sink
from mien.edge.sinks.jsonl import JsonlSink
from mien.edge.sinks.picture import PictureSink
from mien.edge.sinks.video import VideoSink, fit


def observation(index: int, time: float = 0.0, faces: int = 1) -> Observation:
    image = np.zeros((48, 64, 3), np.uint8)
    readings = tuple(reading(Face(i + 1, Box(i, 2, 30, 40)), {"happy": 0.75, "sad": 0.25}) for i in range(faces))
    return Observation(Frame(index, time, image, image[:, :, 0]), readings)


def picture(level: int, height: int = 48, width: int = 64) -> np.ndarray:
    return np.full((height, width, 3), level, np.uint8)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class TestJsonl:
    def test_appends_whole_lines_at_once(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        for run in range(2):
            with open_sink(f"jsonl:{path}") as sink:
                assert not sink.wants_picture
                for i in range(3):
                    sink.write(observation(10 * run + i), None)
                    # There before the file is closed.
                    assert lines(path)[-1] == observation(10 * run + i).to_json()
        assert [line["frame"] for line in lines(path)] == [0, 1, 2, 10, 11, 12]

    def test_a_torn_last_line_is_ended_first(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        path.write_text('{"frame": 0}\n{"frame": 1, "fa')
        with open_sink(f"jsonl:{path}") as sink:
            sink.write(observation(2), None)
        first, torn, last = path.read_text().splitlines()
        assert (first, torn) == ('{"frame": 0}', '{"frame": 1, "fa')
        assert json.loads(last)["frame"] == 2

    def test_a_full_file_is_followed_by_a_new_one(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        size = len(json.dumps(observation(0).to_json())) + 1
        with open_sink(f"jsonl:{path}?max_mb={3.5 * size / 1e6}&keep=2") as sink:
            for i in range(8):
                sink.write(observation(i), None)
        with open_sink(f"jsonl:{path}?max_mb={3.5 * size / 1e6}&keep=2") as sink:
            for i in range(8, 13):
                sink.write(observation(i), None)
        assert {each.name for each in tmp_path.iterdir()} == {"log.jsonl", "log.jsonl.1", "log.jsonl.2"}
        assert [line["frame"] for line in lines(tmp_path / "log.jsonl.2")] == [6, 7, 8]
        assert [line["frame"] for line in lines(tmp_path / "log.jsonl.1")] == [9, 10, 11]
        assert [line["frame"] for line in lines(path)] == [12]

    def test_none_of_the_old_ones_is_kept(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        with open_sink(f"jsonl:{path}?max_mb=0.001&keep=0") as sink:
            for i in range(30):
                sink.write(observation(i), None)
        assert [each.name for each in tmp_path.iterdir()] == ["log.jsonl"] and path.stat().st_size <= 1000
        assert lines(path)[-1]["frame"] == 29

    def test_a_question_mark_may_be_part_of_a_name(self, tmp_path: Path) -> None:
        with open_sink(f"jsonl:{tmp_path / 'what?.jsonl'}") as sink:
            sink.write(observation(0), None)
        assert (tmp_path / "what?.jsonl").exists()

    @pytest.mark.parametrize("query", ["max_mb=0", "max_mb=x", "keep=2", "max_mb=5&keep=-1", "max_mb=nan"])
    def test_limits_that_are_none(self, tmp_path: Path, query: str) -> None:
        with pytest.raises(ConfigError, match=r"write jsonl:PATH\?max_mb=50&keep=5"):
            open_sink(f"jsonl:{tmp_path / 'log.jsonl'}?{query}")

    def test_labels_of_any_script(self, tmp_path: Path) -> None:
        read = reading(Face(1, Box(0, 0, 9, 9)), {"怒": 0.5, "müde": 0.5})
        with open_sink(f"jsonl:{tmp_path / 'log.jsonl'}") as sink:
            sink.write(Observation(observation(0).frame, (read,)), None)
        assert "müde" in (tmp_path / "log.jsonl").read_text(encoding="utf-8")

    def test_a_full_disk(self) -> None:
        message = "can't write to /dev/full: No space left on device"
        with pytest.raises(SinkError, match=message), open_sink("jsonl:/dev/full") as sink:
            sink.write(observation(0), None)

    def test_a_disk_that_fills_up_within_a_line_keeps_whole_lines(self, tmp_path: Path) -> None:
        path = tmp_path / "log.jsonl"
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
        try:
            with pytest.raises(SinkError, match="File too large"), open_sink(f"jsonl:{path}") as sink:
                for i in range(100):
                    sink.write(observation(i), None)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert path.read_text().endswith("\n")
        assert [line["frame"] for line in lines(path)] == list(range(len(lines(path)))) and len(lines(path)) >= 4

    def test_folders_must_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(SinkError, match=r"can't write to .*log\.jsonl: make its folder first"):
            JsonlSink(str(tmp_path / "no" / "log.jsonl")).open()
        with pytest.raises(SinkError, match="Is a directory"):
            JsonlSink(str(tmp_path)).open()

    def test_standard_output(self, capfd: pytest.CaptureFixture[str]) -> None:
        with open_sink("jsonl:-") as sink:
            sink.write(observation(4), None)
        assert json.loads(capfd.readouterr().out)["frame"] == 4

    def test_a_reader_that_goes_away_ends_the_run(self) -> None:
        program = (
            "import sys; sys.path[:0] = " + repr(sys.path) + "\n"
            "from test_sinks import observation\n"
            "from mien.edge.sinks import open_sink\n"
            "with open_sink('jsonl:-') as sink:\n"
            "    for i in range(100_000):\n"
            "        sink.write(observation(i), None)\n"
            "        if sink.done: break\n"
            "print(i, file=sys.stderr)\n"
        )
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            assert child.stdout and child.stderr
            assert json.loads(child.stdout.readline())["frame"] == 0
            child.stdout.close()
            assert int(child.stderr.read()) < 99_999
            assert child.wait(60) == 0


class TestVideo:
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".MP4"])
    def test_keeps_frames_size_and_rate(self, tmp_path: Path, suffix: str) -> None:
        path = tmp_path / f"out{suffix}"
        with open_sink(f"video:{path}", 12.5) as sink:
            assert sink.wants_picture
            for i in range(6):
                sink.write(observation(i, 100 + i / 12.5), picture(40 * i))
                assert not path.exists(), "it must appear only when it is whole"
        images = read_video(path)
        assert [round(float(image.mean()) / 40) for image in images] == [0, 1, 2, 3, 4, 5]
        assert images[0].shape == (48, 64, 3)
        assert cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
        assert [each.name for each in tmp_path.iterdir()] == [path.name]

    def test_a_slow_camera_plays_at_the_right_speed(self, tmp_path: Path) -> None:
        path = tmp_path / "out.avi"
        with VideoSink(str(path), 10) as sink:
            for i in range(5):  # two frames a second
                sink.write(observation(i, 50 + i / 2), picture(40 * i))
        assert len(read_video(path)) == 21

    def test_a_clock_that_is_set_is_not_filled_with_frames(self, tmp_path: Path) -> None:
        path = tmp_path / "out.avi"
        with VideoSink(str(path), 10) as sink:
            for i, at in enumerate([0.0, 0.1, 1.7e9, 1.7e9 + 0.1, 5.0, 5.1]):
                sink.write(observation(i, at), picture(40 * i))
        assert [round(float(image.mean()) / 40) for image in read_video(path)] == [0, 1, 2, 3, 4, 5]

    def test_odd_and_changing_sizes(self, tmp_path: Path) -> None:
        path = tmp_path / "out.avi"
        with VideoSink(str(path), 1) as sink:
            for i, (height, width) in enumerate([(47, 61), (200, 100), (3, 300)]):
                sink.write(observation(i, i), picture(200, height, width))
        images = read_video(path)
        assert [image.shape for image in images] == [(48, 62, 3)] * 3
        assert images[0].min() > 190, "rounding to an even size left a dark border"
        assert images[1][:, 31].min() > 190 and images[1][:, :15].max() < 60, "not fitted in with its proportions"

    def test_an_error_elsewhere_leaves_a_whole_video(self, tmp_path: Path) -> None:
        path = tmp_path / "out.mp4"
        with pytest.raises(RuntimeError), VideoSink(str(path)) as sink:
            for i in range(10):
                sink.write(observation(i, i / 25), picture(100))
            raise RuntimeError
        assert len(read_video(path)) == 10

    def test_without_frames_nothing_is_written(self, tmp_path: Path) -> None:
        (tmp_path / "out.mp4").write_text("an earlier one")
        with VideoSink(str(tmp_path / "out.mp4")):
            pass
        assert (tmp_path / "out.mp4").read_text() == "an earlier one"

    def test_a_full_disk_keeps_what_there_is(self, tmp_path: Path) -> None:
        path = tmp_path / "out.avi"
        free = os.statvfs(tmp_path)
        sink = VideoSink(str(path), reserve=0)
        with pytest.raises(SinkError, match="the disk is full; the video up to here is kept"), sink:
            sink.write(observation(0, 0), picture(100))
            sink._reserve = free.f_blocks * free.f_frsize + 1
            sink.write(observation(1, 0.04), picture(100))
        assert len(read_video(path)) == 1

    def test_targets_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"video:a\.webm must end in \.mp4, \.mkv, \.avi"):
            open_sink("video:a.webm")
        with pytest.raises(SinkError, match="no is not a folder that can be written to"):
            VideoSink(str(tmp_path / "no" / "a.mp4")).open()
        (tmp_path / "a.mp4").mkdir()
        with pytest.raises(SinkError, match="it is a folder"):
            VideoSink(str(tmp_path / "a.mp4")).open()

    def test_a_size_that_cannot_be_encoded(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SinkError, match="can't encode 70000×2 to it"), VideoSink(str(tmp_path / "a.mp4")) as sink:
            sink.write(observation(0), picture(1, 2, 70_000))
        assert list(tmp_path.iterdir()) == []

    def test_fit_keeps_proportions(self) -> None:
        fitted = fit(picture(255, 10, 40), (20, 20))
        assert fitted.shape == (20, 20, 3)
        assert np.flatnonzero(fitted[:, 0, 0]).tolist() == [7, 8, 9, 10, 11]


class TestPicture:
    def test_the_latest_with_faces_wins(self, tmp_path: Path) -> None:
        path = tmp_path / "out.png"
        with open_sink(f"image:{path}") as sink:
            for level, faces in ((10, 0), (20, 2), (30, 1), (40, 0)):
                sink.write(observation(0, faces=faces), picture(level))
        assert (cv2.imread(str(path)) == 30).all()
        assert [each.name for each in tmp_path.iterdir()] == ["out.png"]

    def test_without_faces_the_latest(self, tmp_path: Path) -> None:
        with open_sink(f"image:{tmp_path / 'out.png'}") as sink:
            for level in (10, 20):
                sink.write(observation(0, faces=0), picture(level))
        assert (cv2.imread(str(tmp_path / "out.png")) == 20).all()

    def test_it_is_renewed_while_the_run_goes_on_but_not_too_often(self, tmp_path: Path) -> None:
        path = tmp_path / "out.png"
        with PictureSink(str(path), interval=0.3) as sink:
            sink.write(observation(0), picture(10))
            assert (cv2.imread(str(path)) == 10).all()
            sink.write(observation(1), picture(20))
            assert (cv2.imread(str(path)) == 10).all()
            time.sleep(0.35)
            sink.write(observation(2), picture(30))
            assert (cv2.imread(str(path)) == 30).all()

    def test_targets_that_cannot_be_written(self, tmp_path: Path) -> None:
        for target in ("a.foo", "a"):
            with pytest.raises(ConfigError, match=rf"image:{target} must end in \.jpg, \.png"):
                open_sink(f"image:{target}")
        with pytest.raises(SinkError, match="no is not a folder that can be written to"):
            PictureSink(str(tmp_path / "no" / "a.jpg")).open()
        with pytest.raises(SinkError, match="can't write"), PictureSink(str(tmp_path / "a.webp")) as sink:
            sink.write(observation(0), picture(1, 2, 20_000))  # WebP ends at 16,383 pixels
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "uri, message",
    [
        ("log.jsonl", "unknown sink log.jsonl: write one of jsonl:…, video:…, image:…, window:…"),
        ("fax:host", "unknown sink fax:host"),
        ("jsonl:", "sink jsonl: names no file: write jsonl:PATH"),
        ("window:1", "window:1 must be window: with nothing behind it"),
    ],
)
def test_uris_that_cannot_be(uri: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_sink(uri)


@pytest.mark.parametrize(
    ("uri", "module", "extra"),
    [("mqtt://host", "paho.mqtt.client", "mqtt"), ("metrics:", "prometheus_client", "metrics")],
)
def test_a_library_that_is_not_installed(uri: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(RuntimeMissing, match=rf"needs {module}: pip install 'mien\[{extra}\]'"):
        open_sink(uri)
