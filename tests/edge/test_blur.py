from __future__ import annotations

import numpy as np
import pytest
from faces import reading
from hypothesis import given
from hypothesis import strategies as st

from mien.edge.blur import FaceBlur, pixelate
from mien.edge.detector import HaarDetector
from mien.edge.preprocess import to_gray
from mien.edge.records import Box, Face, Frame, Observation

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (240, 320, 3), np.uint8)


def observation(time: float, *boxes: tuple[int, Box]) -> Observation:
    readings = tuple(reading(Face(id, box), {"happy": 0.75, "sad": 0.25}) for id, box in boxes)
    return Observation(Frame(0, time, NOISE, NOISE[:, :, 0]), readings)


def hidden(image: np.ndarray, box: Box) -> bool:
    """Whether nothing is left of the noise in a box but a few squares."""
    part = image[max(0, box.y) : box.y + box.height, max(0, box.x) : box.x + box.width]
    return len(np.unique(part.reshape(len(part), part.shape[1], -1)[:, :, 0])) <= 64


def test_no_detector_finds_the_face_of_a_photograph(astronaut: np.ndarray) -> None:
    detector = HaarDetector()
    boxes = detector.detect(to_gray(astronaut))
    assert boxes
    left = detector.detect(to_gray(pixelate(astronaut, boxes)))
    centres = [(box.x + box.width // 2, box.y + box.height // 2) for box in boxes]
    assert not [
        box for box in left for x, y in centres if box.x < x < box.x + box.width and box.y < y < box.y + box.height
    ]


@pytest.mark.parametrize("box", [Box(100, 60, 90, 90), Box(-30, -30, 90, 90), Box(280, 200, 90, 90), Box(5, 5, 7, 7)])
def test_a_few_squares_a_little_larger_than_the_box(box: Box) -> None:
    picture = pixelate(NOISE, [box])
    assert hidden(picture, box) and not hidden(NOISE, box._replace(width=90, height=90))
    changed = (picture != NOISE).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    reach = round(0.2 * box.width)
    assert rows[0] == max(0, box.y - reach) and columns[0] == max(0, box.x - reach)
    assert rows[-1] == min(240, box.y + box.height + reach) - 1
    assert columns[-1] == min(320, box.x + box.width + reach) - 1


def test_gray_pictures_too_and_the_given_one_is_left_alone() -> None:
    before = NOISE.copy()
    assert hidden(pixelate(NOISE[:, :, 0], [Box(100, 60, 90, 90)]), Box(100, 60, 90, 90))
    assert np.array_equal(NOISE, before) and np.array_equal(pixelate(NOISE, []), NOISE)


@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.builds(Box, st.integers(-99, 99), st.integers(-99, 99), st.integers(1, 99), st.integers(1, 99)),
)
def test_any_box_on_any_picture(height: int, width: int, box: Box) -> None:
    assert pixelate(np.zeros((height, width, 3), np.uint8), [box]).shape == (height, width, 3)


def test_a_place_stays_hidden_for_a_second() -> None:
    blur, box, other = FaceBlur(), Box(100, 60, 90, 90), Box(10, 10, 60, 60)
    assert hidden(blur.apply(observation(5.0, (1, box))).frame.image, box)
    later = blur.apply(observation(5.9, (2, other)))
    assert hidden(later.frame.image, box) and hidden(later.frame.image, other) and hidden(later.frame.gray, box)
    last = blur.apply(observation(6.1))
    assert not hidden(last.frame.image, box) and hidden(last.frame.image, other)
    assert not hidden(blur.apply(observation(2.0)).frame.image, other), "the clock was set back"


def test_what_was_read_stays_as_it_is() -> None:
    given = observation(5.0, (1, Box(100, 60, 90, 90)))
    assert FaceBlur().apply(given).to_json() == given.to_json()
