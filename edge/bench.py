"""How fast this machine reads faces: stages, threads, further faces, against a search of every whole frame."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .bundle import Bundle
from .classifier import Classifier
from .config import Config
from .errors import SourceError
from .finder import Finder, make_finder
from .overlay import draw_overlay
from .pipeline import Pipeline
from .preprocess import crop_face, to_gray
from .records import Box, Frame, Image
from .runtime import runtime_name
from .smoother import Smoother
from .sources import Source
from .sources.fake import FakeSource

STAGES = ("gray", "detect", "classify", "draw")
FACES = (1, 3, 8)
_WHOLE_FRAMES = 8
"""Frames a repeat that are searched whole, spread over the film: each takes many times as long."""

Progress = Callable[[str], None]
"""Is told what is being measured."""


@dataclass(frozen=True)
class Spread:
    """A stage's milliseconds a frame."""

    median: float
    p95: float
    p99: float

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Spread:
        """The spread of at least one time."""
        return cls(*(round(float(np.percentile(milliseconds, q)), 3) for q in (50, 95, 99)))


@dataclass(frozen=True)
class Benchmark:
    """What `bench` measured; times in milliseconds."""

    machine: dict[str, str]
    frames: int
    height: int
    """Of a frame, pixels."""
    width: int
    faces: float
    """Mean number of faces in a frame."""
    stages: dict[str, Spread]
    all: Spread
    """Of all stages of a frame together."""
    whole_ms: float
    """Mean of a frame that is searched whole, with the same model."""
    times_faster: float
    """Median over the repeats of that against the engine's mean."""
    model_ms: dict[int, float]
    """Threads → median of the bare model on one face."""
    threads: int
    """Recommended: the fewest that are within a tenth of the fastest."""
    faces_ms: dict[int, float]
    """Faces in a frame → mean of such a frame; empty if the source shows no face to make them from."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def to_text(self) -> str:
        """Tables, and a sentence that says what to expect."""
        lines = [f"{name:10}{value}" for name, value in self.machine.items()]
        lines += [
            "",
            f"{self.frames} frames of {self.width}×{self.height}, {self.faces:.1f} faces in each, one thread",
            "",
        ]
        lines.append(f"{'ms a frame':12}{'median':>9}{'95 %':>9}{'99 %':>9}")
        for name, spread in (*self.stages.items(), ("all", self.all)):
            lines.append(f"{name:12}{spread.median:9.2f}{spread.p95:9.2f}{spread.p99:9.2f}")
        lines += ["", f"searched whole, a frame takes {self.whole_ms:.1f} ms: {self.times_faster:.1f} × as long", ""]
        row = ", ".join(f"{threads}: {ms:.2f}" for threads, ms in self.model_ms.items())
        lines.append(f"the model alone, ms a face by threads: {row}; recommended: --threads {self.threads}")
        if self.faces_ms:
            rates = [f"{1000 / ms:.0f} frames/s with {n} face{'s' * (n > 1)}" for n, ms in self.faces_ms.items()]
            lines += ["", f"Expect {', '.join(rates)}, on one core, capture and output aside."]
        return "\n".join(lines)


def bench(source: Source, settings: Config, bundle: Bundle, frames: int, repeats: int, progress: Progress) -> Benchmark:
    """Measures on the first `frames` frames of a source, which are held in memory. Raises SourceError."""
    cv2.setNumThreads(1)
    progress("reads frames")
    film = _read(source, frames)
    stages: dict[str, list[float]] = {name: [] for name in STAGES}
    every: list[float] = []
    whole: list[float] = []
    ratios: list[float] = []
    found = 0
    face: Image | None = None
    for turn in range(repeats):
        progress(f"repeat {turn + 1} of {repeats}")
        times, found, face = _run(film, _finder(settings, every_frame=False), Classifier(bundle), settings, stages)
        every += times
        some = [film[i] for i in sorted({int(i) for i in np.linspace(0, len(film) - 1, _WHOLE_FRAMES)})]
        slow, _, _ = _run(some, _finder(settings, every_frame=True), Classifier(bundle), settings, None)
        whole.append(statistics.mean(slow))
        ratios.append(whole[-1] / statistics.mean(times))
    progress("threads")
    model_ms = sweep(bundle)
    fastest = min(model_ms.values())
    progress("further faces")
    faces_ms = _many_faces(face, bundle, settings) if face is not None else {}
    height, width = film[0].gray.shape
    return Benchmark(
        machine=machine(),
        frames=len(film),
        height=height,
        width=width,
        faces=round(found / len(film), 2),
        stages={name: Spread.of(times) for name, times in stages.items() if times},
        all=Spread.of(every),
        whole_ms=round(statistics.median(whole), 2),
        times_faster=round(statistics.median(ratios), 2),
        model_ms=model_ms,
        threads=next(threads for threads, ms in model_ms.items() if ms <= 1.1 * fastest),
        faces_ms=faces_ms,
    )


def sweep(bundle: Bundle, rounds: int = 60) -> dict[int, float]:
    """Threads → median milliseconds of the bare model on one face; 1, 2, 4 … up to the machine's cores, in turns."""
    cores = os.cpu_count() or 1
    counts = sorted({count for count in (1, 2, 4, 8, 16) if count <= cores} | {min(cores, 16)})
    classifiers = {count: Classifier(bundle, count) for count in counts}
    face = np.random.default_rng(0).integers(0, 256, (1, *classifiers[1].face_size)).astype(np.uint8)
    times: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count, classifier in classifiers.items():
            start = time.perf_counter()
            for _ in range(5):
                classifier.scores(face)
            times[count].append(200 * (time.perf_counter() - start))
    return {count: round(statistics.median(row[5:]), 3) for count, row in times.items()}


