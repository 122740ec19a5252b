from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from faces import scene

from mien.edge.bundle import Bundle, Crop
from mien.edge.classifier import Classifier
from mien.edge.detector import HaarDetector
from mien.edge.errors import SinkError, SourceError
from mien.edge.finder import EveryFrame, Following
from mien.edge.overlay import draw_overlay
from mien.edge.pipeline import STAGES, Pipeline
from mien.edge.records import Box, Frame, Image, Observation
from mien.edge.sinks.base import Sink
from mien.edge.smoother import Smoother
from mien.edge.sources.fake import FakeSource
from mien.edge.tracker import Tracker


class Keeper(Sink):
    """Keeps what it is given."""

    def __init__(self, wants_picture: bool = True, done_after: int | None = None) -> None:
        self.wants_picture, self._done_after = wants_picture, done_after
        self.seen: list[tuple[Observation, Image | None]] = []

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def write(self, observation: Observation, picture: Image | None) -> None:
        self.seen.append((observation, picture))
        self.done = len(self.seen) == self._done_after


class BrightestCorner:
    """A detector that says the same two boxes of every picture that isn't black."""

    def detect(self, gray: Image) -> list[Box]:
        return [Box(-5, -5, 20, 20), Box(30, 20, 60, 60)] if gray.any() else []


class MeanClassifier:
    """Says bright or dark by a face's mean, and counts how often it was asked."""

    labels = ("dark", "bright")
    face_size = (8, 6)
    crop = Crop()

    def __init__(self) -> None:
        self.calls: list[int] = []

    def scores(self, faces: Image) -> np.ndarray:
        assert faces.shape[1:] == self.face_size and faces.dtype == np.uint8
        self.calls.append(len(faces))
        light = faces.mean(axis=(1, 2)) / 255
        return np.stack([1 - light, light], axis=1).astype(np.float32)


def plain() -> Smoother:
    """Takes each frame for itself."""
    return Smoother(MeanClassifier.labels, 0.0, 0.0, 0.0)


def levels(*values: int, **options: object) -> FakeSource:
    return FakeSource([np.full((48, 64, 3), value, np.uint8) for value in values], **options)  # type: ignore[arg-type]


def run(source: FakeSource, *sinks: Sink, max_frames: int | None = None, overlay: bool = True):  # type: ignore[no-untyped-def]
    classifier = MeanClassifier()
    with source:
        stats = Pipeline(source, EveryFrame(BrightestCorner()), classifier, plain(), sinks, overlay).run(max_frames)
    return stats, classifier


def test_all_faces_of_a_frame_in_one_call() -> None:
    keeper = Keeper()
    stats, classifier = run(levels(200, 0, 51), keeper)
    assert classifier.calls == [2, 2], "a frame without faces needs no classifier"
    assert (stats.frames, stats.faces) == (3, 4)
    first, second, third = (observation for observation, _ in keeper.seen)
    assert [reading.face.id for reading in first.readings] == [1, 2] and second.readings == ()
    assert [reading.face.id for reading in third.readings] == [1, 2], "faces lost for one frame keep their numbers"
    assert [reading.emotion for reading in first.readings] == ["bright", "bright"]
    assert third.readings[0].scores == pytest.approx({"dark": 0.8, "bright": 0.2}, abs=0.01)


def test_pictures_only_for_sinks_that_want_them() -> None:
    wanting, other = Keeper(), Keeper(wants_picture=False)
    stats, _ = run(levels(200), wanting, other)
    ((observation, drawn),) = wanting.seen
    assert drawn is not None and (drawn != observation.frame.image).any() and (observation.frame.image == 200).all()
    assert other.seen[0][1] is None
    assert stats.stages_ms["draw"] > 0

    stats, _ = run(levels(200), Keeper(wants_picture=False))
    assert stats.stages_ms["draw"] == 0


@pytest.mark.parametrize("overlay", [True, False])
def test_no_sink_gets_a_face_if_faces_are_hidden(overlay: bool) -> None:
    fine = np.indices((48, 64)).sum(0) % 2 * 255
    source = FakeSource([np.dstack([fine] * 3).astype(np.uint8)])
    keeper, other = Keeper(), Keeper(wants_picture=False)
    with source:
        Pipeline(
            source, EveryFrame(BrightestCorner()), MeanClassifier(), plain(), [keeper, other], overlay, blur=True
        ).run()
    ((observation, picture),) = keeper.seen
    ((unseen, _),) = other.seen
    inner = np.s_[25:40, 35:60]  # within the second face's box
    hidden = observation.frame.image
    assert np.array_equal(picture, draw_overlay(hidden, observation.readings) if overlay else hidden)
    for image in (observation.frame.image, observation.frame.gray, unseen.frame.image, unseen.frame.gray):
        assert image[inner].std() < 10


