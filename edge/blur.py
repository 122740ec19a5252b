"""Faces made unrecognizable: a picture and where its faces are → a picture with large squares in their place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import cv2

from .records import Box, Frame, Image, Observation

_CELLS = 4
"""Squares across a face: with six of them a cascade still finds one, and people recognize whom they know."""
_LEAST = 4
"""Of a square, pixels: a small face has fewer squares."""
_MARGIN = 0.2
"""By which the hidden part is larger than the box on each side: hair, chin and ears tell who somebody is, too."""
_HOLD = 1.0
"""Seconds for which a place stays hidden after its face was seen there last: a detector misses faces now and then."""


class FaceBlur:
    """Hides the faces of a film, and where they were a moment ago. A face that was never found stays as it is."""

    def __init__(self) -> None:
        self._places: dict[int, tuple[float, Box]] = {}
        """Face → when it was seen last, seconds since the Epoch, and where."""

    def apply(self, observation: Observation) -> Observation:
        """The same observation, in whose pictures no face is left that was read, now or just before."""
        now = observation.frame.time
        self._places = {id: place for id, place in self._places.items() if 0 <= now - place[0] <= _HOLD}
        for reading in observation.readings:
            self._places[reading.face.id] = (now, reading.face.box)
        boxes = [box for _, box in self._places.values()]
        frame = observation.frame
        hidden = Frame(frame.index, frame.time, pixelate(frame.image, boxes), pixelate(frame.gray, boxes))
        return replace(observation, frame=hidden)


def pixelate(picture: Image, boxes: Iterable[Box]) -> Image:
    """A new picture, uint8 [H, W] or [H, W, 3], with a few squares of one colour each where the boxes are."""
    picture = picture.copy()
    height, width = picture.shape[:2]
    for box in boxes:
        across, down = round(_MARGIN * box.width), round(_MARGIN * box.height)
        left, right = max(0, box.x - across), min(width, box.x + box.width + across)
        top, bottom = max(0, box.y - down), min(height, box.y + box.height + down)
        if left >= right or top >= bottom:
            continue
        part = picture[top:bottom, left:right]
        # By the box's size, not the part's: a face at the border doesn't get smaller squares.
        cell = max(_LEAST, box.width // _CELLS, box.height // _CELLS)
        few = (max(1, (right - left) // cell), max(1, (bottom - top) // cell))
        small = cv2.resize(part, few, interpolation=cv2.INTER_AREA)
        picture[top:bottom, left:right] = cv2.resize(
            small, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
        )
    return picture
