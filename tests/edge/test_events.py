from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from observations import NOON, seen

from mien.edge.events import KINDS, Event, EventDetector


def events_of(*rows: tuple[float, list[tuple[int, str]]], finish: float | None = None) -> list[tuple[object, ...]]:
    """Events of (seconds after noon, faces) rows, their times and durations rounded."""
    detector = EventDetector(leave_after=1.0)
    found = [event for time, faces in rows for event in detector.update(seen(NOON + time, *faces))]
    if finish is not None:
        found += detector.finish(NOON + finish)
    return [
        (round(event.time - NOON, 3), event.kind, event.face, event.emotion)
        + (() if event.duration is None else (round(event.duration, 3),))
        for event in found
    ]


def test_a_face_comes_changes_and_leaves() -> None:
    assert events_of(
        (0.0, [(1, "happy")]),
        (0.5, [(1, "happy")]),
        (1.0, [(1, "sad")]),
        (1.5, [(1, "sad")]),
        (2.5, []),  # perhaps it is only not found
        (2.6, []),
    ) == [
        (0.0, "face_appeared", 1, None),
        (0.0, "emotion_began", 1, "happy"),
        (1.0, "emotion_ended", 1, "happy", 1.0),
        (1.0, "emotion_began", 1, "sad"),
        (1.5, "emotion_ended", 1, "sad", 0.5),
        (1.5, "face_left", 1, None, 1.5),
    ]


def test_a_face_that_is_missed_for_a_moment_stays() -> None:
    assert [event[1] for event in events_of((0, [(1, "sad")]), (0.5, []), (1.0, [(1, "sad")]), finish=1.2)] == [
        "face_appeared",
        "emotion_began",
        "emotion_ended",
        "face_left",
    ]


def test_faces_are_told_apart() -> None:
    events = events_of((0, [(1, "sad"), (2, "happy")]), (0.9, [(2, "happy")]), (1.8, [(2, "happy")]), finish=2.0)
    assert [event for event in events if event[1] == "face_left"] == [
        (0.0, "face_left", 1, None, 0.0),
        (2.0, "face_left", 2, None, 2.0),
    ]


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
def test_a_clock_that_is_set_makes_no_long_durations(jump: float) -> None:
    """A Raspberry Pi has no clock of its own: it wakes up in the past."""
    events = events_of((0, [(1, "sad")]), (0.5, [(1, "sad")]), (jump, [(1, "sad")]), finish=jump + 0.25)
    assert [event[1:] for event in events if event[1] in ("face_appeared", "face_left")] == [
        ("face_appeared", 1, None),
        ("face_left", 1, None, 0.5),
        ("face_appeared", 1, None),
        ("face_left", 1, None, 0.25),
    ]


def test_the_end_without_anyone() -> None:
    assert events_of(finish=3) == []
    assert events_of((0, [(1, "sad")]), finish=5)[-1] == (0.0, "face_left", 1, None, 0.0), "it left before the end"


FACES = st.dictionaries(st.integers(1, 3), st.sampled_from(["happy", "sad", "uncertain"]), max_size=3)


@given(st.lists(st.tuples(st.floats(-3, 3), FACES), max_size=30))
def test_whatever_begins_ends(rows: list[tuple[float, dict[int, str]]]) -> None:
    detector, time, events = EventDetector(), NOON, []
    for step, faces in rows:
        time += step
        events += detector.update(seen(time, *faces.items()))
    events += detector.finish(time)
    present: dict[int, str | None] = {}
    for event in events:
        assert event.kind in KINDS and (event.duration is None or event.duration >= 0)
        assert (event.duration is None) == (event.kind in ("face_appeared", "emotion_began"))
        if event.kind == "face_appeared":
            assert event.face not in present
            present[event.face] = None
        elif event.kind == "emotion_began":
            assert present[event.face] is None
            present[event.face] = event.emotion
        elif event.kind == "emotion_ended":
            assert present[event.face] == event.emotion is not None
            present[event.face] = None
        else:
            assert present.pop(event.face) is None
    assert not present


def test_the_logs_form() -> None:
    values = Event(NOON, "emotion_ended", 3, "happy", 1.23456).to_json()
    assert json.dumps(values) == (
        '{"time": "2027-01-15T08:00:00.000Z", "event": "emotion_ended", "face": 3, "emotion": "happy",'
        ' "duration_s": 1.235}'
    )
    assert set(Event(NOON, "face_appeared", 3).to_json()) == {"time", "event", "face"}
