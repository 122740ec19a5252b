"""Readings over time: each face's probabilities are averaged, and its label changes only for a reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .records import UNCERTAIN, Face, Reading


@dataclass
class _State:
    scores: np.ndarray
    """float [labels]: averaged probabilities."""
    time: float
    """Of the last reading, seconds."""
    emotion: str


class Smoother:
    """Averages each face's probabilities exponentially over time, and holds on to its label.

    The average has a time constant in seconds, so that it is the same at any frame rate. A label gives way only to one
    that is likelier by a margin, and certainty to uncertainty only when the confidence falls by a margin below the
    threshold (a Schmitt trigger).
    """

    def __init__(self, labels: Sequence[str], uncertain_below: float, time_constant: float, margin: float) -> None:
        """`time_constant` in seconds, 0 for none; `margin` is a difference of probabilities, 0 to 1."""
        self._labels, self._uncertain_below = tuple(labels), uncertain_below
        self._time_constant, self._margin = time_constant, margin
        self._states: dict[int, _State] = {}

    def reset(self) -> None:
        """Forgets all faces."""
        self._states.clear()

    def update(self, faces: Sequence[Face], scores: np.ndarray, time: float) -> tuple[Reading, ...]:
        """The readings of a frame captured at `time` (seconds): faces with their scores, float [N, labels]."""
        # A face that comes back after a while is read anew; one that is lost for a moment is not.
        patience = max(1.0, self._time_constant)
        self._states = {id: state for id, state in self._states.items() if 0 <= time - state.time <= patience}
        return tuple(self._read(face, row, time) for face, row in zip(faces, scores, strict=True))

    def _read(self, face: Face, raw: np.ndarray, time: float) -> Reading:
        state = self._states.get(face.id)
        if state is None or not self._time_constant:
            state = _State(raw.astype(float), time, "")
        else:
            share = 1 - math.exp(-(time - state.time) / self._time_constant)
            state = _State(state.scores + share * (raw - state.scores), time, state.emotion)
        state.emotion = self._decide(state)
        self._states[face.id] = state
        return Reading(
            face,
            dict(zip(self._labels, map(float, state.scores), strict=True)),
            state.emotion,
            dict(zip(self._labels, map(float, raw), strict=True)),
        )

    def _decide(self, state: _State) -> str:
        best = int(state.scores.argmax())
        confidence = float(state.scores[best])
        before = state.emotion if self._time_constant else ""
        if before in self._labels:
            if confidence < self._uncertain_below - self._margin / 2:
                return UNCERTAIN
            current = float(state.scores[self._labels.index(before)])
            return self._labels[best] if confidence >= current + self._margin else before
        threshold = self._uncertain_below + (self._margin / 2 if before == UNCERTAIN else 0.0)
        return self._labels[best] if confidence >= threshold else UNCERTAIN
