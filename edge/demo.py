"""The demo: a moving picture made of two photographs, and what was read in it as a table and a picture."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from .errors import RuntimeMissing, SinkError
from .files import replacing
from .records import Image, Observation
from .sinks.base import Sink
from .sinks.video import fit
from .sources.pictures import read_picture
from .stats import Stats

WIDTH, HEIGHT = 640, 480
"""Of the moving picture, pixels."""
FRAME_RATE = 20
"""Of the moving picture, frames a second."""

# Made by United States government bodies, so in the public domain.
_PHOTOGRAPHS = (
    ("scikit-image", "skimage", "data/astronaut.png"),  # Eileen Collins, NASA
    ("matplotlib", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),  # Grace Hopper, United States Navy
)
"""Distribution and package that ship the photograph, and where in the package it is."""


class View(NamedTuple):
    """A cut-out of a photograph, in proportion to where it is shown; all in the photograph's pixels."""

    x: float
    """Centre."""
    y: float
    height: float


class Move(NamedTuple):
    """A camera's way over a photograph, shown in some columns of the frame."""

    photograph: int
    """Index into _PHOTOGRAPHS."""
    start: View
    end: View
    left: int = 0
    """First column, pixels."""
    width: int = WIDTH


_SHOTS: tuple[tuple[float, tuple[Move, ...]], ...] = (
    (2.0, (Move(0, View(256, 192, 384), View(285, 125, 230)),)),
    (2.0, (Move(1, View(256, 270, 384), View(266, 222, 320)),)),
    (
        2.5,
        (
            Move(0, View(215, 200, 400), View(226, 150, 290), 0, WIDTH // 2),
            Move(1, View(256, 300, 600), View(266, 250, 480), WIDTH // 2, WIDTH // 2),
        ),
    ),
)
"""Seconds, and what moves meanwhile: one face, after a cut the other elsewhere in the frame, then both at once."""

FRAMES = sum(round(seconds * FRAME_RATE) for seconds, _ in _SHOTS)
"""Of the moving picture."""


def find_photograph(distribution: str, package: str, file: str) -> Path:
    """A file that an installed package ships; the package isn't imported. Raises RuntimeMissing."""
    spec = importlib.util.find_spec(package)
    path = Path(spec.origin).parent / file if spec and spec.origin else None
    if path is None or not path.is_file():
        raise RuntimeMissing(f"the demo's photographs need {distribution}: pip install 'mien[demo]', or give a SOURCE")
    return path


def moving_picture(photographs: Sequence[Image]) -> Iterator[Image]:
    """Frames uint8 [HEIGHT, WIDTH, 3] of pans and zooms over the photographs (uint8 [H, W, 3], B, G, R)."""
    for seconds, moves in _SHOTS:
        count = round(seconds * FRAME_RATE)
        for step in np.linspace(0, 1, count):
            eased = step * step * (3 - 2 * step)
            frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
            for move in moves:
                view = View(*(a + (b - a) * eased for a, b in zip(move.start, move.end, strict=True)))
                frame[:, move.left : move.left + move.width] = _show(photographs[move.photograph], view, move.width)
            yield frame


def _show(photograph: Image, view: View, width: int) -> Image:
    """A view of a photograph as uint8 [HEIGHT, width, 3]; past its border the border's pixels are repeated."""
    scale = HEIGHT / view.height
    matrix = np.array([[scale, 0, width / 2 - view.x * scale], [0, scale, HEIGHT / 2 - view.y * scale]])
    return cv2.warpAffine(  # type: ignore[return-value]
        photograph, matrix, (width, HEIGHT), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def write_moving_picture(path: Path) -> None:
    """Writes the demo's moving picture to an .avi file. Raises RuntimeMissing, SinkError."""
    photographs = [read_picture(find_photograph(*each)) for each in _PHOTOGRAPHS]
    code = cv2.VideoWriter.fourcc(*"MJPG")
    try:
        with replacing(path) as partial:
            # OpenCV's own writer: it is in every build, and its quality can be set.
            writer = cv2.VideoWriter(str(partial), cv2.CAP_OPENCV_MJPEG, code, FRAME_RATE, (WIDTH, HEIGHT))
            writer.set(cv2.VIDEOWRITER_PROP_QUALITY, 90)
            for frame in moving_picture(photographs):
                writer.write(frame)
            writer.release()
            written = cv2.VideoCapture(str(partial))
            complete = written.isOpened() and written.get(cv2.CAP_PROP_FRAME_COUNT) == FRAMES
            written.release()
            if not complete:  # OpenCV tells of no failed write
                raise SinkError(f"can't write {path}: is the disk full?")
    except OSError as error:
        if isinstance(error, SinkError):
            raise
        raise SinkError(f"can't write {path}: {error.strerror}") from error


@dataclass
class Seen:
    """What was read of one face."""

    first: float
    """When it was first and last in view, seconds since the Epoch."""
    last: float
    emotions: Counter[str] = field(default_factory=Counter)
    """Emotion → frames."""


@dataclass
class _Scene:
    """The frames in which the same faces were in view, and the one of them that was read with most confidence."""

    first: int
    frames: int = 0
    confidence: float = -1.0
    picture: Image | None = None


class Summary(Sink):
    """Counts what was read of each face, and makes a picture of the longest scenes side by side."""

    wants_picture = True
    _TILES = 3
    _TILE = (300, 400)
    """Height and width of a scene in the picture, pixels."""
    _SCENES = 64
    """Scenes remembered, each with a picture; the shortest are forgotten."""

    def __init__(self, path: Path) -> None:
        """`path` is the picture's, a .jpg or .png."""
        self._path = path
        self._scenes: dict[frozenset[int], _Scene] = {}
        self._start: float | None = None
        self.faces: dict[int, Seen] = {}

    def open(self) -> None:
        pass

    def write(self, observation: Observation, picture: Image | None) -> None:
        time = observation.frame.time
        if self._start is None:
            self._start = time
        for reading in observation.readings:
            seen = self.faces.setdefault(reading.face.id, Seen(time, time))
            seen.last = time
            seen.emotions[reading.emotion] += 1
        who = frozenset(reading.face.id for reading in observation.readings)
        if who not in self._scenes and len(self._scenes) >= self._SCENES:
            del self._scenes[min(self._scenes, key=lambda key: self._scenes[key].frames)]
        scene = self._scenes.setdefault(who, _Scene(observation.frame.index))
        scene.frames += 1
        confidence = min((reading.confidence for reading in observation.readings), default=0.0)
        if confidence > scene.confidence:
            scene.confidence, scene.picture = confidence, picture

    def close(self) -> None:
        if not self._scenes:
            return
        with_faces = [scene for who, scene in self._scenes.items() if who] or list(self._scenes.values())
        longest = sorted(with_faces, key=lambda scene: -scene.frames)[: self._TILES]
        tiles = [
            fit(scene.picture, self._TILE)
            for scene in sorted(longest, key=lambda scene: scene.first)
            if scene.picture is not None
        ]
        try:
            with replacing(self._path) as partial:
                good, data = cv2.imencode(self._path.suffix, np.hstack(tiles))
                if not good:
                    raise SinkError(f"can't write {self._path}: OpenCV can't encode it")
                partial.write_bytes(data.tobytes())
        except OSError as error:
            if isinstance(error, SinkError):
                raise
            raise SinkError(f"can't write {self._path}: {error.strerror}") from error

    def table(self, stats: Stats, rows: int = 8) -> str:
        """The faces that were longest in view, at most `rows`, and what each stage took."""
        start = self._start or 0.0
        lines = [f"{'face':>4}  {'in view':14}{'frames':>6}  emotions"]
        longest = sorted(self.faces, key=lambda id: -self.faces[id].emotions.total())[:rows]
        for id in sorted(longest):
            seen = self.faces[id]
            frames = seen.emotions.total()
            shares = ", ".join(f"{name} {count / frames:.0%}" for name, count in seen.emotions.most_common())
            view = f"{seen.first - start:.1f} – {seen.last - start:.1f} s"
            lines.append(f"{id:4}  {view:14}{frames:6}  {shares}")
        if len(self.faces) > rows:
            lines.append(f"and {len(self.faces) - rows} more, each for a shorter time")
        if not self.faces:
            lines.append("no face was found")
        lines += ["", f"{'stage':10}{'ms':>7}{'frames/s':>10}"]
        for stage, ms in stats.stages_ms.items():
            lines.append(f"{stage:10}{ms:7.2f}{1000 / ms:10.0f}" if ms else f"{stage:10}{'–':>7}{'–':>10}")
        whole = 1000 / stats.fps if stats.fps else 0.0
        lines.append(f"{'all':10}{whole:7.2f}{stats.fps:10.0f}")
        return "\n".join(lines)
