"""Faces are found and followed as a search of every whole frame would, on drawn and on real ones."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene

from mien.edge.detector import HaarDetector
from mien.edge.finder import EveryFrame, Following
from mien.edge.preprocess import to_gray
from mien.edge.records import Box, Face, Frame, Image
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


def test_the_first_frame_is_searched_whole() -> None:
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


def test_a_cut_is_searched_whole_and_old_faces_end_at_once() -> None:
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
    finder = following()
    for height, width in ((480, 640), (1080, 1920), (270, 480), (100, 90), (24, 24)):
        slices = finder._plan(height, width)
        sizes = sorted(
            size / scale for part in slices for scale, low, high in part for size in {round(low, 6), round(high, 6)}
        )
        assert sizes[0] == pytest.approx(max(24, 0.08 * height))
        assert sizes[-1] * finder.STEP >= min(height, width) * 0.85
        assert 1 <= len(slices) <= 8
    assert finder._plan(20, 20) == []


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
