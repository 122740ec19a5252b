"""What a camera does to faces and a tidy data set doesn't: twelve corruptions in five severities.

In the manner of Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261, with what a face detector and a cheap
camera do in place of weather.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from .records import Image

SEVERITIES = (1, 2, 3, 4, 5)

_Corruption = Callable[[Image, float, np.random.Generator], np.ndarray]


def corrupt(faces: Image, kind: str, severity: int, seed: int = 0) -> Image:
    """Gray faces uint8 [N, H, W] with the corruption `kind` (one of KINDS) at a severity from 1 to 5.

    Each face is drawn for itself, from `seed`, the kind and the severity. Raises KeyError, ValueError.
    """
    if severity not in SEVERITIES:
        raise ValueError(f"a severity is 1 to 5, not {severity}")
    function, amounts = _KINDS[kind]
    rng = np.random.default_rng([seed, list(_KINDS).index(kind), severity])
    result = np.empty_like(faces)
    for i, face in enumerate(faces):
        result[i] = np.clip(np.rint(function(face, amounts[severity - 1], rng)), 0, 255)
    return result


def _moved(face: Image, matrix: np.ndarray) -> np.ndarray:
    """`matrix` (float [2, 3]) leads from a place in the result to one in `face`; the border's pixels go on."""
    height, width = face.shape
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(face, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)


def _about_centre(face: Image, angle: float, scale: float) -> np.ndarray:
    height, width = face.shape
    return cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), angle, scale)


def _either(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _shift(face: Image, share: float, rng: np.random.Generator) -> np.ndarray:
    """A box that lies beside the face, by a share of its side in any direction."""
    angle = rng.uniform(0, 2 * np.pi)
    x, y = share * face.shape[1] * np.cos(angle), share * face.shape[0] * np.sin(angle)
    return _moved(face, np.array([[1, 0, x], [0, 1, y]]))


def _scale_up(face: Image, share: float, rng: np.random.Generator) -> np.ndarray:
    """A box that is too small for the face."""
    return _moved(face, _about_centre(face, 0, 1 - share))


def _scale_down(face: Image, share: float, rng: np.random.Generator) -> np.ndarray:
    """A box that is too large for the face."""
    return _moved(face, _about_centre(face, 0, 1 + share))


def _rotation(face: Image, degrees: float, rng: np.random.Generator) -> np.ndarray:
    return _moved(face, _about_centre(face, _either(rng) * degrees, 1))


def _dark(face: Image, gamma: float, rng: np.random.Generator) -> np.ndarray:
    return 255 * (face / 255.0) ** gamma


def _bright(face: Image, gamma: float, rng: np.random.Generator) -> np.ndarray:
    return 255 * (face / 255.0) ** (1 / gamma)


def _blur(face: Image, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Out of focus; `sigma` in pixels."""
    return cv2.GaussianBlur(face, (0, 0), sigma)


def _motion(face: Image, length: float, rng: np.random.Generator) -> np.ndarray:
    """A head that moves `length` pixels while the shutter is open, in any direction."""
    side = 2 * int(np.ceil(length / 2)) + 1
    angle = rng.uniform(0, np.pi)
    kernel = np.zeros((side, side), np.float32)
    for t in np.linspace(-length / 2, length / 2, 8 * side):
        kernel[round(side // 2 + t * np.sin(angle)), round(side // 2 + t * np.cos(angle))] += 1
    return cv2.filter2D(face, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)


def _noise(face: Image, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """A sensor in poor light; `sigma` in steps of 255."""
    return face + rng.normal(0, sigma, face.shape)


def _jpeg(face: Image, quality: float, rng: np.random.Generator) -> np.ndarray:
    _, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None  # it was just encoded
    return decoded


def _far(face: Image, share: float, rng: np.random.Generator) -> np.ndarray:
    """A face that has only this share of the input's side in pixels."""
    height, width = face.shape
    size = max(1, round(width * share)), max(1, round(height * share))
    return cv2.resize(cv2.resize(face, size, interpolation=cv2.INTER_AREA), (width, height))


def _occlusion(face: Image, share: float, rng: np.random.Generator) -> np.ndarray:
    """A hand or a cup: a rectangle of one gray, with this share of the face's side, anywhere on it."""
    height, width = face.shape
    h, w = round(height * share), round(width * share)
    y, x = rng.integers(0, height - h + 1), rng.integers(0, width - w + 1)
    result = face.copy()
    result[y : y + h, x : x + w] = rng.integers(0, 256)
    return result


_KINDS: dict[str, tuple[_Corruption, tuple[float, float, float, float, float]]] = {
    "shift": (_shift, (0.04, 0.07, 0.10, 0.13, 0.16)),
    "scale up": (_scale_up, (0.04, 0.07, 0.10, 0.15, 0.20)),
    "scale down": (_scale_down, (0.04, 0.07, 0.10, 0.15, 0.20)),
    "rotation": (_rotation, (4, 8, 12, 16, 20)),
    "dark": (_dark, (1.5, 2.0, 2.5, 3.0, 4.0)),
    "bright": (_bright, (1.5, 2.0, 2.5, 3.0, 4.0)),
    "blur": (_blur, (0.5, 0.75, 1.0, 1.5, 2.0)),
    "motion": (_motion, (1.5, 2.5, 3.5, 5.0, 7.0)),
    "noise": (_noise, (5, 10, 15, 20, 30)),
    "jpeg": (_jpeg, (60, 40, 25, 15, 8)),
    "far": (_far, (0.75, 0.62, 0.5, 0.42, 0.33)),
    "occlusion": (_occlusion, (0.15, 0.2, 0.25, 0.3, 0.4)),
}

KINDS = tuple(_KINDS)
"""The corruptions, by name."""
