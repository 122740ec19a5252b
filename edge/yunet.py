"""Gray image → boxes of faces by YuNet, a small network that also sees profile and tilted faces; the model is yours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .errors import ConfigError, RuntimeMissing
from .records import Box, Image

LONGEST = 320
"""Longer side of the picture that the network gets, pixels: its cost grows with the area."""
SCORE = 0.7
"""From which on a box is a face."""


class YuNetDetector:
    """OpenCV's FaceDetectorYN with the ONNX file that it is given. Searches every frame whole.

    Source: Wu et al., YuNet, https://doi.org/10.1007/s11633-023-1423-y
    """

    def __init__(self, model: Path, min_face: float = 0.08) -> None:
        """For `min_face` see HaarDetector. Raises RuntimeMissing, ConfigError."""
        if not hasattr(cv2, "FaceDetectorYN"):
            raise RuntimeMissing(f"OpenCV {cv2.__version__} has no FaceDetectorYN: install 4.8 or newer")
        if not model.is_file():
            raise ConfigError(
                f"no YuNet model at {model}: get face_detection_yunet_2023mar.onnx from OpenCV's model zoo, "
                "then --detector yunet:PATH"
            )
        self._min_face = min_face
        try:
            self._network = cv2.FaceDetectorYN.create(str(model), "", (32, 32), SCORE)
            self._network.detect(np.zeros((32, 32, 3), np.uint8))
        except (cv2.error, SystemError) as error:
            raise ConfigError(f"{model} is no YuNet model that OpenCV {cv2.__version__} can run") from error

    def detect(self, gray: Image) -> list[Box]:
        """Square boxes within a gray picture uint8 [H, W], from left to right."""
        height, width = gray.shape
        scale = min(1.0, LONGEST / max(height, width))
        size = max(32, round(width * scale)), max(32, round(height * scale))
        small = cv2.cvtColor(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
        self._network.setInputSize(size)
        _, found = self._network.detect(small)
        least = self._min_face * height if self._min_face < 1 else self._min_face
        boxes = []
        for x, y, w, h in (row[:4] for row in (found if found is not None else ())):
            # Its boxes are taller than wide; a square about their middle is what the cascades give.
            side = (w + h) / 2
            left, top = x + w / 2 - side / 2, y + h / 2 - side / 2
            box = Box(*(round(float(value)) for value in (left / scale, top / scale, side / scale, side / scale)))
            if box.width >= max(1, least):
                boxes.append(box)
        return sorted(boxes)
