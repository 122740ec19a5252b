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
    weight: float
    """What the average rests on, 0 to 1."""
    time: float
    """Of the last reading, seconds."""
    emotion: str
    rival: str
    """What the average says in place of the emotion; the emotion itself if it agrees."""
    since: float
    """When the rival wasn't there yet, seconds."""


class Smoother:
    """Averages each face's probabilities over time, and holds on to its label.

    The average is exponential with a time constant in seconds, so that it is the same at any frame rate. A reading
    counts by as much as its likeliest label leads the next: a face that a hand covers or that is blurred says little.
    A label gives way to one that is likelier by a margin, and certainty to uncertainty when the confidence is below the
    threshold by some slack (a Schmitt trigger); either must last for a while first.
    """

    LEAST = 0.02
    """Weight of a reading whose two likeliest labels are as likely."""

    def __init__(
        self,
        labels: Sequence[str],
        uncertain_below: float,
        time_constant: float = 0.4,
        margin: float = 0.1,
        slack: float = 0.15,
        patience: float = 0.4,
    ) -> None:
        """`time_constant` in seconds, 0 for each reading by itself; `margin` and `slack` are differences of
        probabilities, 0 to 1; `patience` is how long a change must last before it is shown, in seconds."""
        self._labels, self._uncertain_below = tuple(labels), uncertain_below
        self._time_constant, self._margin, self._slack, self._patience = time_constant, margin, slack, patience
        self._states: dict[int, _State] = {}

    def reset(self) -> None:
        """Forgets all faces."""
        self._states.clear()

    def update(self, faces: Sequence[Face], scores: np.ndarray, time: float) -> tuple[Reading, ...]:
        """The readings of a frame captured at `time` (seconds): faces with their scores, float [N, labels]."""
        # A face that comes back after a while is read anew; one that is lost for a moment is not.
        memory = max(1.0, self._time_constant)
        self._states = {id: state for id, state in self._states.items() if 0 <= time - state.time <= memory}
        return tuple(self._read(face, row, time) for face, row in zip(faces, scores, strict=True))

    def _read(self, face: Face, raw: np.ndarray, time: float) -> Reading:
        state = self._states.get(face.id)
        second, first = np.sort(raw)[-2:] if len(raw) > 1 else (0.0, 1.0)
        weight = max(self.LEAST, float(first - second))
        if state is None or not self._time_constant:
            state = _State(raw.astype(float), weight, time, "", "", time)
            state.emotion = state.rival = self._wanted(state)
        else:
            kept = math.exp(-(time - state.time) / self._time_constant)
            total = kept * state.weight + (1 - kept) * weight
            state.scores = state.scores + (1 - kept) * weight / total * (raw - state.scores)
            state.weight = total
            self._decide(state, time)
            state.time = time
        self._states[face.id] = state
        return Reading(
            face,
            dict(zip(self._labels, map(float, state.scores), strict=True)),
            state.emotion,
            dict(zip(self._labels, map(float, raw), strict=True)),
        )

    def _decide(self, state: _State, time: float) -> None:
        """Changes the label if something else was wanted for long enough."""
        wanted = self._wanted(state)
        if wanted != state.rival:
            state.rival, state.since = wanted, state.time
        if time - state.since >= self._patience:
            state.emotion = wanted

    def _wanted(self, state: _State) -> str:
        """What the average says, in favour of the label that is there."""
        best = int(state.scores.argmax())
        confidence = float(state.scores[best])
        if state.emotion not in self._labels:
            return self._labels[best] if confidence >= self._uncertain_below else UNCERTAIN
        if confidence < self._uncertain_below - self._slack:
            return UNCERTAIN
        current = float(state.scores[self._labels.index(state.emotion)])
        return self._labels[best] if confidence >= current + self._margin else state.emotion
