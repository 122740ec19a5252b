from __future__ import annotations

import json
from pathlib import Path

import cv2
from typer.testing import CliRunner

from mien.edge.bench import Spread, machine
from mien.edge.main import app


def test_measures_every_stage_and_says_what_to_expect(bundle: Path, face_video: Path) -> None:
    arguments = ["bench", str(face_video), "--model", str(bundle), "--repeats", "1", "--frames", "10"]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    assert (values["frames"], values["width"], values["height"]) == (10, 320, 240)
    assert set(values["stages"]) == {"gray", "detect", "classify", "draw"}
    parts = sum(spread["median"] for spread in values["stages"].values())
    assert 0 < values["stages"]["detect"]["median"] < parts * 1.01
    assert values["all"]["median"] <= values["all"]["p95"] <= values["all"]["p99"]
    assert values["reference_ms"] > 0 and values["times_faster"] > 0
    assert str(values["threads"]) in values["model_ms"] and list(values["faces_ms"]) == ["1", "3", "8"]
    assert values["machine"]["cores"] and "OpenCV" in values["machine"]["software"]
    text = CliRunner().invoke(app, arguments).stdout
    assert "the classic loop" in text and "frames/s with 1 face," in text and "with 8 faces" in text


def test_a_picture_with_a_bar_for_each_stage(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    path = tmp_path / "bench.png"
    arguments = ["bench", str(face_video), "--model", str(bundle), "--repeats", "1", "--frames", "10"]
    result = CliRunner().invoke(app, [*arguments, "--picture", str(path), "--json"])
    assert result.exit_code == 0, result.output
    values = json.loads(result.stdout)
    image = cv2.imread(str(path))
    assert image is not None
    longest = values["all"]["p99"]
    for i, name in enumerate([*values["stages"], "all"]):
        row = image[90 + 44 * i + 14, 120:741]
        median = (values["stages"].get(name) or values["all"])["median"]
        dark = int((row == (180, 110, 40)).all(axis=1).sum())
        assert abs(dark - max(1, 620 * median / longest)) <= 2, name


def test_a_picture_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    for path in (tmp_path / "bench.pdf", tmp_path / "none" / "bench.png"):
        result = CliRunner().invoke(app, ["bench", "--model", str(bundle), "--picture", str(path)])
        assert result.exit_code == 1 and f"can't write {path}: it must be a .png or .jpg" in result.stderr


def test_threads_alone(bundle: Path) -> None:
    arguments = ["bench", "--threads", "--model", str(bundle)]
    values = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert str(values["threads"]) in values["model_ms"] and all(ms > 0 for ms in values["model_ms"].values())
    assert "recommended: --threads" in CliRunner().invoke(app, arguments).stdout


def test_spread_worked_out_by_hand() -> None:
    assert Spread.of([float(i) for i in range(101)]) == Spread(50.0, 95.0, 99.0)


def test_the_machine_names_itself() -> None:
    assert {"machine", "cores", "system", "software"} <= set(machine())


def test_a_source_without_frames(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["bench", str(tmp_path / "empty"), "--model", str(bundle)])
    assert result.exit_code == 1 and "no picture in" in result.stderr
