"""Golden values: whoever changes the preprocessing changes what every trained model sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.edge.bundle import Crop
from mien.edge.preprocess import crop_face, part_of, pixel_table, resize_face, scale_pixels, to_bgr, to_gray
from mien.edge.records import Box

RAMP = (np.arange(6)[:, None] * 40 + np.arange(6)[None, :] * 6).astype(np.uint8)
"""uint8 [6, 6]: 40 a row, 6 a column."""


def test_gray_of_pure_colours() -> None:
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B, full range.
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [10, 20, 30]]], np.uint8)
    assert to_gray(pixels).tolist() == [[29, 150, 76, 255, 22]]


def test_shrinking_averages_areas() -> None:
    assert resize_face(RAMP, 3, 3).tolist() == [[23, 35, 47], [103, 115, 127], [183, 195, 207]]


def test_growing_interpolates() -> None:
    small = np.array([[0, 100], [200, 40]], np.uint8)
    assert resize_face(small, 4, 4).tolist() == [
        [0, 25, 75, 100],
        [50, 59, 76, 85],
        [150, 126, 79, 55],
        [200, 160, 80, 40],
    ]


def test_a_face_of_the_right_size_is_untouched() -> None:
    assert np.array_equal(resize_face(RAMP, 6, 6), RAMP)


def test_crop_inside() -> None:
    assert crop_face(RAMP, Box(1, 2, 3, 2), 2, 3).tolist() == [[86, 92, 98], [126, 132, 138]]


def test_crop_over_the_corner_repeats_the_border() -> None:
    assert crop_face(RAMP, Box(-2, -1, 4, 3), 3, 4).tolist() == [[0, 0, 0, 6], [0, 0, 0, 6], [40, 40, 40, 46]]
    assert crop_face(RAMP, Box(4, 5, 4, 2), 2, 4).tolist() == [[224, 230, 230, 230], [224, 230, 230, 230]]


def test_crop_wholly_outside_gives_the_nearest_pixels() -> None:
    assert crop_face(RAMP, Box(50, 50, 2, 2), 2, 2).tolist() == [[230, 230], [230, 230]]
    assert crop_face(RAMP, Box(-50, 2, 2, 1), 1, 2).tolist() == [[80, 80]]


def test_the_part_that_a_network_sees_of_a_box() -> None:
    box = Box(100, 50, 80, 40)
    assert part_of(box, Crop()) == box
    assert part_of(box, Crop(scale=1.5)) == Box(80, 40, 120, 60), "the centre stays"
    assert part_of(box, Crop(1.0, 0.25, -0.5)) == Box(120, 30, 80, 40)
    assert part_of(Box(0, 0, 1, 1), Crop(0.1)).width == 1


def test_pixels_of_one_to_255th() -> None:
    table = pixel_table(1 / 255, 0.0)
    assert table.dtype == np.float32 and table.shape == (256,)
    assert table[[0, 1, 51, 128, 255]].tolist() == pytest.approx([0.0, 0.003921569, 0.2, 0.501960784, 1.0], abs=1e-7)


def test_pixels_of_minus_one_to_one() -> None:
    assert scale_pixels(np.array([0.0, 127.5, 255.0]), 1 / 127.5, -1.0).tolist() == pytest.approx([-1, 0, 1])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(16, np.uint8),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="image"):
        to_gray(image)
    with pytest.raises(ValueError, match="image"):
        to_bgr(image)


sides = st.integers(1, 40)
coordinates = st.integers(-100, 100)


@given(hnp.arrays(np.uint8, st.tuples(sides, sides)), coordinates, coordinates, st.integers(1, 90), st.integers(1, 90))
def test_any_box_on_any_picture_gives_a_face(gray: np.ndarray, x: int, y: int, width: int, height: int) -> None:
    face = crop_face(gray, Box(x, y, width, height), 48, 48)
    assert face.shape == (48, 48) and face.dtype == np.uint8
    # Neither area averaging nor bilinear interpolation goes beyond the values that are there.
    assert gray.min() <= face.min() and face.max() <= gray.max()


@given(hnp.arrays(np.uint8, st.tuples(sides, sides)), st.data())
def test_a_box_inside_is_cut_exactly(gray: np.ndarray, data: st.DataObject) -> None:
    height, width = gray.shape
    x, y = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    w, h = data.draw(st.integers(1, width - x)), data.draw(st.integers(1, height - y))
    assert np.array_equal(crop_face(gray, Box(x, y, w, h), h, w), gray[y : y + h, x : x + w])


@given(hnp.arrays(np.uint8, st.tuples(sides, sides)), st.sampled_from([0, 1, 3, 4]))
def test_gray_frames_of_any_form_stay_the_same(gray: np.ndarray, channels: int) -> None:
    image = gray if channels == 0 else np.repeat(gray[:, :, None], channels, axis=2)
    assert np.array_equal(to_gray(image), gray)
    assert np.array_equal(to_bgr(image), np.repeat(gray[:, :, None], 3, axis=2))


@given(hnp.arrays(np.uint8, st.tuples(sides, sides, st.just(3))), hnp.arrays(np.uint8, st.just(())))
def test_alpha_is_ignored(image: np.ndarray, alpha: np.ndarray) -> None:
    with_alpha = np.dstack([image, np.full(image.shape[:2], alpha, np.uint8)])
    assert np.array_equal(to_bgr(with_alpha), image)
    assert np.array_equal(to_gray(with_alpha), to_gray(image))