def test_the_notice_is_drawn_with_the_overlay() -> None:
    for overlay in (True, False):
        keeper = Keeper()
        with levels(200) as source:
            finder = EveryFrame(BrightestCorner())
            Pipeline(source, finder, MeanClassifier(), plain(), [keeper], overlay, notice="Read").run()
        picture = keeper.seen[0][1]
        assert picture is not None and bool((picture[:3, -5:] == 50).all()) is overlay


def test_without_overlay_pictures_stay_as_they_came() -> None:
    keeper = Keeper()
    run(levels(200), keeper, overlay=False)
    assert keeper.seen[0][1] is not None and (keeper.seen[0][1] == 200).all()


def test_ends_after_max_frames_or_when_a_sink_is_done() -> None:
    assert run(levels(1, 2, loop=True), Keeper(), max_frames=5)[0].frames == 5
    assert run(levels(1, 2, loop=True), Keeper(), Keeper(done_after=3))[0].frames == 3
    assert run(levels(), Keeper())[0].frames == 0


def test_stop_ends_the_run_after_the_current_frame() -> None:
    source = levels(1, loop=True)

    class Stopper(Keeper):
        def write(self, observation: Observation, picture: Image | None) -> None:
            super().write(observation, picture)
            if len(self.seen) == 4:
                pipeline.stop()

    with source:
        pipeline = Pipeline(source, EveryFrame(BrightestCorner()), MeanClassifier(), plain(), [Stopper()])
        assert pipeline.run().frames == 4


def test_faces_are_not_followed_between_unrelated_pictures() -> None:
    keeper = Keeper()
    run(levels(200, 200, related=False), keeper)
    assert [[reading.face.id for reading in observation.readings] for observation, _ in keeper.seen] == [[1, 2], [3, 4]]


def test_stats_are_plain_and_plausible() -> None:
    stats, _ = run(levels(200, 200, 200), Keeper())
    values = json.loads(json.dumps(stats.to_json()))
    assert set(values) == {"frames", "seconds", "fps", "faces", "stages_ms", "dropped", "peak_rss_mb"}
    assert tuple(values["stages_ms"]) == STAGES
    assert values["fps"] == pytest.approx(stats.frames / stats.seconds, rel=0.01)
    assert 20 < values["peak_rss_mb"] < 4000
    assert "3 frames" in str(stats) and "6 faces" in str(stats)


def test_an_error_of_a_sink_ends_the_run() -> None:
    class Failing(Keeper):
        def write(self, observation: Observation, picture: Image | None) -> None:
            raise SinkError("full")

    with pytest.raises(SinkError, match="full"):
        run(levels(1), Failing())


def test_an_error_of_a_source_comes_after_what_it_gave() -> None:
    class Torn(FakeSource):
        def frames(self) -> Iterator[Frame]:
            yield from super().frames()
            raise SourceError("torn")

    keeper = Keeper()
    with pytest.raises(SourceError, match="torn"):
        run(Torn([np.full((48, 64, 3), 200, np.uint8)] * 3), keeper)
    assert len(keeper.seen) == 3


class Slow(Keeper):
    """Takes its time over each observation."""

    def write(self, observation: Observation, picture: Image | None) -> None:
        time.sleep(0.02)
        super().write(observation, picture)


def test_a_file_is_never_dropped_from() -> None:
    slow = Slow()
    stats, _ = run(levels(*[200] * 30), slow)
    assert [observation.frame.index for observation, _ in slow.seen] == list(range(30))
    assert stats.dropped == {"capture": 0, "output": 0}


def test_a_slow_sink_never_holds_up_a_live_source() -> None:
    class Camera(FakeSource):
        live = True

        def frames(self) -> Iterator[Frame]:
            for frame in super().frames():
                time.sleep(0.002)
                yield replace(frame, index=frame.index * 2)  # every second one was missed

    slow = Slow()
    stats, _ = run(Camera([np.full((48, 64, 3), 200, np.uint8)] * 60), slow)
    seen = [observation.frame.index for observation, _ in slow.seen]
    assert seen == sorted(seen) and seen[-1] == 118, "the newest is always shown"
    assert stats.dropped["capture"] == 59 and stats.dropped["output"] == 60 - len(seen) > 0
    assert "dropped 59 before capture" in str(stats)


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    for done_after in (None, 2):
        run(levels(*[200] * 9), Keeper(done_after=done_after))
    assert threading.active_count() == before


def test_real_parts_together(bundle) -> None:  # type: ignore[no-untyped-def]
    images = [scene((20 + 5 * i, 60, 100), (190, 80, 90)) for i in range(4)]
    keeper = Keeper()
    with FakeSource(images) as source:
        classifier = Classifier(Bundle.load(bundle))
        smoother = Smoother(classifier.labels, 0.0, 0.5, 0.1)
        Pipeline(source, Following(HaarDetector(), Tracker()), classifier, smoother, [keeper]).run()
    for observation, _ in keeper.seen:
        assert [reading.face.id for reading in observation.readings] == [1, 2]
        for reading in observation.readings:
            assert sum(reading.scores.values()) == pytest.approx(1, abs=1e-5)
            assert reading.confidence == max(reading.scores.values()) == reading.scores[reading.emotion]
