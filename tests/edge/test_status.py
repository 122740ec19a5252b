"""What a run says of itself while it goes on."""

from __future__ import annotations

import json
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest
from observations import Camera, Dark, Keeper, OneBox

from mien.edge.finder import EveryFrame
from mien.edge.pipeline import STAGES, Pipeline
from mien.edge.records import Image, Observation
from mien.edge.smoother import Smoother
from mien.edge.sources import without_password
from mien.edge.status import BUCKETS_MS, Board, Histogram, Status, throttling


def make_pipeline(camera: Camera, *sinks: Keeper) -> Pipeline:
    smoother = Smoother(("dark",), 0.0, 0.0, 0.0)
    return Pipeline(camera, EveryFrame(OneBox()), Dark(), smoother, sinks, source_name="a camera", model_name="dark 1")


def test_the_status_of_a_run_while_it_goes_on() -> None:
    during: list[Status] = []

    class Asker(Keeper):
        def attach(self, status) -> None:  # type: ignore[no-untyped-def]
            self.status = status

        def deliver(self, observation: Observation, picture: Image | None) -> None:
            during.append(self.status())

    first, second = Asker(fails_at=range(3)), Keeper(fails_at=range(3))
    with Camera(200, written=lambda: second.written) as camera, first, second:
        pipeline = make_pipeline(camera, first, second)
        pipeline.run()
        status = pipeline.status()
    assert len(during) == 200 and all(a.frames <= b.frames for a, b in pairwise(during))
    assert 50 < during[150].frames <= 151 and during[150].fps > 0
    assert (status.frames, status.faces) == (200, 200)
    assert status.source == "a camera" and status.model == "dark 1" and status.version.startswith("0.")
    assert status.sink_errors["sink-2"] == 3 and set(status.queue_depth) == {"output", "sink", "sink-2"}
    assert set(status.dropped) == {"capture", "output", "sink", "sink-2"}
    assert sum(status.latencies["classify"].counts) == 200
    assert status.latencies["classify"].total_ms > 0
    assert tuple(status.stages_ms) == STAGES and status.stages_ms["classify"] > 0 == status.stages_ms["draw"]
    values = json.loads(json.dumps(status.to_json()))
    assert "latencies" not in values and values["time"].endswith("Z") and values["camera_restarts"] == 0


def test_the_frame_rate_is_that_of_the_last_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.edge import pipeline as module

    with Camera(1) as camera:
        pipeline = make_pipeline(camera)
        now = [100.0]
        monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
        pipeline._begin = 0.0
        pipeline._finished.extend(90 + i / 10 for i in range(100))  # ten a second until now
        assert pipeline.status().fps == pytest.approx(10, rel=0.05)
        now[0] = 102.5
        assert pipeline.status().fps == pytest.approx(5, rel=0.05), "nothing came for half of the time"
        now[0] = 110.0
        assert pipeline.status().fps == 0
        pipeline._finished.extend(110 + i / 1000 for i in range(1000))  # more than are remembered
        now[0] = 111.0
        assert pipeline.status().fps == pytest.approx(1000, rel=0.05)


def test_asking_from_many_threads_disturbs_nothing() -> None:
    stop = threading.Event()
    errors: list[BaseException] = []

    def ask(pipeline: Pipeline) -> None:
        try:
            while not stop.is_set():
                pipeline.status().to_json()
                time.sleep(0.001)
        except BaseException as error:
            errors.append(error)

    with Camera(300, interval=0.002) as camera, Keeper() as keeper:
        pipeline = make_pipeline(camera, keeper)
        threads = [threading.Thread(target=ask, args=(pipeline,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        stats = pipeline.run()
        stop.set()
        for thread in threads:
            thread.join()
    assert not errors and stats.frames + stats.dropped["output"] == 300


def test_a_histogram_puts_each_duration_into_its_bucket() -> None:
    histogram = Histogram()
    for value in (0.1, 0.5, 0.6, 999.0, 5000.0):
        histogram.add(value)
    assert histogram.counts[:2] == [2, 1] and histogram.counts[-2:] == [1, 1] and sum(histogram.counts) == 5
    assert len(histogram.counts) == len(BUCKETS_MS) + 1 and histogram.total_ms == pytest.approx(6000.2)


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        (0, "no"),
        (0x50005, "under-voltage now, throttled now"),
        (0x50000, "under-voltage earlier, throttled earlier"),
        (0x80008, "too hot now"),
    ],
)
def test_throttling_in_words(bits: int, words: str) -> None:
    assert throttling(bits) == words


def test_the_board_is_read_when_asked_and_seldom(tmp_path: Path) -> None:
    zones = tmp_path / "sys/class/thermal"
    for number, (kind, temperature) in enumerate([("gpu-thermal", 30_000), ("cpu-thermal", 51_200)]):
        zone = zones / f"thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(kind + "\n")
        (zone / "temp").write_text(f"{temperature}\n")
    firmware = tmp_path / "sys/devices/platform/soc/soc:firmware"
    firmware.mkdir(parents=True)
    (firmware / "get_throttled").write_text("50005\n")
    now = [0.0]
    board = Board(5.0, tmp_path, lambda: now[0])
    assert board.read() == (51.2, "under-voltage now, throttled now")
    (zones / "thermal_zone1" / "temp").write_text("60000\n")
    now[0] = 4.9
    assert board.read()[0] == 51.2
    now[0] = 5.0
    assert board.read()[0] == 60.0


def test_a_board_that_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Board(root=tmp_path).read() == (None, None)
    command = tmp_path / "vcgencmd"
    command.write_text("#!/bin/sh\necho throttled=0x20002\n")
    command.chmod(0o755)
    assert Board(root=tmp_path).read() == (None, "frequency capped now")
    command.write_text("#!/bin/sh\necho VCHI initialization failed\nexit 255\n")
    assert Board(root=tmp_path).read() == (None, None)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://me:secret@camera:554/a?token=1#x", "rtsp://camera:554/a"),
        ("films/a@b.mp4", "films/a@b.mp4"),
        ("v4l2:///dev/video0?width=640", "v4l2:///dev/video0"),
    ],
)
def test_a_sources_name_holds_no_password(uri: str, shown: str) -> None:
    assert without_password(uri) == shown
