"""Augmentation moves faces as ImageDataGenerator did, each in its own way."""

from __future__ import annotations

import math
import warnings

import cv2
import numpy as np
import pytest

from mien.train.augment import (
    Augment,
    Augmentation,
    Mix,
    RandomAffine,
    RandomCamera,
    RandomErasing,
    RandomLight,
    cutmix,
    mixup,
)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (16, 48, 48, 1)).astype(np.float32)


def test_same_map_as_image_data_generator(images: np.ndarray) -> None:
    pytest.importorskip("scipy", reason="ImageDataGenerator needs SciPy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from keras.src.legacy.preprocessing.image import apply_affine_transform
    a = Augmentation(shear=20, flip=False)  # the reference's shear of 0.3 degrees would hide a wrong one
    draws = np.random.default_rng(4).random((len(images), RandomAffine.DRAWS), np.float32)
    moved = np.asarray(RandomAffine(a)(images, draws))
    for image, draw, result in zip(images, 2 * draws - 1, moved, strict=True):
        expected = apply_affine_transform(
            image,
            theta=draw[0] * a.rotation,
            shear=draw[1] * a.shear,
            tx=draw[2] * a.shift * 48,
            ty=draw[3] * a.shift * 48,
            zx=1 + draw[4] * a.zoom,
            zy=1 + draw[5] * a.zoom,
            row_axis=0,
            col_axis=1,
            channel_axis=2,
        )
        assert np.abs(result - expected).max() < 0.05  # of 255 steps


def test_middle_draws_leave_images_alone_and_flip_mirrors(images: np.ndarray) -> None:
    draws = np.full((len(images), RandomAffine.DRAWS), 0.5, np.float32)
    layer = RandomAffine(Augmentation())
    assert np.abs(np.asarray(layer(images, draws)) - images).max() < 0.01
    draws[:, 6] = 0.25
    assert np.abs(np.asarray(layer(images, draws)) - images[:, :, ::-1]).max() < 0.01


def test_a_share_of_the_images_stays_as_sharp_as_it_was(images: np.ndarray) -> None:
    draws = np.random.default_rng(3).random((len(images), RandomAffine.DRAWS), np.float32)
    draws[: len(images) // 2, 7] = 0.3
    draws[len(images) // 2 :, 7] = 0.5
    result = np.asarray(RandomAffine(Augmentation(still=0.4))(images, draws))
    mirrored = (draws[:, 6] < 0.5)[:, None, None, None]
    unmoved = np.abs(result - np.where(mirrored, images[:, :, ::-1], images)).max(axis=(1, 2, 3)) < 0.01
    assert unmoved.tolist() == (draws[:, 7] < 0.4).tolist()


def test_a_known_quarter_turn() -> None:
    image = np.zeros((1, 48, 48, 1), np.float32)
    image[0, 0, 0] = 255
    draws = np.full((1, RandomAffine.DRAWS), 0.5, np.float32)
    draws[0, 0] = 1.0
    turned = np.asarray(RandomAffine(Augmentation(rotation=90, flip=False))(image, draws))[0, :, :, 0]
    row, column = np.unravel_index(turned.argmax(), turned.shape)
    assert {int(row), int(column)} == {0, 47}


def test_each_image_is_drawn_for_itself(images: np.ndarray) -> None:
    same = np.repeat(images[:1], 16, axis=0)
    moved = np.asarray(RandomAffine(Augmentation(), seed=1)(same))
    assert len({result.tobytes() for result in moved}) == 16


def test_shift_and_zoom_stay_within_their_limits() -> None:
    draws = np.random.default_rng(0).random((2000, RandomAffine.DRAWS), np.float32)
    a = Augmentation(rotation=0, shear=0, flip=False)
    xx, _, to_x, _, yy, to_y, _, _ = np.asarray(RandomAffine(a).transforms(draws, 48, 48)).T
    assert 0.7 <= xx.min() < 0.71
    assert 1.29 < yy.max() <= 1.3
    shift_x, shift_y = to_x - 23.5 * (1 - xx), to_y - 23.5 * (1 - yy)
    for shift in (shift_x, shift_y):
        assert math.isclose(shift.min(), -0.4 * 48, abs_tol=0.1)
        assert math.isclose(shift.max(), 0.4 * 48, abs_tol=0.1)


def test_nearest_fill_repeats_the_border() -> None:
    image = np.full((1, 48, 48, 1), 9, np.float32)
    image[:, :, 0] = 200
    draws = np.full((1, RandomAffine.DRAWS), 0.5, np.float32)
    draws[0, 2] = 0.0
    moved = np.asarray(RandomAffine(Augmentation(flip=False))(image, draws))[0, :, :, 0]
    assert (moved[:, :19] > 199).all()
    assert (moved[:, 21:] < 10).all()


def test_light_worked_out_by_hand(images: np.ndarray) -> None:
    draws = np.full((len(images), RandomLight.DRAWS), 0.5, np.float32)
    layer = RandomLight(Augmentation(light=0.4))
    assert np.abs(np.asarray(layer(images, draws)) - images).max() < 0.05
    draws[0], draws[1] = (1.0, 0.5, 0.5), (0.5, 0.0, 1.0)
    lit = np.asarray(layer(images, draws))
    assert np.abs(lit[0] - 255 * (np.maximum(images[0], 0.0255) / 255) ** math.exp(0.4)).max() < 0.05
    by_hand = np.clip((images[1] - 128) * math.exp(-0.4) + 128 + 0.4 * 128, 0, 255)
    assert np.abs(lit[1] - by_hand).max() < 0.05


def test_a_camera_blurs_and_adds_noise_by_known_amounts(images: np.ndarray) -> None:
    layer = RandomCamera(Augmentation(camera=0.5))
    draws = np.zeros((len(images), RandomCamera.DRAWS), np.float32)
    draws[:8, 1] = np.linspace(0.3, 1, 8)  # blur alone
    draws[8:12, 2:] = [[1, k / 4] for k in range(4)]  # noise alone, each from another place of the table
    draws[12:, :3] = [0.5, 1, 1]  # not among the share
    middle = images * 0.2 + 100  # so that noise isn't clipped
    spoilt = np.asarray(layer(middle, draws))
    inner = np.s_[:, 8:-8, 8:-8, 0]  # beyond the border's reach
    for draw, image, result in zip(draws[:8], middle, spoilt, strict=False):
        blurred = cv2.GaussianBlur(image[..., 0], (0, 0), float(draw[1]) * RandomCamera.BLUR)
        assert np.abs(result[8:-8, 8:-8, 0] - blurred[8:-8, 8:-8]).max() < 0.3
    noise = (spoilt - middle)[8:12]
    assert np.allclose(noise.std(axis=(1, 2, 3)), RandomCamera.NOISE, rtol=0.05)
    assert abs(np.corrcoef(noise.reshape(4, -1))[np.triu_indices(4, 1)]).max() < 0.08
    assert np.abs(spoilt - middle)[12:][inner].max() < 0.01


def test_erasing_hides_one_rectangle_of_some_images(images: np.ndarray) -> None:
    layer = RandomErasing(Augmentation(erase=0.5))
    draws = np.random.default_rng(5).random((len(images), RandomErasing.DRAWS), np.float32)
    draws[:, 0] = np.linspace(0, 0.99, len(images))
    erased = np.asarray(layer(images, draws))
    for image, draw, result in zip(images[..., 0], draws, erased[..., 0], strict=True):
        changed = result != image
        if draw[0] >= 0.5:
            assert not changed.any()
            continue
        hidden = result == draw[5] * 255
        rows, columns = np.flatnonzero(hidden.any(axis=1)), np.flatnonzero(hidden.any(axis=0))
        assert hidden[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all(), "a whole rectangle"
        assert (changed <= hidden).all(), "and nothing else"
        for length in (len(rows), len(columns)):
            assert 48 / 8 - 1 <= length <= 48 * 7 / 16 + 1


def test_all_of_it_is_its_parts_in_turn(images: np.ndarray) -> None:
    a = Augmentation(rotation=10, light=0.3, erase=0.7)
    draws = np.random.default_rng(6).random((len(images), Augment.DRAWS), np.float32)
    one_by_one: object = images
    for part, numbers in (
        (RandomAffine, draws[:, :8]),
        (RandomLight, draws[:, 8:11]),
        (RandomErasing, draws[:, 11:]),
    ):
        one_by_one = part(a)(one_by_one, numbers)
    assert np.array_equal(np.asarray(Augment(a)(images, draws)), np.asarray(one_by_one))
    plain = Augmentation(rotation=10)
    assert np.array_equal(
        np.asarray(Augment(plain)(images, draws)), np.asarray(RandomAffine(plain)(images, draws[:, :8]))
    )


def test_mixup_worked_out_by_hand(images: np.ndarray) -> None:
    targets = np.eye(16, dtype=np.float32)
    draws = np.zeros((16, 2), np.float32)
    draws[:, 0] = 0.9  # not blended
    draws[2], draws[5] = (0.1, 0.5), (0.1, 1 / 3)
    mixed, blended = (np.asarray(each) for each in mixup(images, targets, draws, 0.5))
    untouched = [i for i in range(16) if i not in (2, 5)]
    assert np.array_equal(mixed[untouched], images[untouched])
    assert np.array_equal(blended[untouched], targets[untouched])
    assert np.allclose(mixed[2], (images[2] + images[3]) / 2, atol=1e-3), "sin²(45°) is a half"
    assert np.allclose(mixed[5], images[5] / 4 + images[4] * 3 / 4, atol=1e-3), "sin²(30°) is a quarter"
    assert blended[5] == pytest.approx(targets[5] / 4 + targets[4] * 3 / 4, abs=1e-6)


def test_cutmix_worked_out_by_hand(images: np.ndarray) -> None:
    targets = np.eye(16, dtype=np.float32)
    draws = np.zeros((16, 2), np.float32)
    draws[:, 0] = 0.9  # left as it is
    draws[2], draws[5] = (0.1, 0.5), (0.1, 0)
    mixed, shares = (np.asarray(each) for each in cutmix(images, targets, draws, 0.5))
    untouched = [i for i in range(16) if i not in (2, 5)]
    assert np.array_equal(mixed[untouched], images[untouched])
    assert np.array_equal(shares[untouched], targets[untouched])
    assert np.array_equal(mixed[2], np.concatenate([images[2, :24], images[3, 24:]]))
    assert np.array_equal(mixed[5], np.concatenate([images[5, :18], images[4, 18:]]))
    assert shares[5] == pytest.approx(targets[5] * 3 / 8 + targets[4] * 5 / 8)


def test_mix_does_both_and_neither(images: np.ndarray) -> None:
    targets = np.eye(16, dtype=np.float32)
    draws = np.random.default_rng(5).random((16, Mix.DRAWS), np.float32)
    still, same = Mix(Augmentation())(images, targets, draws)
    assert still is images and same is targets
    both = Mix(Augmentation(mixup=0.5, cutmix=0.5))(images, targets, draws)
    blended = mixup(images, targets, draws[:, :2], 0.5)
    for mixed, expected in zip(both, cutmix(*blended, draws[:, 2:], 0.5), strict=True):
        assert np.array_equal(mixed, expected)
    assert np.asarray(both[1]).sum(axis=1) == pytest.approx(np.ones(16))
