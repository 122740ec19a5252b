from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.edge.records import Box
from mien.edge.tracker import Place, Tracker, intersection_over_union


def at_once(**options: float) -> Tracker:
    """A tracker whose faces count from their first hit on and aren't shown without one."""
    return Tracker(birth_hits=1, hold=0.0, **options)  # type: ignore[arg-type]


def ids(tracker: Tracker, boxes: list[Box], time: float) -> list[int]:
    return [face.id for face in tracker.update(boxes, time)]


def test_faces_keep_their_numbers_while_they_move() -> None:
    tracker = at_once()
    for i in range(50):
        left, right = Box(10 + 4 * i, 50, 80, 80), Box(600 - 4 * i, 300, 90, 90)
        boxes = [left, right] if i % 2 == 0 else [right, left]
        assert {face.id: face.box for face in tracker.update(boxes, i / 25)} == {1: left, 2: right}


def test_faces_that_cross_keep_their_numbers() -> None:
    """Two walk past each other; for some frames only the nearer one is found."""
    tracker = at_once()
    for i in range(60):
        near, far = Box(10 + 8 * i, 50, 120, 120), Box(500 - 8 * i, 70, 80, 80)
        hidden = intersection_over_union(near, far) > 0.25
        found = {face.box: face.id for face in tracker.update([near] if hidden else [near, far], i / 25)}
        assert found[near] == 1
        assert hidden or found[far] == 2


def test_numbers_start_at_one_from_left_to_right() -> None:
    faces = at_once().update([Box(50, 0, 10, 10), Box(0, 0, 10, 10)], 0.0)
    assert [(face.id, face.box.x) for face in faces] == [(1, 0), (2, 50)]


def test_a_face_is_born_at_its_second_hit_and_held_for_a_moment() -> None:
    tracker = Tracker(birth_hits=2, hold=0.25)
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 0.0) == []
    assert ids(tracker, [box], 0.1) == [1]
    assert ids(tracker, [], 0.3) == [1], "still shown"
    assert ids(tracker, [], 0.4) == []
    assert ids(tracker, [box], 0.5) == [1]


def test_two_hits_with_a_miss_between_make_no_face() -> None:
    tracker = Tracker(birth_hits=2)
    box = Box(10, 10, 50, 50)
    assert [ids(tracker, boxes, i / 10) for i, boxes in enumerate([[box], [], [box], []])] == [[]] * 4


def test_a_moving_face_is_predicted_to_go_on() -> None:
    tracker = at_once()
    for i in range(20):
        tracker.update([Box(20 * i, 10 * i, 50, 50)], i / 10)
    tracker.begin(2.0)
    (track,) = tracker.tracks
    assert tracker.predict(track).x == pytest.approx(20 * 20 + 25, abs=4)
    assert tracker.predict(track).y == pytest.approx(10 * 20 + 25, abs=4)


def test_another_scene_drops_what_was_not_found_in_it() -> None:
    tracker = Tracker(birth_hits=1, hold=1.0)
    assert ids(tracker, [Box(0, 0, 50, 50), Box(100, 0, 50, 50)], 0.0) == [1, 2]
    tracker.begin(0.1)
    tracker.hit(tracker.tracks[0], Place(25, 25, 50))
    tracker.drop_lost()
    assert [face.id for face in tracker.faces()] == [1]


def test_the_best_overlap_wins() -> None:
    tracker = at_once()
    tracker.update([Box(0, 0, 100, 100), Box(40, 0, 100, 100)], 0.0)
    assert ids(tracker, [Box(30, 0, 100, 100)], 0.1) == [2]
    faces = tracker.update([Box(35, 0, 100, 100), Box(-5, 0, 100, 100)], 0.2)
    assert {face.id: face.box.x for face in faces} == {1: -5, 2: 35}


def test_a_face_that_is_missed_for_a_moment_keeps_its_number() -> None:
    tracker = at_once(forget_after=1.0)
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 0.0) == [1]
    assert ids(tracker, [], 0.5) == []
    assert ids(tracker, [box], 1.0) == [1]
    assert ids(tracker, [box], 2.1) == [2]


def test_a_face_elsewhere_is_another_one() -> None:
    tracker = at_once()
    assert ids(tracker, [Box(0, 0, 50, 50)], 0.0) == [1]
    assert ids(tracker, [Box(60, 0, 50, 50)], 0.1) == [2]


def test_reset_forgets_faces_and_gives_no_number_twice() -> None:
    tracker = at_once()
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 0.0) == [1]
    tracker.reset()
    assert ids(tracker, [box], 0.0) == [2]


def test_a_clock_that_is_set_back_does_not_keep_faces_for_ever() -> None:
    tracker = at_once()
    box = Box(10, 10, 50, 50)
    assert ids(tracker, [box], 1e9) == [1]
    assert ids(tracker, [box], 0.0) == [2]
    assert ids(tracker, [box], 0.1) == [2]


boxes = st.builds(Box, st.integers(-50, 200), st.integers(-50, 200), st.integers(1, 100), st.integers(1, 100))


@given(st.lists(st.lists(boxes, max_size=6), max_size=8))
def test_each_face_of_a_frame_has_a_number_of_its_own(frames: list[list[Box]]) -> None:
    tracker = at_once()
    for i, found in enumerate(frames):
        faces = tracker.update(found, i / 25)
        assert all(face.box.width == face.box.height for face in faces)
        assert len(faces) <= len(found)
        assert len({face.id for face in faces}) == len(faces)
        assert all(face.id >= 1 for face in faces)


@given(boxes, boxes)
def test_overlap_is_a_share(a: Box, b: Box) -> None:
    assert 0 <= intersection_over_union(a, b) <= 1
    assert intersection_over_union(a, b) == intersection_over_union(b, a)
    assert intersection_over_union(a, a) == 1


def test_match_says_which_faces_it_found() -> None:
    """The lost one that was found again and the new one; not one that was found before it."""
    tracker = at_once()
    tracker.update([Box(0, 0, 50, 50), Box(100, 0, 50, 50)], 0.0)
    tracker.begin(0.1)
    followed, lost = tracker.tracks
    tracker.hit(followed, followed.place)
    found = tracker.match([Place(126, 25, 50), Place(225, 25, 50)])
    assert found[0] is lost and len(found) == 2 and followed not in found
    assert tracker.tracks == [followed, *found]
