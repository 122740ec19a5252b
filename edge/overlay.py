"""Drawing: a picture and its readings → a picture that shows them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import cv2
import numpy as np

from .records import UNCERTAIN, Image, Reading

Colour = tuple[int, int, int]
"""B, G, R, each 0–255."""

# Okabe and Ito's palette, which people with any of the common colour blindnesses can tell apart, and a
# light gray. Source: https://jfly.uni-koeln.de/color/
_ORANGE, _SKY, _GREEN, _YELLOW = (0, 159, 230), (233, 180, 86), (115, 158, 0), (66, 228, 240)
_BLUE, _VERMILION, _PURPLE, _GRAY = (178, 114, 0), (0, 94, 213), (167, 121, 204), (178, 178, 178)
_WHITE = (255, 255, 255)
_COLOURS: dict[str, Colour] = {
    "angry": _VERMILION,
    "disgust": _GREEN,
    "fear": _PURPLE,
    "happy": _YELLOW,
    "neutral": _GRAY,
    "sad": _BLUE,
    "surprise": _SKY,
}
_OTHERS: tuple[Colour, ...] = (_ORANGE, _SKY, _GREEN, _YELLOW, _BLUE, _VERMILION, _PURPLE)

NOTICE = "Emotions are being read"
"""What is shown of a notice of which OpenCV's fonts can show nothing."""

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_LEAST_TEXT = 9
"""Height of a capital below which the font can't be read, pixels."""


def draw_overlay(image: Image, readings: Sequence[Reading], notice: str = "") -> Image:
    """A new picture: `image` (uint8 [H, W, 3], B, G, R) with a box and a label for each reading, a notice on top."""
    picture = image.copy()
    height, width = picture.shape[:2]
    text_height = max(_LEAST_TEXT, round(min(height, width) / 32))
    line = max(2, round(min(height, width) / 240))
    # All boxes before all labels, so that no box crosses out a neighbour's label.
    for reading in readings:
        _draw_box(picture, reading, line)
    for reading in readings:
        _draw_label(picture, reading, text_height, line)
    if notice:
        _draw_notice(picture, notice, max(_LEAST_TEXT, round(0.8 * text_height)))
    return picture


def colour_of(emotion: str, labels: Sequence[str]) -> Colour:
    """The colour of an emotion; a label that isn't one of FER2013's takes one by its place among `labels`."""
    if emotion == UNCERTAIN:
        return _WHITE
    return _COLOURS.get(emotion) or _OTHERS[labels.index(emotion) % len(_OTHERS)]


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever contrasts more with the background."""
    light = luminance(background)
    return (0, 0, 0) if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else (255, 255, 255)


def luminance(colour: Colour) -> float:
    """Relative luminance, 0 (black) to 1 (white). Source: WCAG 2.2, https://www.w3.org/TR/WCAG22/"""
    blue, green, red = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255)
    return float(0.2126 * red + 0.7152 * green + 0.0722 * blue)


def label_text(reading: Reading) -> str:
    """Such as ``happy 87%`` or ``uncertain``; OpenCV's fonts have ASCII only, so accents are taken off."""
    if reading.emotion == UNCERTAIN:
        return UNCERTAIN
    return f"{_plain(reading.emotion) or '?'} {round(100 * reading.confidence)}%"


def _plain(text: str) -> str:
    """What OpenCV's fonts can show of a text."""
    return " ".join(unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().split())


def _draw_box(picture: Image, reading: Reading, line: int) -> None:
    box, colour = reading.face.box, colour_of(reading.emotion, list(reading.scores))
    corners = (box.x, box.y), (box.x + box.width - 1, box.y + box.height - 1)
    # A rim in the text's colour keeps the box visible where the picture has the box's colour.
    cv2.rectangle(picture, *corners, text_colour(colour), line + 2)
    cv2.rectangle(picture, *corners, colour, line)


def _draw_label(picture: Image, reading: Reading, text_height: int, line: int) -> None:
    """A filled plate that hangs from the box's bottom edge, moved as far as it must to lie within the picture."""
    height, width = picture.shape[:2]
    box, colour = reading.face.box, colour_of(reading.emotion, list(reading.scores))
    text = label_text(reading)
    margin = max(2, text_height // 3)
    thickness = max(1, round(text_height / 9))
    scale = cv2.getFontScaleFromHeight(_FONT, text_height, thickness)
    (text_width, _), descent = cv2.getTextSize(text, _FONT, scale, thickness)
    if text_width + 2 * margin > width:  # a picture too narrow for the text
        scale *= max(1, width - 2 * margin) / text_width
        (text_width, text_height), descent = cv2.getTextSize(text, _FONT, scale, thickness)
    plate_width = max(text_width + 2 * margin, min(box.width, width))
    plate_height = text_height + max(descent, 0) + 2 * margin
    left = min(max(box.x, 0), width - plate_width)
    top = max(0, min(box.y + box.height - line, height - plate_height))
    left = max(0, left)
    cv2.rectangle(picture, (left, top), (left + plate_width - 1, top + plate_height - 1), colour, cv2.FILLED)
    baseline = top + margin + text_height
    cv2.putText(picture, text, (left + margin, baseline), _FONT, scale, text_colour(colour), thickness, cv2.LINE_AA)


def _draw_notice(picture: Image, notice: str, text_height: int) -> None:
    """White on a dark strip across the picture's top, over as many lines as it takes."""
    width = picture.shape[1]
    margin = max(2, text_height // 2)
    thickness = max(1, round(text_height / 10))
    scale = cv2.getFontScaleFromHeight(_FONT, text_height, thickness)

    def wide(text: str) -> int:
        return cv2.getTextSize(text, _FONT, scale, thickness)[0][0]

    lines: list[str] = []
    for word in (_plain(notice) or NOTICE).split():
        if lines and wide(f"{lines[-1]} {word}") <= width - 2 * margin:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    step = text_height + margin
    strip = picture[: margin + step * len(lines)]
    strip[:] = strip // 4
    for number, text in enumerate(lines):
        fitted = scale * min(1.0, max(1, width - 2 * margin) / wide(text))  # of one long word
        baseline = margin + text_height + number * step
        cv2.putText(picture, text, (margin, baseline), _FONT, fitted, _WHITE, thickness, cv2.LINE_AA)
