"""Random augmentation of faces, drawn per image: where a face lies, how it is lit, what hides it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be changed; the defaults are the reference system's."""

    rotation: float = 30.0
    """Degrees to either side."""
    shear: float = 0.3
    """Degrees to either side: what Keras's ImageDataGenerator, which the reference used, takes it for."""
    zoom: float = 0.3
    """Share of the size by which each axis is stretched or squeezed."""
    shift: float = 0.4
    """Share of the side by which each axis is moved."""
    still: float = 0.0
    """Share of the images that aren't turned, stretched or moved. Others are resampled, which blurs them a little."""
    flip: bool = True
    """Mirrors every second image, left to right."""
    light: float = 0.0
    """How far brightness (half the range × light), and the logarithms of contrast and gamma, go to either side."""
    erase: float = 0.0
    """Share of the images of which a rectangle is hidden."""
    mixup: float = 0.0
    """Share of the images that are blended with another one, and their targets with them."""
    cutmix: float = 0.0
    """Share of the images whose lower part is another one's, and their targets with it."""
    camera: float = 0.0
    """Share of the images that are out of focus and noisy, each by a random amount. Teachers read them as they were."""


class _Random(keras.layers.Layer):
    """A change of float images [N, H, W, C] with pixels 0–255 that follows from DRAWS random numbers an image."""

    DRAWS = 0

    def __init__(self, augmentation: Augmentation, seed: int | None = None, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.augmentation = augmentation
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any, draws: Any = None) -> Any:
        """`draws` are uniform numbers in [0, 1), float32 [N, DRAWS]; without them the layer draws its own."""
        if draws is None:
            draws = keras.random.uniform((ops.shape(images)[0], self.DRAWS), seed=self._seeds)
        return self.change(images, draws)

    def change(self, images: Any, draws: Any) -> Any:
        """The changed images."""
        raise NotImplementedError


class RandomAffine(_Random):
    """Moves images; pixels from beyond the border repeat the border's ("nearest" fill).

    The map is that of keras.preprocessing.image.ImageDataGenerator (deprecated): rotation · shift ·
    shear · zoom about the centre, bilinear, then the flip: one resampling for all.
    """

    DRAWS = 8

    def change(self, images: Any, draws: Any) -> Any:
        """The moved images."""
        transforms = self.transforms(draws, images.shape[1], images.shape[2])
        return ops.image.affine_transform(images, transforms, "bilinear", "nearest")

    def are_still(self, draws: Any) -> Any:
        """bool [N]: which images stay in place."""
        return draws[:, 7] < self.augmentation.still

    def transforms(self, draws: Any, height: int, width: int) -> Any:
        """float32 [N, 8]: from each output pixel (x, y) to its place in the input, in affine_transform's order."""
        a = self.augmentation
        spread = (2 * draws - 1) * ops.cast(ops.logical_not(self.are_still(draws)), "float32")[:, None]
        angle = spread[:, 0] * math.radians(a.rotation)
        shear = spread[:, 1] * math.radians(a.shear)
        shift_x, shift_y = spread[:, 2] * a.shift * width, spread[:, 3] * a.shift * height
        zoom_x, zoom_y = 1 + spread[:, 4] * a.zoom, 1 + spread[:, 5] * a.zoom
        cos, sin = ops.cos(angle), ops.sin(angle)
        # (xx xy; yx yy) = rotation · shear · zoom
        xx, xy = cos * zoom_x, -(cos * ops.sin(shear) + sin * ops.cos(shear)) * zoom_y
        yx, yy = sin * zoom_x, (cos * ops.cos(shear) - sin * ops.sin(shear)) * zoom_y
        center_x, center_y = (width - 1) / 2, (height - 1) / 2
        to_x = cos * shift_x - sin * shift_y + center_x - xx * center_x - xy * center_y
        to_y = sin * shift_x + cos * shift_y + center_y - yx * center_x - yy * center_y
        if a.flip:
            # The picture is mirrored last, so that an output x reads where width − 1 − x would.
            mirrored = draws[:, 6] < 0.5
            to_x, to_y = (
                ops.where(mirrored, to_x + xx * (width - 1), to_x),
                ops.where(mirrored, to_y + yx * (width - 1), to_y),
            )
            xx, yx = ops.where(mirrored, -xx, xx), ops.where(mirrored, -yx, yx)
        zero = ops.zeros_like(xx)
        return ops.stack([xx, xy, to_x, yx, yy, to_y, zero, zero], axis=1)


