"""Writes expected_faces.json: what the engine finds and follows in fixed frames, looked at and found right.

    python tests/edge/assets/make_expected.py [FOLDER-OF-FACE-VIDEOS]

Run it again only after a change that is meant to find other faces, and look at the difference.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from mien.edge.demo import write_moving_picture
from mien.edge.detector import HaarDetector
from mien.edge.finder import Following
from mien.edge.sources import open_source
from mien.edge.tracker import Tracker

FILMS = ("again.mkv", "face-demographics-walking-and-pause.gif", "head-pose-face-detection-male.gif")
EVERY = 5


def follow(path: Path) -> dict[str, list[list[int]]]:
    """Frame → number, left, top and side of each face, of every so-manyth frame."""
    finder = Following(HaarDetector(), Tracker())
    found = {}
    with open_source(str(path)) as source:
        for frame in source:
            faces = finder.find(frame)
            if frame.index % EVERY == 0:
                found[str(frame.index)] = [[face.id, *face.box[:3]] for face in faces]
    return found


def main() -> None:
    target = Path(__file__).with_name("expected_faces.json")
    expected = json.loads(target.read_text()) if target.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        write_moving_picture(Path(folder) / "demo.avi")
        expected["demo"] = follow(Path(folder) / "demo.avi")
    for name in FILMS if len(sys.argv) > 1 else ():
        expected[name] = follow(Path(sys.argv[1]) / name)
    films = (
        f'"{name}": {{\n' + ",\n".join(f'"{i}": {json.dumps(row)}' for i, row in rows.items()) + "}"
        for name, rows in expected.items()
    )
    target.write_text("{" + ",\n".join(films) + "}\n")


if __name__ == "__main__":
    main()
