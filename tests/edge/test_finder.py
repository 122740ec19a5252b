"""Faces are found and followed as a search of every whole frame would, on drawn and on real ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene

from mien.edge.detector import HaarDetector
from mien.edge.finder import EveryFrame, Following
from mien.edge.preprocess import to_gray
from mien.edge.records import Box, Face, Frame, Image
from mien.edge.scan import Scan
from mien.edge.sources import open_source
from mien.edge.tracker import Tracker, intersection_over_union


class Counting(HaarDetector):
    """Counts the windows that it was asked to look at, as OpenCV does: every other pixel below twice its window."""

    windows = 0.0

    def _found(self, gray: Image, scale_factor: float, neighbors: int, low: float, high: float) -> list[Box]:
        size = float(self.WINDOW)
        while size <= min(high + 1, *gray.shape):
            if size >= int(low):
                scale = size / self.WINDOW
                self.windows += gray.size / scale**2 / (4 if scale < 2 else 1)
            size *= scale_factor
        return super()._found(gray, scale_factor, neighbors, low, high)


def following(detector: HaarDetector | None = None) -> Following:
    return Following(detector or HaarDetector(), Tracker())


def frame(index: int, picture: np.ndarray, rate: float = 15.0) -> Frame:
    return Frame(index, index / rate, picture, to_gray(picture))


def find(finder: Following, *pictures: np.ndarray) -> list[list[Face]]:
    return [finder.find(frame(i, picture)) for i, picture in enumerate(pictures)]


def is_at(face: Face, x: int, y: int, size: int) -> bool:
    """Whether a face is the drawn one at (x, y, size), whose box a cascade draws a little inside of it."""
    return intersection_over_union(face.box, Box(x + size // 8, y + size // 8, size * 3 // 4, size * 3 // 4)) > 0.5


def test_large_faces_are_there_from_the_first_frame_on() -> None:
    (faces,) = find(following(), scene((20, 60, 90), (200, 80, 100)))
    assert [face.id for face in faces] == [1, 2]
    assert is_at(faces[0], 20, 60, 90) and is_at(faces[1], 200, 80, 100)


def test_a_moving_face_keeps_its_number_in_every_frame() -> None:
    places = [(20 + 6 * i, 60 + 2 * i, 90 + i) for i in range(25)]
    for faces, place in zip(find(following(), *(scene(place) for place in places)), places, strict=True):
        assert [face.id for face in faces] == [1]
        assert is_at(faces[0], *place)


@pytest.mark.parametrize("size", [60, 90, 140])
def test_a_new_face_is_found_within_half_a_second(size: int) -> None:
    empty, entered = scene((10, 120, 80)), scene((10, 120, 80), (170, 20, size))
    seen = find(following(), *[empty] * 10, *[entered] * 8)
    assert all(len(faces) == 1 for faces in seen[:10])
    assert any(is_at(face, 170, 20, size) for face in seen[-1])
    assert seen[-1][0].id == 1


def test_a_face_that_is_gone_is_shown_no_longer() -> None:
    seen = find(following(), *[scene((100, 60, 100))] * 5, *[scene()] * 6)
    assert [len(faces) for faces in seen[:5]] == [1] * 5
    assert seen[-1] == []


def test_at_a_cut_old_faces_end_at_once() -> None:
    dark = scene((180, 30, 120)) // 2
    seen = find(following(), *[scene((20, 60, 90))] * 5, dark)
    assert len(seen[5]) == 1 and is_at(seen[5][0], 180, 30, 120)


def test_unrelated_pictures_share_no_faces() -> None:
    finder = following()
    first = finder.find(frame(0, scene((20, 60, 90))), related=False)
    second = finder.find(frame(1, scene((20, 60, 90))), related=False)
    assert [face.id for face in (*first, *second)] == [1, 2]


def test_frames_of_another_size_are_another_scene() -> None:
    finder = following()
    assert len(finder.find(frame(0, scene((20, 60, 90))))) == 1
    assert len(finder.find(frame(1, scene((200, 60, 90), height=200, width=400)))) == 1
    assert finder.find(frame(2, np.zeros((10, 10, 3), np.uint8))) == []


def test_following_searches_a_fraction_of_what_every_frame_does() -> None:
    """Counted in windows of the cascade, as a time would depend on the machine."""
    pictures = [scene((60 + 2 * i, 60, 120), height=480, width=640) for i in range(40)]
    whole = Counting()
    whole.search(to_gray(pictures[0]), 0.08 * 480, 480)
    detector = Counting()
    finder = following(detector)
    finder.find(frame(0, pictures[0], rate=25))
    detector.windows = 0
    for i, picture in enumerate(pictures[1:], 1):
        finder.find(frame(i, picture, rate=25))
    assert 0 < detector.windows / 39 < whole.windows / 15


def test_the_plan_covers_every_size_once_in_each_round() -> None:
    scan = Scan(HaarDetector(), 0.08, 0.35, 12)
    for height, width in ((480, 640), (1080, 1920), (270, 480), (100, 90), (24, 24)):
        slices = scan.plan(height, width)
        parts = [part for each in slices for part in each]
        sizes = sorted(size / part.scale for part in parts for size in {round(part.low, 6), round(part.high, 6)})
        assert sizes[0] == pytest.approx(max(24, 0.08 * height))
        assert sizes[-1] * scan.STEP >= min(height, width) * 0.85
        assert 1 <= len(slices) <= 16
        assert all(part.cost > 0 for part in parts)
        for part in parts:  # the strips of a size reach from the top to the bottom, and overlap by a face
            strips = sorted((p.top, p.bottom) for p in parts if p[:3] == part[:3])
            assert strips[0][0] == 0 and strips[-1][1] == height
            assert all(a[1] - b[0] >= part.high / part.scale for a, b in pairwise(strips))
    assert scan.plan(20, 20) == []


def test_slices_cost_about_the_same() -> None:
    for height, width in ((480, 640), (1080, 1920), (270, 480)):
        costs = [sum(part.cost for part in each) for each in Scan(HaarDetector(), 0.08, 0.35, 12).plan(height, width)]
        assert max(costs) < 2 * sum(costs) / len(costs)


def test_a_cut_is_paid_for_over_some_frames_large_faces_first() -> None:
    """No frame searches more than a third of what the search of a whole frame does, and soon all faces are there."""
    picture = scene((20, 20, 60), (200, 80, 240), height=480, width=640)
    detector = Counting()
    whole = Counting()
    whole.search(to_gray(picture), 0.08 * 480, 480)
    finder, seen = following(detector), []
    for i in range(6):
        detector.windows = 0
        seen.append(finder.find(frame(i, picture, rate=25)))
        assert detector.windows < whole.windows / 3
    assert any(is_at(face, 200, 80, 240) for face in seen[0])
    assert len(seen[-1]) == 2 and any(is_at(face, 20, 20, 60) for face in seen[-1])


class Forgetful(HaarDetector):
    """Finds a face once near its place, and then no more."""

    searches = 0

    def search(self, gray: Image, low: float, high: float) -> list[Box]:
        self.searches += 1
        return super().search(gray, low, high) if self.searches == 1 else []


def test_only_the_detector_makes_a_face() -> None:
    """What it saw once is no face, however like itself it looks in the next frames."""
    empty, entered = scene(), scene((170, 20, 90))
    finder = following(Forgetful())
    seen = find(finder, *[empty] * 10, *[entered] * 20)
    assert seen == [[]] * 30


class Lopsided(HaarDetector):
    """Finds faces only where they aren't mirrored."""

    def confirms(self, gray: Image, low: float, high: float) -> bool:
        return False


