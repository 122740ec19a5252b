from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mien.edge.records import Box
from mien.edge.tracker import Tracker, intersection_over_union


def ids(tracker: Tracker, boxes: list[Box], time: float) -> list[int]:
    return [face.id for face in tracker.update(boxes, time)]


def test_faces_keep_their_numbers_while_they_move() -> None:
    tracker = Tracker()
    for i in range(50):
        left, right = Box(10 + 4 * i, 50, 80, 80), Box(600 - 4 * i, 300, 90, 90)
        if i % 2 == 0:
            assert ids(tracker, [left, right], i / 25) == [1, 2]
        else:
            assert ids(tracker, [right, left], i / 25) == [2, 1]


def test_numbers_start_at_one_in_the_order_of_boxes() -> None:
    assert ids(Tracker(), [Box(0, 0, 10, 10), Box(50, 0, 10, 10)], 0.0) == [1, 2]


def test_the_best_overlap_wins() -> None:
    tracker = Tracker()
    tracker.update([Box(0, 0, 100, 100), Box(40, 0, 100, 100)], 0.0)
    assert ids(tracker, [Box(30, 0, 100, 100)], 0.1) == [2]
    assert ids(tracker, [Box(35, 0, 100, 100), Box(5, 0, 100, 100)], 0.2) == [2, 1]


def test_a_face_that_is_missed_for_a_moment_keeps_its_number() -> None:
    tracker = Tracker(forget_after=1.0)
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 0.0) == [1]
    assert ids(tracker, [], 0.5) == []
    assert ids(tracker, [box], 1.0) == [1]
    assert ids(tracker, [box], 2.1) == [2]


def test_a_face_elsewhere_is_another_one() -> None:
    tracker = Tracker()
    assert ids(tracker, [Box(0, 0, 50, 50)], 0.0) == [1]
    assert ids(tracker, [Box(60, 0, 50, 50)], 0.1) == [2]


def test_reset_forgets_faces_and_gives_no_number_twice() -> None:
    tracker = Tracker()
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 0.0) == [1]
    tracker.reset()
    assert ids(tracker, [box], 0.0) == [2]


def test_a_clock_that_is_set_back_does_not_keep_faces_for_ever() -> None:
    tracker = Tracker()
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 1e9) == [1]
    assert ids(tracker, [box], 0.0) == [2]
    assert ids(tracker, [box], 0.1) == [2]


boxes = st.builds(Box, st.integers(-50, 200), st.integers(-50, 200), st.integers(1, 100), st.integers(1, 100))


@given(st.lists(st.lists(boxes, max_size=6), max_size=8))
def test_each_face_of_a_frame_has_a_number_of_its_own(frames: list[list[Box]]) -> None:
    tracker = Tracker()
    for i, found in enumerate(frames):
        faces = tracker.update(found, i / 25)
        assert [face.box for face in faces] == found
        assert len({face.id for face in faces}) == len(faces)
        assert all(face.id >= 1 for face in faces)


@given(boxes, boxes)
def test_overlap_is_a_share(a: Box, b: Box) -> None:
    assert 0 <= intersection_over_union(a, b) <= 1
    assert intersection_over_union(a, b) == intersection_over_union(b, a)
    assert intersection_over_union(a, a) == 1
