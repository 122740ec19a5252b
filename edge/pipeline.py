"""The loop: frames in, observations out, each stage timed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import version
from statistics import median
from typing import Any, Protocol, TypeVar

import numpy as np

from .blur import FaceBlur
from .bundle import Crop
from .channel import Channel
from .finder import Finder
from .overlay import draw_overlay
from .preprocess import crop_face, part_of
from .records import Frame, Image, Observation
from .sinks.base import Sink
from .smoother import Smoother
from .sources.base import Source
from .stats import Stats, peak_memory
from .status import Board, Histogram, Status

STAGES = ("capture", "detect", "classify", "draw", "sink")
_REMEMBERED = 10_000
"""Timings kept of each stage: enough for a median, little enough for a run of months."""
_LATEST = 100
"""Timings, of each stage, that the status takes the median of."""
_RECENT = 5.0
"""Seconds over which the status tells the frame rate."""
_AHEAD = 3
"""Frames, and observations, that may wait between two stages: each holds a picture."""
_PATIENCE = 5.0
"""Seconds for a stage to end its current frame."""

T = TypeVar("T")


class FaceClassifier(Protocol):
    """Reads gray faces."""

    labels: tuple[str, ...]
    face_size: tuple[int, int]
    """Height and width of a face, pixels."""
    crop: Crop

    def scores(self, faces: Image) -> np.ndarray:
        """float32 [N, labels]: probabilities of gray faces uint8 [N, height, width]."""


class Pipeline:
    """Takes frames from a source to sinks; both are entered and left by the caller."""

    def __init__(
        self,
        source: Source,
        finder: Finder,
        classifier: FaceClassifier,
        smoother: Smoother,
        sinks: Sequence[Sink],
        overlay: bool = True,
        source_name: str = "",
        model_name: str = "",
        notice: str = "",
        blur: bool = False,
    ) -> None:
        """Without `overlay` sinks get pictures as they came; the names are for the status.

        `notice` is drawn with the overlay. With `blur` no sink gets a picture with a face in it that was found.
        """
        self._source, self._finder, self._classifier, self._smoother = source, finder, classifier, smoother
        self._sinks, self._overlay, self._notice = sinks, overlay, notice
        self._blur = FaceBlur() if blur else None
        self._stopped = False
        self._successor: tuple[Finder, FaceClassifier, Smoother, bool] | None = None
        self._missed = 0
        self._timings: dict[str, deque[float]] = {stage: deque(maxlen=_REMEMBERED) for stage in STAGES}
        self._latest: dict[str, deque[float]] = {stage: deque(maxlen=_LATEST) for stage in STAGES}
        self._latencies = {stage: Histogram() for stage in STAGES}
        self._names = (source_name, model_name)
        self._board = Board()
        self._observations: Channel[Observation] | None = None
        self._begin = time.perf_counter()
        self._count = self._faces = 0
        self._finished: deque[float] = deque(maxlen=round(_RECENT * 60))
        """When the latest frames were done, seconds of perf_counter."""

    def stop(self) -> None:
        """Ends `run` after the current frame; may be called by a signal handler or another thread."""
        self._stopped = True
        self._source.stop()

    def replace(self, finder: Finder, classifier: FaceClassifier, smoother: Smoother, overlay: bool = True) -> None:
        """Goes on with these from the next frame on; source and sinks stay. May be called from another thread."""
        self._successor = finder, classifier, smoother, overlay

    def run(self, max_frames: int | None = None) -> Stats:
        """Works until the source ends, a sink is done, or `max_frames` frames. Raises SourceError, SinkError.

        Capture, finding and reading, and output overlap: OpenCV and the runtime let go of the interpreter's lock.
        Sinks are called in this thread. A slow sink never holds up a live source: the oldest observation is dropped.
        """
        live = self._source.live
        frames: Channel[Frame] = Channel(_AHEAD)
        observations: Channel[Observation] = Channel(_AHEAD, drops=live)
        self._observations = observations
        captured = self._captured(max_frames)
        # A live source reads ahead in a thread of its own, and keeps the newest frame only.
        work = map(self.observe, captured if live else frames)
        threads = [threading.Thread(target=_pump, args=(work, observations), name="work", daemon=True)]
        if not live:
            threads.append(threading.Thread(target=_pump, args=(captured, frames), name="capture", daemon=True))
        for sink in self._sinks:
            sink.attach(self.status)
        self._count = self._faces = 0
        self._begin = start = time.perf_counter()
        for thread in threads:
            thread.start()
        try:
            for observation in observations:
                self._write(observation)
                self._count += 1
                self._faces += len(observation.readings)
                self._finished.append(time.perf_counter())
                if self._stopped or any(sink.done for sink in self._sinks):
                    break
        finally:
            self.stop()
            observations.cancel()
            frames.cancel()
            for thread in threads:
                thread.join(timeout=_PATIENCE)
        seconds = time.perf_counter() - start
        return Stats(
            frames=self._count,
            seconds=seconds,
            fps=self._count / seconds if seconds else 0.0,
            faces=self._faces,
            stages_ms={stage: 1000 * median(values) if values else 0.0 for stage, values in self._timings.items()},
            dropped={"capture": self._missed, "output": observations.dropped},
            peak_rss_mb=peak_memory(),
        )

    def status(self) -> Status:
        """What the run is doing now; cheap, and may be called from any thread."""
        now = time.perf_counter()
        finished = [moment for moment in self._finished.copy() if moment > now - _RECENT]
        # A queue that is full of recent frames began later than that.
        span = now - finished[0] if len(finished) == self._finished.maxlen else min(_RECENT, now - self._begin)
        temperature, throttled = self._board.read()
        names = _names(self._sinks)
        waiting = self._observations.waiting if self._observations else 0
        missed = self._observations.dropped if self._observations else 0
        return Status(
            time=time.time(),
            uptime_s=now - self._begin,
            frames=self._count,
            fps=len(finished) / span if finished and span > 0 else 0.0,
            faces=self._faces,
            stages_ms={
                stage: 1000 * median(values) if (values := latest.copy()) else 0.0
                for stage, latest in self._latest.items()
            },
            dropped={"capture": self._missed, "output": missed} | {name: sink.dropped for name, sink in names.items()},
            source=self._names[0],
            model=self._names[1],
            labels=self._classifier.labels,
            version=_version(),
            camera_restarts=self._source.restarts,
            queue_depth={"output": waiting} | {name: sink.pending for name, sink in names.items()},
            sink_errors={name: sink.errors for name, sink in names.items()},
            temperature_c=temperature,
            throttled=throttled,
            latencies={stage: histogram.copy() for stage, histogram in self._latencies.items()},
        )

    def _captured(self, max_frames: int | None) -> Iterator[Frame]:
        """The source's frames, timed; counts those that a live source left out."""
        source = iter(self._source)
        last: int | None = None
        taken = 0
        while max_frames is None or taken < max_frames:
            frame = self._timed("capture", lambda: next(source, None))
            if frame is None:
                return
            if last is not None and self._source.live:
                self._missed += max(0, frame.index - last - 1)
            last = frame.index
            taken += 1
            yield frame

    def timings(self, stage: str) -> list[float]:
        """Seconds that a stage took in each of the last frames in which it had something to do."""
        return list(self._timings[stage])

    def observe(self, frame: Frame) -> Observation:
        """Finds and reads all faces of a frame."""
        if self._successor is not None:
            (self._finder, self._classifier, self._smoother, self._overlay), self._successor = self._successor, None
        related = self._source.related
        if not related:
            self._smoother.reset()
        faces = self._timed("detect", lambda: self._finder.find(frame, related))
        if not faces:
            return Observation(frame, ())
        scores = self._timed("classify", lambda: self._classify(frame, [face.box for face in faces]))
        return Observation(frame, self._smoother.update(faces, scores, frame.time))

    def _classify(self, frame: Frame, boxes: Sequence[Any]) -> np.ndarray:
        parts = (part_of(box, self._classifier.crop) for box in boxes)
        crops = [crop_face(frame.gray, part, *self._classifier.face_size) for part in parts]
        return self._classifier.scores(np.stack(crops))

    def _write(self, observation: Observation) -> None:
        if self._blur is not None:
            observation = self._blur.apply(observation)
        picture = None
        # Asked once: a sink may want pictures only while somebody looks.
        wanting = {sink for sink in self._sinks if sink.wants_picture}
        if wanting:
            picture = image = observation.frame.image
            if self._overlay:
                picture = self._timed("draw", lambda: draw_overlay(image, observation.readings, self._notice))

        def write() -> None:
            for sink in self._sinks:
                sink.write(observation, picture if sink in wanting else None)

        self._timed("sink", write)

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        seconds = time.perf_counter() - start
        self._timings[stage].append(seconds)
        self._latest[stage].append(seconds)
        self._latencies[stage].add(1000 * seconds)
        return result


@cache
def _version() -> str:
    return version("mien")


def _names(sinks: Sequence[Sink]) -> dict[str, Sink]:
    """The sinks by name; a second one of a kind gets a number."""
    named: dict[str, Sink] = {}
    for sink in sinks:
        number = 1 + sum(other.name == sink.name for other in named.values())
        named[sink.name if number == 1 else f"{sink.name}-{number}"] = sink
    return named


def _pump(items: Iterable[T], channel: Channel[T]) -> None:
    """Sends items until they end, fail, or aren't wanted any more."""
    try:
        for item in items:
            if not channel.send(item):
                break
    except BaseException as error:
        channel.finish(error)
    else:
        channel.finish()