def test_a_new_face_must_be_confirmed() -> None:
    assert find(following(Lopsided()), *[scene((20, 60, 90))] * 10) == [[]] * 10


def test_faces_are_checked_in_turns() -> None:
    """Eight known faces are never all searched in one frame."""
    picture = scene(*((20 + 150 * (i % 4), 60 + 200 * (i // 4), 120) for i in range(8)), height=480, width=640)

    class Searching(HaarDetector):
        searches = 0

        def search(self, gray: Image, low: float, high: float) -> list[Box]:
            self.searches += 1
            return super().search(gray, low, high)

    detector = Searching()
    finder, counts = following(detector), []
    for i in range(60):
        detector.searches = 0
        faces = finder.find(frame(i, picture, rate=25))
        counts.append(detector.searches)
    assert len(faces) == 8
    assert max(counts[10:]) <= 3 and sum(counts[10:]) >= 8 * 50 / 25 / 0.25


def same(a: Box, b: Box) -> bool:
    return intersection_over_union(a, b) >= 0.4


def test_as_good_as_a_search_of_every_frame_on_real_faces(media: Path) -> None:
    """Recall of the boxes that the whole search has in three frames in a row, over films of one to three faces."""
    found = total = 0
    for name in (
        "again.mkv",
        "help.mkv",
        "head-pose-face-detection-male.gif",
        "face-demographics-walking-and-pause.gif",
    ):
        detector, finder = HaarDetector(), following()
        with open_source(str(media / name)) as source:
            frames = list(source)
        boxes = [detector.detect(each.gray) for each in frames]
        for i, each in enumerate(frames):
            faces = finder.find(each)
            for box in boxes[i]:
                seen = [any(same(box, other) for other in row) for row in boxes[max(0, i - 2) : i + 3]]
                if any(all(seen[k : k + 3]) for k in range(len(seen) - 2)):
                    total += 1
                    found += any(same(box, face.box) for face in faces)
    assert total > 200 and found / total >= 0.93


def test_every_frame_takes_boxes_as_they_are_found() -> None:
    finder = EveryFrame(HaarDetector())
    picture = scene((20, 60, 90), (200, 80, 100))
    assert [face.id for face in finder.find(frame(0, picture))] == [1, 2]
    assert finder.find(frame(1, scene())) == []
    assert [face.id for face in finder.find(frame(2, picture))] == [1, 2]
    assert [face.id for face in finder.find(frame(3, picture), related=False)] == [3, 4]


def test_the_astronaut_is_followed_through_a_zoom(astronaut: np.ndarray) -> None:
    finder, ids = following(), set()
    for i in range(30):
        side = 512 - 8 * i
        view = astronaut[: side * 3 // 4, 140 - 3 * i : 140 - 3 * i + side] if i < 40 else astronaut
        faces = finder.find(frame(i, cv2.resize(view, (640, 480))))
        ids |= {face.id for face in faces}
        assert faces
    assert len(ids) <= 2
