"""Fixed frames give the boxes and numbers that were looked at and found right."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.edge.demo import write_moving_picture
from mien.edge.detector import HaarDetector
from mien.edge.errors import RuntimeMissing
from mien.edge.finder import Following
from mien.edge.records import Box
from mien.edge.sources import open_source
from mien.edge.tracker import Tracker, intersection_over_union

EXPECTED = json.loads((Path(__file__).parent / "assets" / "expected_faces.json").read_text())


def check(path: Path, expected: dict[str, list[list[int]]]) -> None:
    """At least 97 % of the expected faces are there with their number, at their place; at most 3 % are others.

    The tolerance is for other versions of OpenCV, whose decoders and resizing differ by a gray level.
    """
    finder = Following(HaarDetector(), Tracker())
    kept = wanted = found = 0
    with open_source(str(path)) as source:
        for frame in source:
            faces = finder.find(frame)
            if str(frame.index) not in expected:
                continue
            places = {id: Box(x, y, side, side) for id, x, y, side in expected[str(frame.index)]}
            wanted += len(places)
            found += len(faces)
            kept += sum(
                face.id in places and intersection_over_union(face.box, places[face.id]) >= 0.7 for face in faces
            )
    assert wanted > 10
    assert kept >= 0.97 * wanted and found - kept <= 0.03 * wanted


def test_the_demo_s_moving_picture(tmp_path: Path) -> None:
    try:
        write_moving_picture(tmp_path / "demo.avi")
    except RuntimeMissing as error:
        pytest.skip(str(error))
    check(tmp_path / "demo.avi", EXPECTED["demo"])


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "demo"])
def test_real_films(media: Path, name: str) -> None:
    check(media / name, EXPECTED[name])