def machine() -> dict[str, str]:
    """What the figures depend on."""
    about = {"machine": _model(), "cores": str(os.cpu_count()), "system": f"{platform.system()} {platform.release()}"}
    governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor.exists():
        about["governor"] = governor.read_text(encoding="ascii").strip()
    if tool := shutil.which("vcgencmd"):
        done = subprocess.run([tool, "get_throttled"], capture_output=True, text=True, check=False)
        value = done.stdout.strip().removeprefix("throttled=")
        about["throttled"] = "no" if value == "0x0" else f"yes ({value}): cool it, or use a stronger power supply"
    about["software"] = f"Python {platform.python_version()}, OpenCV {cv2.__version__}, {runtime_name()}"
    return about


def _model() -> str:
    """Such as Raspberry Pi 5 Model B, or the processor's name."""
    board = Path("/proc/device-tree/model")
    if board.exists():
        return board.read_text(encoding="utf-8").strip("\0\n")
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _read(source: Source, count: int) -> list[Frame]:
    film: list[Frame] = []
    with source:
        for frame in source:
            film.append(frame)
            if len(film) == count:
                break
    if not film:
        raise SourceError("the source gives no frame to measure on")
    return film


def _finder(settings: Config, every_frame: bool) -> Finder:
    return make_finder(settings.detector, settings.tracker, every_frame)


def _run(
    film: Sequence[Frame],
    finder: Finder,
    classifier: Classifier,
    settings: Config,
    stages: dict[str, list[float]] | None,
) -> tuple[list[float], int, Image | None]:
    """Milliseconds of each frame, the number of readings, and the largest face with what is around it."""
    smoother = Smoother(classifier.labels, classifier.uncertain_below, **vars(settings.smoothing))
    pipeline = Pipeline(FakeSource([]), finder, classifier, smoother, [])
    times, found = [], 0
    best: Image | None = None
    for frame in film:
        start = time.perf_counter()
        gray = to_gray(frame.image)
        converted = time.perf_counter()
        observation = pipeline.observe(Frame(frame.index, frame.time, frame.image, gray))
        observed = time.perf_counter()
        if settings.overlay:
            draw_overlay(frame.image, observation.readings, settings.privacy.notice)
        times.append(1000 * (time.perf_counter() - start))
        found += len(observation.readings)
        if stages is not None:
            stages["gray"].append(1000 * (converted - start))
            if settings.overlay:
                stages["draw"].append(1000 * (time.perf_counter() - observed))
        for reading in observation.readings:
            box = reading.face.box
            if best is None or box.width > best.shape[0]:
                margin = box.width // 3
                around = Box(box.x - margin, box.y - margin, box.width + 2 * margin, box.height + 2 * margin)
                best = crop_face(gray, around, 150, 150)
    if stages is not None:
        for name in ("detect", "classify"):
            stages[name] += [1000 * seconds for seconds in pipeline.timings(name)]
    return times, found, best


def _many_faces(face: Image, bundle: Bundle, settings: Config) -> dict[int, float]:
    """Faces in a 640×480 frame → mean milliseconds a frame; one face, many times over."""
    result = {}
    noise = np.random.default_rng(0)
    for count in FACES:
        picture = np.full((480, 640), 90, np.uint8)
        for i in range(count):
            row, column = divmod(i, 4)
            picture[80 + 170 * row : 230 + 170 * row, 5 + 157 * column : 155 + 157 * column] = face
        film = []
        for i in range(30):
            gray = np.clip(picture + noise.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
            film.append(Frame(i, i / 25, cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), gray))  # type: ignore[arg-type]
        times, _, _ = _run(film, _finder(settings, every_frame=False), Classifier(bundle), settings, None)
        result[count] = round(statistics.mean(times[5:]), 3)
    return result
