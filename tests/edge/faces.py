"""Drawn faces that the Haar cascade finds, and videos of them: the tests need no photograph of anyone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from mien.edge.records import Face, Reading


def draw_face(size: int) -> np.ndarray:
    """uint8 [size, size]: a gray face that looks at the camera, on gray 90."""
    side = 240
    face = np.full((side, side), 90, np.uint8)
    cv2.ellipse(face, (120, 125), (78, 105), 0, 0, 360, 200, -1)
    cv2.ellipse(face, (120, 55), (82, 50), 0, 180, 360, 60, -1)  # hair
    for x in (88, 152):
        cv2.ellipse(face, (x, 105), (22, 12), 0, 0, 360, 110, -1)  # eye socket, eye, brow
        cv2.ellipse(face, (x, 107), (14, 7), 0, 0, 360, 40, -1)
        cv2.ellipse(face, (x, 88), (24, 6), 0, 0, 360, 70, -1)
    cv2.ellipse(face, (120, 130), (9, 28), 0, 0, 360, 225, -1)  # nose
    cv2.ellipse(face, (120, 160), (16, 5), 0, 0, 360, 130, -1)
    cv2.ellipse(face, (120, 187), (32, 9), 0, 0, 360, 90, -1)  # mouth
    face = cv2.GaussianBlur(face, (0, 0), 5)
    return cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA)  # type: ignore[return-value]


def scene(*places: tuple[int, int, int], height: int = 240, width: int = 320) -> np.ndarray:
    """uint8 [height, width, 3]: faces at (x, y, size) on gray."""
    picture = np.full((height, width), 90, np.uint8)
    for x, y, size in places:
        picture[y : y + size, x : x + size] = draw_face(size)
    return cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]


def write_video(path: Path, images: list[np.ndarray], rate: float = 25.0) -> Path:
    """A video of pictures uint8 [H, W, 3] of one size."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), rate, (width, height))
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()
    return path


def read_video(path: Path) -> list[np.ndarray]:
    """All frames, uint8 [H, W, 3]."""
    capture = cv2.VideoCapture(str(path))
    images = []
    while (frame := capture.read())[0]:
        images.append(frame[1])
    capture.release()
    return images


def reading(face: Face, scores: dict[str, float]) -> Reading:
    """What the classifier says of a face in a frame that stands for itself."""
    return Reading(face, scores, max(scores, key=scores.__getitem__), scores)
