from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.edge.overlay import colour_of, draw_overlay, label_text, luminance, text_colour
from mien.edge.records import UNCERTAIN, Box, Face, Reading

EMOTIONS = ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise")


def reading(box: Box, emotion: str = "happy", confidence: float = 0.87, labels: tuple[str, ...] = EMOTIONS) -> Reading:
    rest = (1 - confidence) / (len(labels) - 1)
    scores = {label: confidence if label == emotion else rest for label in labels}
    return Reading(Face(1, box), scores, emotion, scores)


def test_the_given_picture_is_left_alone() -> None:
    image = np.full((240, 320, 3), 50, np.uint8)
    drawn = draw_overlay(image, [reading(Box(40, 40, 100, 100))])
    assert (image == 50).all() and drawn.shape == image.shape and (drawn != 50).any()
    assert np.array_equal(draw_overlay(image, []), image)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_text_contrasts_with_its_plate(emotion: str) -> None:
    plate = colour_of(emotion, EMOTIONS)
    lights = sorted([luminance(plate), luminance(text_colour(plate))])
    assert (lights[1] + 0.05) / (lights[0] + 0.05) >= 4.5  # WCAG's level AA


def test_each_emotion_has_a_colour_of_its_own() -> None:
    assert len({colour_of(emotion, EMOTIONS) for emotion in EMOTIONS}) == len(EMOTIONS)
    others = ("calm", "bored", "tired")
    assert len({colour_of(emotion, others) for emotion in others}) == len(others)


def test_an_uncertain_reading_says_so_in_a_colour_of_its_own() -> None:
    scores = {"happy": 0.5, "sad": 0.5}
    unsure = Reading(Face(1, Box(0, 0, 9, 9)), scores, UNCERTAIN, scores)
    assert label_text(unsure) == "uncertain"
    assert colour_of(unsure.emotion, EMOTIONS) not in {colour_of(emotion, EMOTIONS) for emotion in EMOTIONS}


def test_luminance_of_known_colours() -> None:
    assert luminance((255, 255, 255)) == pytest.approx(1)
    assert luminance((0, 0, 0)) == 0
    assert luminance((0, 0, 255)) == pytest.approx(0.2126)


def test_label_text() -> None:
    assert label_text(reading(Box(0, 0, 9, 9))) == "happy 87%"
    assert label_text(reading(Box(0, 0, 9, 9), "müde", 1.0, ("müde", "wach"))) == "mude 100%"
    assert label_text(reading(Box(0, 0, 9, 9), "怒", 0.5, ("怒", "喜"))) == "? 50%"


def plate_rows(drawn: np.ndarray, emotion: str) -> np.ndarray:
    """Rows that have a run of the plate's colour at least 25 pixels long."""
    is_plate = (drawn == colour_of(emotion, EMOTIONS)).all(axis=2)
    return np.flatnonzero(is_plate.sum(axis=1) >= 25)


@pytest.mark.parametrize("height, width", [(120, 160), (240, 320), (480, 640), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_the_label_is_at_the_bottom_of_the_box_and_can_be_read(height: int, width: int, level: int) -> None:
    box = Box(width // 4, height // 4, height // 3, height // 3)
    drawn = draw_overlay(np.full((height, width, 3), level, np.uint8), [reading(box, "surprise", 1.0)])
    bottom = box.y + box.height
    plate = drawn[bottom + 2 : bottom + 8, box.x + 2 : box.x + box.width // 2]
    share = (plate == colour_of("surprise", EMOTIONS)).all(axis=2).mean()
    assert share > 0.3, "no plate under the box"
    changed = np.flatnonzero((drawn != level).any(axis=(1, 2)))
    text = changed[-1] + 1 - bottom
    assert 14 <= text <= max(25, height * 0.08), f"a plate of {text} pixels"
    # The text itself, black on the plate, its edges softened.
    assert (drawn[bottom : changed[-1] + 1] < 120).all(axis=2).sum() > 80


@pytest.mark.parametrize(
    "box", [Box(270, 190, 60, 60), Box(-30, -30, 60, 60), Box(300, -10, 90, 300), Box(900, 900, 50, 50)]
)
def test_the_label_stays_within_the_picture(box: Box) -> None:
    drawn = draw_overlay(np.full((240, 320, 3), 128, np.uint8), [reading(box, "surprise", 1.0)])
    rows = plate_rows(drawn, "surprise")
    is_plate = (drawn == colour_of("surprise", EMOTIONS)).all(axis=2)
    whole = draw_overlay(np.full((240, 320, 3), 128, np.uint8), [reading(Box(100, 100, 60, 60), "surprise", 1.0)])
    expected = (whole == colour_of("surprise", EMOTIONS)).all(axis=2)[163:].sum()
    assert is_plate[rows[0] :].sum() >= 0.9 * expected, "the plate is cut off"


def notice_of(notice: str, height: int = 480, width: int = 640, level: int = 255) -> np.ndarray:
    """Where white text is in the strip at the top of a picture, and the strip's height, from its darkened rows."""
    drawn = draw_overlay(np.full((height, width, 3), level, np.uint8), [], notice)
    strip = np.flatnonzero((drawn[:, 0] == level // 4).all(axis=1))
    return (drawn[: len(strip)] > 150).all(axis=2)


@pytest.mark.parametrize("height, width", [(120, 160), (480, 640), (1080, 1920)])
def test_the_notice_can_be_read_on_a_strip_of_its_own(height: int, width: int) -> None:
    text = notice_of("Emotions are being read", height, width)
    rows, columns = np.flatnonzero(text.any(axis=1)), np.flatnonzero(text.any(axis=0))
    assert 9 <= rows[-1] - rows[0] <= 0.12 * height or width < 320
    assert columns[0] > 0 and columns[-1] < width - 1 and 1 < len(text) < 0.4 * height


def test_a_long_notice_takes_more_lines() -> None:
    short, long = notice_of("Emotions are being read"), notice_of("Emotions are being read by a camera here " * 5)
    assert len(long) >= 2.5 * len(short)
    assert long[:, -3:].sum() == 0, "it runs out of the picture"
    word = notice_of("Donaudampfschifffahrtselektrizitaetenhauptbetriebswerkbauunterbeamtengesellschaft" * 2)
    assert word[:, -3:].sum() == 0 and word.sum() > 100


def test_a_notice_in_a_script_that_cant_be_drawn_is_said_in_english() -> None:
    assert np.array_equal(notice_of("感情が読み取られています"), notice_of("Emotions are being read"))
    assert np.array_equal(notice_of("Gefühle"), notice_of("Gefuhle"))


def test_a_notice_lies_over_what_else_is_drawn() -> None:
    boxes = [reading(Box(0, -200, 640, 205))]
    image = np.full((480, 640, 3), 255, np.uint8)
    with_box, without = draw_overlay(image, boxes, "Read"), draw_overlay(image, [], "Read")
    assert ((with_box[:20] > 200).all(axis=2) == (without[:20] > 200).all(axis=2)).mean() > 0.95


@given(
    st.integers(1, 80),
    st.integers(1, 80),
    st.lists(
        st.builds(Box, st.integers(-200, 200), st.integers(-200, 200), st.integers(1, 200), st.integers(1, 200)),
        max_size=3,
    ),
)
@settings(deadline=None)
def test_any_boxes_on_any_picture(height: int, width: int, boxes: list[Box]) -> None:
    drawn = draw_overlay(np.zeros((height, width, 3), np.uint8), [reading(box) for box in boxes], "Read by a machine")
    assert drawn.shape == (height, width, 3) and drawn.dtype == np.uint8
