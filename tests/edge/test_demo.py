"""The demo's moving picture, its summary, and the command `mien demo`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import reading

from mien.edge import demo
from mien.edge.demo import FRAME_RATE, FRAMES, HEIGHT, WIDTH, Summary, find_photograph, moving_picture
from mien.edge.detector import HaarDetector
from mien.edge.errors import RuntimeMissing, SinkError
from mien.edge.preprocess import to_gray
from mien.edge.records import Box, Face, Frame, Observation
from mien.edge.stats import Stats

needs_photographs = pytest.mark.skipif(
    not (importlib.util.find_spec("skimage") and importlib.util.find_spec("matplotlib")),
    reason="the photographs are not installed: pip install 'mien[demo]'",
)
STATS = Stats(
    frames=10,
    seconds=0.5,
    fps=20.0,
    faces=12,
    stages_ms={"capture": 1.0, "detect": 40.0, "classify": 0.5, "draw": 0.25, "sink": 0.0},
    dropped={"capture": 0, "output": 0},
    peak_rss_mb=100.0,
)


def observe(index: int, *readings: tuple[int, str, float]) -> Observation:
    """Frame `index` at 10 a second, gray value `index`, with (face id, emotion, confidence) readings."""
    image = np.full((30, 40, 3), index, np.uint8)
    frame = Frame(index, 1000 + index / 10, image, image[:, :, 0])
    return Observation(
        frame,
        tuple(
            reading(Face(id, Box(0, 0, 10, 10)), {emotion: confidence, "other": 1 - confidence})
            for id, emotion, confidence in readings
        ),
    )


def summarise(path: Path, *observations: Observation) -> Summary:
    with Summary(path) as summary:
        for observation in observations:
            summary.write(observation, observation.frame.image)
    return summary


def middles(path: Path) -> list[int]:
    """The gray value in the middle of each tile of a summary's picture."""
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    return [int(picture[150, x]) for x in range(200, picture.shape[1], 400)]


@needs_photographs
def test_the_moving_picture_shows_one_face_then_another_then_both() -> None:
    photographs = [cv2.imread(str(find_photograph(*each))) for each in demo._PHOTOGRAPHS]
    frames = list(moving_picture(photographs))
    assert len(frames) == FRAMES == 130
    assert all(frame.shape == (HEIGHT, WIDTH, 3) and frame.dtype == np.uint8 for frame in frames)
    detector = HaarDetector()

    def centres(index: int) -> list[tuple[float, float]]:
        boxes = detector.detect(to_gray(frames[index]))
        return [(box.x + box.width / 2, box.y + box.height / 2) for box in boxes]

    # The faces' middles in the photographs are (224, 113) and (266, 216); place = (face − view) · scale + middle.
    for index, expected in {
        0: [(280, 141)],
        40: [(332, 172)],
        80: [(171, 136), (488, 173)],
        129: [(157, 179), (480, 206)],
    }.items():
        found = centres(index)
        for x, y in expected:
            assert any(abs(x - u) < 15 and abs(y - v) < 15 for u, v in found), (index, found)


@needs_photographs
def test_a_cut_never_puts_one_face_in_the_place_of_the_other() -> None:
    """Else the tracker would take them for one."""
    photographs = [cv2.imread(str(find_photograph(*each))) for each in demo._PHOTOGRAPHS]
    frames = list(moving_picture(photographs))
    detector = HaarDetector()
    before, after = (max(detector.detect(to_gray(frames[index])), key=lambda box: box.width) for index in (39, 40))
    width = min(before.x + before.width, after.x + after.width) - max(before.x, after.x)
    height = min(before.y + before.height, after.y + after.height) - max(before.y, after.y)
    overlap = max(width, 0) * max(height, 0)
    assert overlap / (before.width * before.height + after.width * after.height - overlap) < 0.25


@needs_photographs
def test_the_written_film_is_what_was_made(tmp_path: Path) -> None:
    path = tmp_path / "film.avi"
    demo.write_moving_picture(path)
    photographs = [cv2.imread(str(find_photograph(*each))) for each in demo._PHOTOGRAPHS]
    film = cv2.VideoCapture(str(path))
    assert film.get(cv2.CAP_PROP_FPS) == FRAME_RATE
    for frame in moving_picture(photographs):
        good, read = film.read()
        assert good
        assert cv2.PSNR(frame, read) > 34  # decibels; the wrong frame gives less than 25
    assert not film.read()[0]
    assert [file.name for file in tmp_path.iterdir()] == ["film.avi"]


@pytest.mark.parametrize("place", [("nowhere", "no_such_package_at_all", "x.png"), ("NumPy", "numpy", "no/such.png")])
def test_a_missing_photograph_is_one_clear_error(place: tuple[str, str, str]) -> None:
    with pytest.raises(RuntimeMissing, match=rf"need {place[0]}: pip install 'mien\[demo\]'"):
        find_photograph(*place)


@needs_photographs
def test_a_film_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="can't write"):
        demo.write_moving_picture(tmp_path / "missing" / "film.avi")


