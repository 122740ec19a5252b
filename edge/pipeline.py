"""The loop: frames in, observations out, each stage timed."""

from __future__ import annotations

import resource
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any, Protocol, TypeVar

import numpy as np

from .bundle import Crop
from .finder import Finder
from .overlay import draw_overlay
from .preprocess import crop_face, part_of
from .records import Frame, Image, Observation
from .sinks.base import Sink
from .smoother import Smoother
from .sources.base import Source

STAGES = ("capture", "detect", "classify", "draw", "sink")
_REMEMBERED = 10_000
"""Timings kept of each stage: enough for a median, little enough for a run of months."""

T = TypeVar("T")


class FaceClassifier(Protocol):
    """Reads gray faces."""

    labels: tuple[str, ...]
    face_size: tuple[int, int]
    """Height and width of a face, pixels."""
    crop: Crop

    def scores(self, faces: Image) -> np.ndarray:
        """float32 [N, labels]: probabilities of gray faces uint8 [N, height, width]."""


@dataclass(frozen=True)
class Stats:
    """Figures of one run."""

    frames: int
    seconds: float
    """From the loop's start to its end."""
    fps: float
    """Frames worked on a second."""
    faces: int
    """Readings in all: the same face in ten frames counts ten times."""
    stages_ms: dict[str, float]
    """Stage → median milliseconds of the frames in which it had something to do; 0 if there were none."""
    peak_rss_mb: float
    """The process's largest resident memory, MiB."""

    def to_json(self) -> dict[str, Any]:
        """Plain values, rounded to what they are worth."""
        values = asdict(self)
        for key, digits in (("seconds", 3), ("fps", 2), ("peak_rss_mb", 1)):
            values[key] = round(values[key], digits)
        values["stages_ms"] = {stage: round(value, 3) for stage, value in self.stages_ms.items()}
        return values

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in self.stages_ms.items())
        return (
            f"{self.frames} frames in {self.seconds:.1f} s ({self.fps:.1f}/s), {self.faces} faces; "
            f"ms a frame: {stages}; {self.peak_rss_mb:.0f} MiB"
        )


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
    ) -> None:
        """Without `overlay` sinks get pictures as they came."""
        self._source, self._finder, self._classifier, self._smoother = source, finder, classifier, smoother
        self._sinks, self._overlay = sinks, overlay
        self._timings: dict[str, deque[float]] = {stage: deque(maxlen=_REMEMBERED) for stage in STAGES}

    def stop(self) -> None:
        """Ends `run` after the current frame; may be called by a signal handler or another thread."""
        self._source.stop()

    def run(self, max_frames: int | None = None) -> Stats:
        """Works until the source ends, a sink is done, or `max_frames` frames. Raises SourceError, SinkError."""
        frames = faces = 0
        start = time.perf_counter()
        source = iter(self._source)
        while max_frames is None or frames < max_frames:
            frame = self._timed("capture", lambda: next(source, None))
            if frame is None:
                break
            observation = self.observe(frame)
            self._write(observation)
            frames += 1
            faces += len(observation.readings)
            if any(sink.done for sink in self._sinks):
                break
        seconds = time.perf_counter() - start
        return Stats(
            frames=frames,
            seconds=seconds,
            fps=frames / seconds if seconds else 0.0,
            faces=faces,
            stages_ms={stage: 1000 * median(values) if values else 0.0 for stage, values in self._timings.items()},
            peak_rss_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )

    def observe(self, frame: Frame) -> Observation:
        """Finds and reads all faces of a frame."""
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
        picture = None
        if any(sink.wants_picture for sink in self._sinks):
            picture = observation.frame.image
            if self._overlay:
                picture = self._timed("draw", lambda: draw_overlay(observation.frame.image, observation.readings))

        def write() -> None:
            for sink in self._sinks:
                sink.write(observation, picture if sink.wants_picture else None)

        self._timed("sink", write)

    def _timed(self, stage: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        self._timings[stage].append(time.perf_counter() - start)
        return result
