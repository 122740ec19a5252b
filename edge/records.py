"""What flows through the pipeline: Source → Frame → [Face] → [Reading] → Observation → Sinks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""Gray uint8 [H, W] or colour uint8 [H, W, 3] in OpenCV's order B, G, R."""


class Box(NamedTuple):
    """An upright rectangle in the frame; it may reach over the frame's border."""

    x: int
    """Left edge, pixels from the frame's left."""
    y: int
    """Top edge, pixels from the frame's top."""
    width: int
    """Pixels, at least 1."""
    height: int
    """Pixels, at least 1."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source."""

    index: int
    """0 for the source's first frame; gaps are frames that were dropped."""
    time: float
    """When it was captured: seconds since the Unix epoch (UTC)."""
    image: Image
    """uint8 [H, W, 3], B, G, R."""
    gray: Image
    """uint8 [H, W], full-range luma of the same picture."""


@dataclass(frozen=True)
class Face:
    """A face found in one frame."""

    id: int
    """The same number while the same face stays in view; from 1."""
    box: Box


UNCERTAIN = "uncertain"
"""What a face is called whose likeliest emotion is not likely enough."""


@dataclass(frozen=True)
class Reading:
    """What the classifier says of one face."""

    face: Face
    scores: dict[str, float]
    """Label → probability, averaged over time, summing to 1."""
    emotion: str
    """One of the labels, or UNCERTAIN."""
    raw: dict[str, float]
    """Label → probability in this frame alone."""

    @property
    def confidence(self) -> float:
        """The emotion's probability, 0 to 1; the highest one if it is uncertain."""
        return self.scores[self.emotion] if self.emotion in self.scores else max(self.scores.values())

    @property
    def likeliest(self) -> tuple[str, float]:
        """The label that is likeliest in this frame alone, and its probability."""
        label = max(self.raw, key=self.raw.__getitem__)
        return label, self.raw[label]


@dataclass(frozen=True, eq=False)
class Observation:
    """One frame with all its readings."""

    frame: Frame
    readings: tuple[Reading, ...]

    def to_json(self) -> dict[str, Any]:
        """The log's form: time (ISO 8601, UTC), frame number and faces."""
        time = datetime.fromtimestamp(self.frame.time, UTC)
        return {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "frame": self.frame.index,
            "faces": [
                {
                    "id": reading.face.id,
                    "box": list(reading.face.box),
                    "emotion": reading.emotion,
                    "confidence": round(reading.confidence, 4),
                    "scores": {label: round(p, 4) for label, p in reading.scores.items()},
                    "raw": {"emotion": reading.likeliest[0], "confidence": round(reading.likeliest[1], 4)},
                }
                for reading in self.readings
            ],
        }
