"""A sink with a thread of its own: nothing that it does or suffers reaches the pipeline."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from observations import NOON, Camera, Dark, Gate, Keeper, OneBox, seen, wait_for

from mien.edge.errors import SinkError
from mien.edge.finder import EveryFrame
from mien.edge.pipeline import Pipeline
from mien.edge.records import Image, Observation
from mien.edge.sinks import background
from mien.edge.sinks.background import detached
from mien.edge.sinks.base import Sink
from mien.edge.smoother import Smoother


def test_all_is_delivered_in_order_by_another_thread() -> None:
    before = threading.active_count()
    with Keeper() as sink:
        for index in range(50):
            sink.write(seen(NOON + index, (1, "happy"), index=index))
    assert [observation.frame.index for observation, _ in sink.got] == list(range(50))
    assert sink.finished and (sink.dropped, sink.errors, sink.pending) == (0, 0, 0)
    assert threading.active_count() == before


def test_without_pictures_none_is_held() -> None:
    with Keeper() as sink:
        sink.write(seen(NOON, (1, "happy")), np.zeros((48, 64, 3), np.uint8))
    ((observation, picture),) = sink.got
    assert picture is None and observation.frame.image.size == 0 and observation.frame.gray.shape == (0, 0)
    assert observation.frame.time == NOON and observation.readings[0].emotion == "happy"


def test_with_pictures_they_come_along() -> None:
    with Keeper(wants_picture=True) as sink:
        sink.write(seen(NOON), np.full((48, 64, 3), 7, np.uint8))
    ((observation, picture),) = sink.got
    assert picture is not None and (picture == 7).all() and observation.frame.image.shape == (48, 64, 3)


def test_a_stuck_one_drops_the_oldest_and_is_given_up_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(background, "_PATIENCE", 0.1)
    gate = Gate()
    sink = Keeper(wants_picture=True, gate=gate)
    with sink:
        sink.write(seen(NOON, index=0), None)
        gate.reached.wait(10)
        for index in range(1, 11):
            sink.write(seen(NOON, index=index), None)
        assert (sink.dropped, sink.pending) == (6, 4)
    assert sink.stuck and "sink is stuck: 4 observations are lost" in caplog.text
    gate.open()
    wait_for(lambda: not any(thread.name == "sink sink" for thread in threading.enumerate()))


def test_errors_are_counted_told_once_a_minute_and_end_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "mien"), Keeper(fails_at=range(5)) as sink:
        for index in range(8):
            sink.write(seen(NOON, index=index))
        wait_for(lambda: len(sink.got) == 3)
        assert sink.errors == 5 and caplog.messages == ["sink: the cable is out"]
        monkeypatch.setattr(background, "_QUIET", 0.0)
        sink.write(seen(NOON, index=0))
        wait_for(lambda: sink.errors == 6)
    assert caplog.messages[1:] == ["sink: the cable is out (4 more since the last word of it)"]


def test_idle_is_called_while_nothing_comes() -> None:
    idled = threading.Event()

    class Idler(Keeper):
        def idle(self) -> None:
            idled.set()
            raise OSError("even this is only counted")

    with Idler() as sink:
        assert idled.wait(10)
    assert sink.errors >= 1 and sink.finished


def test_a_camera_goes_on_at_its_rate_past_a_stuck_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "_PATIENCE", 0.1)
    gate, free = Gate(), Keeper()
    stuck = Keeper(gate=gate)
    with Camera(300, written=lambda: free.written) as camera, stuck, free:
        pipeline = Pipeline(camera, EveryFrame(OneBox()), Dark(), Smoother(("dark",), 0.0, 0.0, 0.0), [stuck, free])
        stats = pipeline.run()
        assert stats.frames == 300 and stats.dropped == {"capture": 0, "output": 0} and not camera.waited_in_vain
        status = pipeline.status()
        assert status.queue_depth["sink"] > 250, "what is stuck waits in the sink, not in the pipeline"
        wait_for(lambda: len(free.got) == 300)
    gate.open()


class Closing(Sink):
    """Done after two observations, fails at one, and when it is closed."""

    wants_picture = True

    def __init__(self) -> None:
        self.thread = ""
        self.count = 0

    def open(self) -> None:
        pass

    def write(self, observation: Observation, picture: Image | None) -> None:
        self.thread = threading.current_thread().name
        assert picture is not None
        self.count += 1
        self.done = self.count == 2
        if self.count == 2:
            raise SinkError("no room")

    def close(self) -> None:
        raise SinkError("couldn't be finished")


def test_a_detached_sink_is_the_sink_in_another_thread() -> None:
    inner = Closing()
    inner.name = "video"
    sink = detached(inner)
    assert sink.wants_picture and sink.name == "video"
    with pytest.raises(SinkError, match="couldn't be finished"), sink:
        sink.write(seen(NOON), np.zeros((4, 4, 3), np.uint8))
        wait_for(lambda: inner.count == 1)
        assert not sink.done
        sink.write(seen(NOON), np.zeros((4, 4, 3), np.uint8))
        wait_for(lambda: sink.errors == 1)
    assert inner.thread == "sink video"


def test_what_has_a_thread_or_may_have_none_is_not_detached() -> None:
    keeper = Keeper()
    assert detached(keeper) is keeper
    inner = Closing()
    inner.may_be_detached = False
    assert detached(inner) is inner


def test_a_reader_that_went_away_ends_a_run_through_it() -> None:
    class Reader(Closing):
        def write(self, observation: Observation, picture: Image | None) -> None:
            self.done = True

        def close(self) -> None:
            pass

    with Camera(10_000, interval=0.001) as camera, detached(Reader()) as sink:
        stats = Pipeline(camera, EveryFrame(OneBox()), Dark(), Smoother(("dark",), 0.0, 0.0, 0.0), [sink]).run()
    assert stats.frames < 5000
