"""Random affine augmentation, drawn per image; one resampling for rotation, shift, shear, zoom and flip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops


@dataclass(frozen=True)
class Augmentation:
    """How far an image may be moved; the defaults are the reference system's."""

    rotation: float = 30.0
    """Degrees to either side."""
    shear: float = 0.3
    """Degrees to either side: what Keras's ImageDataGenerator, which the reference used, takes it for."""
    zoom: float = 0.3
    """Share of the size by which each axis is stretched or squeezed."""
    shift: float = 0.4
    """Share of the side by which each axis is moved."""
    flip: bool = True
    """Mirrors every second image, left to right."""


class RandomAffine(keras.layers.Layer):
    """Moves float images [N, H, W, C]; pixels from beyond the border repeat the border's ("nearest" fill).

    The map is that of keras.preprocessing.image.ImageDataGenerator (deprecated): rotation · shift ·
    shear · zoom about the centre, bilinear, then the flip.
    """

    DRAWS = 7
    """Random numbers that one image takes."""

    def __init__(self, augmentation: Augmentation, seed: int | None = None, **options: Any) -> None:
        super().__init__(dtype="float32", **options)
        self.augmentation = augmentation
        self._seeds = keras.random.SeedGenerator(seed)

    def call(self, images: Any, draws: Any = None) -> Any:
        """`draws` are uniform numbers in [0, 1), float32 [N, DRAWS]; without them the layer draws its own."""
        if draws is None:
            draws = keras.random.uniform((ops.shape(images)[0], self.DRAWS), seed=self._seeds)
        transforms = self.transforms(draws, images.shape[1], images.shape[2])
        return ops.image.affine_transform(images, transforms, "bilinear", "nearest")

    def transforms(self, draws: Any, height: int, width: int) -> Any:
        """float32 [N, 8]: from each output pixel (x, y) to its place in the input, in affine_transform's order."""
        a = self.augmentation
        spread = 2 * draws - 1
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
