"""Face crop → model input: the only implementation; training, conversion and the device share it."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from .bundle import Crop
from .records import Box, Image


def to_gray(image: np.ndarray) -> Image:
    """Gray uint8 [H, W] of a gray [H, W] or [H, W, 1], B, G, R [H, W, 3] or B, G, R, A [H, W, 4] image.

    Raises ValueError for any other shape or dtype.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or image.size == 0:
        raise ValueError(f"not an 8-bit image: {image.dtype} {list(image.shape)}")
    if image.ndim == 2:
        return image
    channels = image.shape[2]
    if channels == 1:
        return image[:, :, 0]
    if channels == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)  # type: ignore[return-value]
    if channels == 4:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY)  # type: ignore[return-value]
    raise ValueError(f"an image has 1, 3 or 4 channels, not {channels}")


def to_bgr(image: np.ndarray) -> Image:
    """Colour uint8 [H, W, 3] (B, G, R) of a gray, B, G, R or B, G, R, A image; errors as `to_gray`."""
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size:
        return image
    if image.ndim == 3 and image.shape[2] == 4 and image.dtype == np.uint8 and image.size:
        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)  # type: ignore[return-value]
    return cv2.cvtColor(to_gray(image), cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]


def resize_face(gray: Image, height: int, width: int) -> Image:
    """A gray face uint8 [h, w] as uint8 [height, width]: area average when it shrinks, bilinear when it grows."""
    if gray.shape == (height, width):
        return gray
    shrinks = gray.shape[0] > height or gray.shape[1] > width
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return cv2.resize(gray, (width, height), interpolation=interpolation)  # type: ignore[return-value]


def part_of(box: Box, crop: Crop) -> Box:
    """The part of the picture that a network with this crop sees of the face in a detector's `box`."""
    width, height = max(1, round(box.width * crop.scale)), max(1, round(box.height * crop.scale))
    x = box.x + box.width * (0.5 + crop.dx) - width / 2
    y = box.y + box.height * (0.5 + crop.dy) - height / 2
    return Box(round(x), round(y), width, height)


def crop_face(gray: Image, box: Box, height: int, width: int) -> Image:
    """The face in `box` of a gray frame uint8 [H, W] as uint8 [height, width].

    Where the box reaches over the frame's border the border's pixels are repeated, so that the
    face keeps its proportions. A box wholly outside gives the nearest border pixels.
    """
    rows = np.clip(np.arange(box.y, box.y + max(box.height, 1)), 0, gray.shape[0] - 1)
    columns = np.clip(np.arange(box.x, box.x + max(box.width, 1)), 0, gray.shape[1] - 1)
    if (
        rows[0] == box.y
        and rows[-1] == box.y + box.height - 1
        and columns[0] == box.x
        and columns[-1] == box.x + box.width - 1
    ):
        face = gray[box.y : box.y + box.height, box.x : box.x + box.width]
    else:
        face = gray[np.ix_(rows, columns)]
    return resize_face(face, height, width)


def scale_pixels(pixels: Any, scale: float | np.float32, offset: float | np.float32) -> Any:
    """Pixels 0–255 (floating-point NumPy array or TensorFlow tensor, any shape) as the network's input values."""
    return pixels * scale + offset


def pixel_table(scale: float, offset: float) -> np.ndarray:
    """float32 [256]: the network's input value of each 8-bit pixel."""
    table: np.ndarray = scale_pixels(np.arange(256, dtype=np.float32), np.float32(scale), np.float32(offset))
    return table