class RandomLight(_Random):
    """Changes gamma, then contrast about the middle gray, then brightness."""

    DRAWS = 3

    def change(self, images: Any, draws: Any) -> Any:
        """The lit images, pixels 0–255."""
        spread = (2 * draws - 1)[:, None, None, :] * self.augmentation.light
        # 0 to a fractional power has no finite slope there, and some backends give not-a-number.
        gamma = ops.power(ops.clip(images / 255, 1e-4, 1), ops.exp(spread[..., 0:1])) * 255
        return ops.clip((gamma - 128) * ops.exp(spread[..., 1:2]) + 128 + spread[..., 2:3] * 128, 0, 255)


class RandomErasing(_Random):
    """Fills a rectangle of an image with one gray, as a hand or a cup before the face would.

    Source: Zhong et al., Random Erasing Data Augmentation, https://arxiv.org/abs/1708.04896.
    """

    DRAWS = 6
    SIDES = (1 / 8, 7 / 16)
    """Least and greatest side of the rectangle, as a share of the image's."""

    def change(self, images: Any, draws: Any) -> Any:
        """The images, some with a rectangle."""
        height, width = images.shape[1], images.shape[2]
        low, high = self.SIDES
        sides = low + (high - low) * draws[:, 1:3]
        starts = draws[:, 3:5] * (1 - sides)
        within = []
        for axis, length in ((0, height), (1, width)):
            places = (ops.arange(length, dtype="float32") + 0.5)[None] / length
            start, side = starts[:, axis, None], sides[:, axis, None]
            within.append(ops.logical_and(places >= start, places < start + side))
        hidden = ops.logical_and(within[0][:, :, None], within[1][:, None, :])
        hidden = ops.logical_and(hidden, (draws[:, 0] < self.augmentation.erase)[:, None, None])
        return ops.where(hidden[..., None], draws[:, 5][:, None, None, None] * 255, images)


class RandomCamera(_Random):
    """Blurs and then adds noise, as a lens out of focus, a hand in motion and a sensor in poor light do.

    It is not a part of `Augment`: it comes last, after teachers have read the faces, so that what they say of a good
    picture is learned for the bad one too. Source: Xie et al., Self-training with Noisy Student, in which the noise is
    the student's alone, https://arxiv.org/abs/1911.04252.
    """

    DRAWS = 4
    BLUR = 1.5
    """Pixels, the greatest standard deviation of the Gaussian."""
    NOISE = 20.0
    """Steps of 255, the greatest standard deviation."""

    def __init__(self, augmentation: Augmentation, seed: int | None = None, **options: Any) -> None:
        super().__init__(augmentation, seed, **options)
        self.used = augmentation.camera > 0
        self._noise = np.random.default_rng(0).standard_normal(1 << 16).astype(np.float32)

    def change(self, images: Any, draws: Any) -> Any:
        """The spoilt images, pixels 0–255; an image's noise is a stretch of a table, each from a place of its own."""
        _, height, width, channels = images.shape
        spoilt = ops.cast(draws[:, 0] < self.augmentation.camera, "float32")
        rows, columns = (self._blur(spoilt * draws[:, 1] * self.BLUR, side) for side in (height, width))
        images = ops.einsum("nij,njkc,nlk->nilc", rows, images, columns)
        places = ops.cast(draws[:, 3] * len(self._noise), "int32")[:, None] + ops.arange(height * width * channels)
        noise = ops.reshape(
            ops.take(ops.convert_to_tensor(self._noise), places % len(self._noise)), (-1, height, width, channels)
        )
        return ops.clip(images + noise * (spoilt * draws[:, 2] * self.NOISE)[:, None, None, None], 0, 255)

    @staticmethod
    def _blur(sigma: Any, side: int) -> Any:
        """float32 [N, side, side]: for each image the matrix that blurs one axis, its rows of sum 1."""
        apart = np.square(np.arange(side)[:, None] - np.arange(side)[None]).astype(np.float32)
        weights = ops.exp(-ops.convert_to_tensor(apart) / (2 * ops.square(ops.maximum(sigma, 0.05)))[:, None, None])
        return weights / ops.sum(weights, axis=2, keepdims=True)