def test_the_summary_counts_each_face_and_its_emotions(tmp_path: Path) -> None:
    summary = summarise(
        tmp_path / "faces.png",
        observe(0, (1, "happy", 0.9)),
        observe(1, (1, "sad", 0.6), (2, "angry", 0.7)),
        observe(2, (1, "happy", 0.8)),
        observe(3),
        observe(4, (1, "happy", 0.7)),
    )
    lines = summary.table(STATS).splitlines()
    assert lines[1].split() == ["1", "0.0", "–", "0.4", "s", "4", "happy", "75%,", "sad", "25%"]
    assert lines[2].split() == ["2", "0.1", "–", "0.1", "s", "1", "angry", "100%"]
    stages = {line.split()[0]: line.split()[1:] for line in lines[4:]}
    assert stages["detect"] == ["40.00", "25"]
    assert stages["sink"] == ["–", "–"]
    assert stages["all"] == ["50.00", "20"]


def test_the_picture_shows_the_longest_scenes_in_their_order_each_where_it_was_surest(tmp_path: Path) -> None:
    scenes = [
        *(observe(10 * i, (1, "happy", [0.5, 0.9, 0.6][i])) for i in range(3)),  # surest at gray 10
        observe(40, (2, "sad", 0.9)),  # the shortest
        *(observe(100 + 10 * i, (1, "happy", 0.9), (2, "sad", [0.6, 0.7][i])) for i in range(2)),  # 110
        *(observe(200 + 10 * i, (3, "angry", [0.8, 0.7][i])) for i in range(2)),  # 200
        *(observe(250) for _ in range(9)),  # nobody in view
    ]
    summarise(tmp_path / "faces.png", *scenes)
    assert middles(tmp_path / "faces.png") == [10, 110, 200]


def test_without_faces_the_picture_is_the_first_frame_and_the_table_says_so(tmp_path: Path) -> None:
    summary = summarise(tmp_path / "faces.png", observe(70), observe(80))
    assert middles(tmp_path / "faces.png") == [70]
    assert "no face was found" in summary.table(STATS)


def test_without_frames_there_is_no_picture(tmp_path: Path) -> None:
    summarise(tmp_path / "faces.png")
    assert not list(tmp_path.iterdir())


def test_a_long_film_with_many_faces_stays_bounded(tmp_path: Path) -> None:
    often = [observe(5, (9999, "happy", 0.9))] * 3
    summary = summarise(tmp_path / "faces.png", *often, *(observe(200, (i, "sad", 0.5)) for i in range(300)))
    assert len(summary._scenes) <= Summary._SCENES
    assert middles(tmp_path / "faces.png")[0] == 5
    table = summary.table(STATS, rows=8)
    assert "and 293 more" in table
    assert "9999" in table


def run(*options: str | Path) -> subprocess.CompletedProcess[str]:
    code = "import sys; from mien.edge.main import app; sys.argv[0] = 'mien'; app()"
    return subprocess.run([sys.executable, "-c", code, "demo", *map(str, options)], capture_output=True, text=True)


@needs_photographs
def test_the_demo_leaves_a_video_a_picture_and_a_log(tmp_path: Path, bundle: Path) -> None:
    out = tmp_path / "a folder" / "demo"
    for _ in range(2):  # a second run replaces the first one's results
        result = run("--out", out, "--model", bundle, "--max-frames", 11)
        assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in out.iterdir()) == ["demo.jpg", "demo.jsonl", "demo.mp4", "input.avi"]
    log = [json.loads(line) for line in (out / "demo.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in log] == list(range(11))
    assert all(line["faces"] for line in log)
    video = cv2.VideoCapture(str(out / "demo.mp4"))
    assert (video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)) == (11, FRAME_RATE)
    scenes = {tuple(face["id"] for face in line["faces"]) for line in log}
    assert cv2.imread(str(out / "demo.jpg")).shape == (300, 400 * len(scenes), 3)
    assert "0.0 – 0.5 s" in result.stdout
    assert "detect" in result.stdout
    assert str(out / "demo.mp4") in result.stdout


def test_the_demo_reads_any_video(tmp_path: Path, bundle: Path, face_video: Path) -> None:
    result = run(face_video, "--out", tmp_path / "demo", "--model", bundle)
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "demo" / "input.avi").exists()
    assert len((tmp_path / "demo" / "demo.jsonl").read_text().splitlines()) == 12


def test_what_can_not_be_done_is_one_line_and_exit_1(tmp_path: Path, bundle: Path, face_video: Path) -> None:
    (tmp_path / "file").write_text("")
    for options, words in (
        ((tmp_path / "none.mp4", "--out", tmp_path / "out", "--model", bundle), "none.mp4"),
        ((face_video, "--out", tmp_path / "file", "--model", bundle), "can't write"),
        ((face_video, "--out", tmp_path / "out", "--model", tmp_path / "none"), "no model bundle"),
    ):
        result = run(*options)
        assert result.returncode == 1
        errors = [line for line in result.stderr.splitlines() if not line.startswith("reads ")]
        assert len(errors) == 1
        assert errors[0].startswith("mien: error: ")
        assert words in errors[0]
        assert "Traceback" not in result.stderr