class Augment(_Random):
    """What happens to each face before teachers read it: moves, then light, then what hides it.

    What the augmentation leaves out costs nothing.
    """

    _PARTS = (RandomAffine, RandomLight, RandomErasing)
    DRAWS = sum(part.DRAWS for part in _PARTS)

    def __init__(self, augmentation: Augmentation, seed: int | None = None, **options: Any) -> None:
        super().__init__(augmentation, seed, **options)
        self._parts = [part(augmentation) for part in self._PARTS]
        self._used = (True, augmentation.light > 0, augmentation.erase > 0)

    def are_still(self, draws: Any) -> Any:
        """bool [N]: which images stay in place."""
        return self._parts[0].are_still(draws)

    def build(self, *shapes: Any) -> None:
        """There are no weights; without a build of its own Keras warns that its parts have none."""

    def change(self, images: Any, draws: Any) -> Any:
        """The augmented images, pixels 0–255."""
        first = 0
        for part, used in zip(self._parts, self._used, strict=True):
            if used:
                images = part.change(images, draws[:, first : first + part.DRAWS])
            first += part.DRAWS
        return images


class Mix:
    """Makes one face of two, and their targets with them: what `mixup` and `cutmix` of an augmentation ask for.

    The n-th image's other is the one beside it in its pair (0 and 1, 2 and 3, …), so that an even part of a batch is
    mixed as the whole batch would be.
    """

    DRAWS = 4
    """Random numbers an image."""

    def __init__(self, augmentation: Augmentation) -> None:
        self._mixup, self._cutmix = augmentation.mixup, augmentation.cutmix
        self.used = max(self._mixup, self._cutmix) > 0

    def __call__(self, images: Any, targets: Any, draws: Any) -> tuple[Any, Any]:
        """Images float [N, H, W, C] and targets float [N, classes], mixed; N is even.

        `draws` are uniform in [0, 1), float32 [N, DRAWS].
        """
        if self._mixup:
            images, targets = mixup(images, targets, draws[:, :2], self._mixup)
        if self._cutmix:
            images, targets = cutmix(images, targets, draws[:, 2:], self._cutmix)
        return images, targets


def mixup(images: Any, targets: Any, draws: Any, share: float) -> tuple[Any, Any]:
    """Blends a `share` of the images and targets with their others. `draws` are float32 [N, 2].

    An image's own part is sin²(πu/2) of a uniform u, which is Beta(½, ½): mostly one image or the other.
    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, https://arxiv.org/abs/1710.09412.
    """
    own = ops.where(draws[:, 0] < share, ops.square(ops.sin(math.pi / 2 * draws[:, 1])), 1.0)
    part = own[:, None, None, None]
    return part * images + (1 - part) * _others(images), own[:, None] * targets + (1 - own[:, None]) * _others(targets)


def cutmix(images: Any, targets: Any, draws: Any, share: float) -> tuple[Any, Any]:
    """Puts the lower part of its other into a `share` of the images: one's eyes, another's mouth. `draws` as above.

    The border is at 3/8 to 5/8 of the height; targets are mixed by area.
    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers, https://arxiv.org/abs/1905.04899,
    with a border in place of its rectangle, as all faces have their parts in the same places.
    """
    height = images.shape[1]
    own = ops.where(draws[:, 0] < share, ops.round((0.375 + 0.25 * draws[:, 1]) * height) / height, 1.0)
    rows = (ops.arange(height, dtype="float32") + 0.5) / height
    below = (rows[None] >= own[:, None])[:, :, None, None]
    return (
        ops.where(below, _others(images), images),
        own[:, None] * targets + (1 - own[:, None]) * _others(targets),
    )


def _others(values: Any) -> Any:
    shape = values.shape
    return ops.reshape(ops.flip(ops.reshape(values, (-1, 2, *shape[1:])), axis=1), (-1, *shape[1:]))
