"""The command `mien` as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import read_video, scene
from patterns import LABELS, patterns
from typer.testing import CliRunner, Result

from mien.edge.main import app

MakeBundle = Callable[..., Path]
MIEN = str(Path(sysconfig.get_path("scripts")) / "mien")


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="mien")


def mien(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The installed command, as a process."""
    return subprocess.run([MIEN, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def fails(result: Result) -> str:
    """The one line that a failed command printed."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("mien: error: ") and result.stderr.count("\n") == 1
    return result.stderr


def test_all_outputs_of_one_run(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    outputs = [f"jsonl:{tmp_path / 'log.jsonl'}", f"video:{tmp_path / 'out.mp4'}", f"image:{tmp_path / 'out.png'}"]
    sinks = [part for uri in outputs for part in ("--sink", uri)]
    result = invoke("run", face_video, "--model", bundle, *sinks, "--stats", tmp_path / "stats.json")
    assert result.exit_code == 0 and result.stdout == ""
    assert result.stderr.startswith("mien: 12 frames in ") and result.stderr.count("\n") == 1

    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["frame"] for line in log] == list(range(12))
    assert {len(line["faces"]) for line in log[:5]} == {1}
    assert {len(line["faces"]) for line in log[10:]} == {2}, "found within half a second"
    assert {line["faces"][0]["id"] for line in log} == {1}, "the moving face keeps its number"
    face = log[-1]["faces"][1]
    assert set(face) == {"id", "box", "emotion", "confidence", "scores", "raw"} and set(face["scores"]) == set(LABELS)
    assert face["id"] == 2 and face["confidence"] == max(face["scores"].values())

    original, annotated = read_video(face_video), read_video(tmp_path / "out.mp4")
    assert len(annotated) == 12 and annotated[0].shape == original[0].shape
    difference = np.abs(annotated[-1].astype(int) - original[-1]).max(axis=2)
    left, top, width, height = face["box"]
    assert (difference[top + height - 2 : top + height + 12, left : left + width] > 60).mean() > 0.3, "no label"
    assert (difference[200:] > 60).mean() < 0.01, "something was drawn where no face is"
    assert (difference[:10] > 40).mean() > 0.8, "no notice"

    assert cv2.imread(str(tmp_path / "out.png")).shape == (240, 320, 3)
    stats = json.loads((tmp_path / "stats.json").read_text())
    assert stats["frames"] == 12 and stats["faces"] == sum(len(line["faces"]) for line in log)
    assert {path.name for path in tmp_path.iterdir()} == {"log.jsonl", "out.mp4", "out.png", "stats.json"}


def test_standard_output_holds_the_log_and_nothing_else(bundle: Path, face_video: Path) -> None:
    result = mien("run", face_video, "--model", bundle, "--max-frames", 3)
    assert result.returncode == 0
    assert [json.loads(line)["frame"] for line in result.stdout.splitlines()] == [0, 1, 2]
    assert result.stderr.startswith("mien: 3 frames") and result.stderr.count("\n") == 1


def test_a_picture_and_a_folder(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for i in range(3):
        cv2.imwrite(str(tmp_path / "in" / f"{i}.png"), scene((20, 60, 100)))
    log = tmp_path / "log.jsonl"
    assert invoke("run", tmp_path / "in" / "0.png", "--model", bundle, "--sink", f"jsonl:{log}").exit_code == 0
    assert invoke("run", tmp_path / "in", "--model", bundle, "--sink", f"jsonl:{log}").exit_code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["frame"] for line in lines] == [0, 0, 1, 2] and all(len(line["faces"]) == 1 for line in lines)


def test_the_astronaut(bundle: Path, astronaut: np.ndarray, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "astronaut.png"), astronaut)
    log = tmp_path / "log.jsonl"
    assert invoke("run", tmp_path / "astronaut.png", "--model", bundle, "--sink", f"jsonl:{log}").exit_code == 0
    boxes = [face["box"] for face in json.loads(log.read_text())["faces"]]
    assert any(150 < x < 200 and 40 < y < 100 and 80 < width < 130 for x, y, width, _ in boxes)


@pytest.mark.parametrize("name, frames", [("student.mkv", 52), ("head-pose-face-detection-male.gif", 62)])
def test_real_videos(bundle: Path, media: Path, tmp_path: Path, name: str, frames: int) -> None:
    log = tmp_path / "log.jsonl"
    assert invoke("run", media / name, "--model", bundle, "--sink", f"jsonl:{log}").exit_code == 0
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(lines) == frames
    found = [line for line in lines if any(face["id"] == 1 for face in line["faces"])]
    assert len(found) >= 0.9 * frames, "one person is in view all the time, under one number"


def test_a_configuration_and_options_over_it(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    config = tmp_path / "mien.toml"
    config.write_text(
        f'source = "{face_video}"\nmodel = "{bundle}"\nsinks = ["jsonl:{tmp_path / "a.jsonl"}"]\nloop = true\n'
        "[detector]\nmin_face = 85\n"
    )
    assert invoke("run", "--config", config, "--max-frames", 14).exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert len(lines) == 14 and max(len(line["faces"]) for line in lines) == 1, "the smaller face is left out"
    assert (
        invoke("run", "--config", config, "--max-frames", 1, "--sink", f"jsonl:{tmp_path / 'b.jsonl'}").exit_code == 0
    )
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 1


class TestBadInput:
    """Each is one clear line and exit code 1, and nothing is written."""

    @pytest.fixture(autouse=True)
    def nothing_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
        monkeypatch.chdir(tmp_path)
        yield
        written = [path.name for path in tmp_path.iterdir() if path.name.startswith(("out", ".partial"))]
        assert written == []

    def run(self, bundle: Path, source: object, *arguments: object) -> str:
        return fails(invoke("run", source, "--model", bundle, "--sink", "jsonl:out.jsonl", *arguments))

    def test_missing_video(self, bundle: Path) -> None:
        assert "no file or folder at gone.mp4: check the path" in self.run(bundle, "gone.mp4")

    def test_unreadable_video(self, bundle: Path, tmp_path: Path) -> None:
        (tmp_path / "junk.mp4").write_bytes(bytes(range(256)) * 20)
        assert "junk.mp4 is neither a picture nor a video that can be read" in self.run(bundle, "junk.mp4")

    def test_empty_folder(self, bundle: Path, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        assert "no picture in empty" in self.run(bundle, "empty")

    def test_no_camera(self, bundle: Path) -> None:
        assert "no camera at /dev/video98" in self.run(bundle, "v4l2:///dev/video98")

    def test_no_source(self, bundle: Path) -> None:
        assert "no source: give a video" in fails(invoke("run", "--model", bundle))

    def test_no_bundle(self, face_video: Path, tmp_path: Path) -> None:
        (tmp_path / "gone").mkdir()
        assert "can't read gone/card.json" in self.run(Path("gone"), face_video)

    def test_no_such_model(self, face_video: Path, tmp_path: Path) -> None:
        message = self.run(Path("mien-bse"), face_video)
        assert "no model 'mien-bse': the bundled ones are mien-base" in message

    def test_a_model_that_is_not_tflite(self, make_bundle: MakeBundle, face_video: Path) -> None:
        assert "is not a TFLite model" in self.run(make_bundle(model=b"\x80keras model, perhaps"), face_video)

    def test_a_damaged_model(self, make_bundle: MakeBundle, face_video: Path) -> None:
        assert "can't load the model" in self.run(make_bundle(model=b"\x1c\x00\x00\x00TFL3" + bytes(99)), face_video)

    def test_a_wrong_checksum(self, make_bundle: MakeBundle, face_video: Path) -> None:
        assert "doesn't match its card (sha256 " in self.run(make_bundle(sha256="0" * 64), face_video)

    def test_labels_that_do_not_fit(self, make_bundle: MakeBundle, face_video: Path) -> None:
        message = self.run(make_bundle(labels=["happy", "sad"]), face_video)
        assert "the model has 5 outputs, its card 2 labels" in message

    def test_a_configuration_with_an_unknown_key(self, bundle: Path, face_video: Path, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text("thread = 2\n")
        message = self.run(bundle, face_video, "--config", "c.toml")
        assert message == "mien: error: c.toml: unknown key thread: did you mean threads?\n"

    def test_a_configuration_with_a_wrong_type(self, bundle: Path, face_video: Path, tmp_path: Path) -> None:
        (tmp_path / "c.toml").write_text('threads = "two"\n')
        message = self.run(bundle, face_video, "--config", "c.toml")
        assert message == "mien: error: c.toml: threads must be a whole number, not 'two'\n"

    def test_no_configuration(self, bundle: Path, face_video: Path) -> None:
        assert "can't read the configuration gone.toml" in self.run(bundle, face_video, "--config", "gone.toml")

    def test_too_many_threads(self, bundle: Path, face_video: Path) -> None:
        assert "threads must be between 1 and 64, not 65" in self.run(bundle, face_video, "--threads", 65)

    def test_unknown_sink(self, bundle: Path, face_video: Path) -> None:
        assert "unknown sink out.mp4" in fails(invoke("run", face_video, "--model", bundle, "--sink", "out.mp4"))

    def test_a_sink_twice(self, bundle: Path, face_video: Path) -> None:
        assert "sink jsonl:out.jsonl is given twice" in self.run(bundle, face_video, "--sink", "jsonl:out.jsonl")

    def test_stats_in_no_folder(self, bundle: Path, face_video: Path) -> None:
        message = self.run(bundle, face_video, "--stats", "gone/stats.json")
        assert "can't write gone/stats.json: it must be a file in a folder that exists" in message

    def test_no_opencv(self, bundle: Path, face_video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "cv2", None)
        assert "OpenCV doesn't load" in self.run(bundle, face_video)

    def test_debug_shows_a_traceback(self, bundle: Path) -> None:
        result = mien("--debug", "run", "gone.mp4", "--model", bundle)
        assert result.returncode == 1 and "Traceback" in result.stderr

    @pytest.mark.parametrize("arguments", [("run", "a.mp4", "--max-frames", "0"), ("run", "--nonsense"), ("walk",)])
    def test_wrong_usage(self, arguments: tuple[str, ...]) -> None:
        assert invoke(*arguments).exit_code == 2

    @pytest.mark.parametrize(
        "name, content",
        [
            ("junk.mp4", b"no video " * 99),
            ("cut.mkv", b"\x1aE\xdf\xa3 not much"),
            ("broken.jpg", b"\xff\xd8\xff\xe0 x"),
        ],
    )
    def test_libraries_keep_quiet(self, bundle: Path, tmp_path: Path, name: str, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        result = mien("run", name, "--model", bundle)
        assert result.returncode == 1 and result.stdout == ""
        assert result.stderr.startswith("mien: error: ") and result.stderr.count("\n") == 1


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 patterns in each of five classes, as a folder tree; one in ten of them under a wrong label."""
    root = tmp_path_factory.mktemp("faces")
    faces, labels = patterns(20, seed=77)
    for i, (face, label) in enumerate(zip(faces, labels, strict=True)):
        folder = root / "validation" / LABELS[(label + 1) % 5 if i % 10 == 0 else label]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{i}.png"), face)
    return root


class TestEvaluate:
    def test_as_json(self, bundle: Path, data: Path) -> None:
        result = invoke("evaluate", "--model", bundle, "--data", data, "--json")
        assert result.exit_code == 0, result.output
        values = json.loads(result.stdout)
        assert values["faces"] == 100 and values["split"] == "validation" and values["model"] == "tiny"
        # The tiny model knows the patterns; one in ten is labelled wrongly.
        assert 0.86 <= values["accuracy"] <= 0.92
        assert set(values["recall"]) == set(LABELS) and values["classes"] == list(LABELS)
        confusion = np.array(values["confusion"])
        assert confusion.sum() == 100 and np.trace(confusion) == round(100 * values["accuracy"])
        assert 0 <= values["calibration_error"] <= 1 and 0 < values["ms_per_face"] < 1000

    def test_as_a_table(self, bundle: Path, data: Path) -> None:
        result = invoke("evaluate", "--model", bundle, "--data", data)
        assert result.exit_code == 0 and "\x1b" not in result.output
        assert "100 of validation" in result.stdout and "macro-F1" in result.stdout
        row = next(line for line in result.stdout.splitlines() if line.startswith("happy"))
        assert sum(map(int, row.split()[1:-1])) == 20

    def test_the_datas_own_order_of_classes(self, bundle: Path, data: Path) -> None:
        straight = invoke("evaluate", "--model", bundle, "--data", data, "--json")
        turned = invoke("evaluate", "--model", bundle, "--data", data, "--json", "--classes", ",".join(LABELS[::-1]))
        assert json.loads(straight.stdout)["confusion"] == json.loads(turned.stdout)["confusion"]

    def test_fewer_classes_than_labels(self, bundle: Path, data: Path) -> None:
        """Every face is read as one of the classes asked for, so that nothing counts as another."""
        result = invoke("evaluate", "--model", bundle, "--data", data, "--json", "--classes", "sad,happy")
        values = json.loads(result.stdout)
        assert values["classes"] == ["happy", "sad"] and values["faces"] == 40
        assert np.array(values["confusion"]).shape == (2, 2) and np.sum(values["confusion"]) == 40

    def test_corruptions(self, bundle: Path, data: Path) -> None:
        result = invoke("evaluate", "--model", bundle, "--data", data, "--json", "--corrupt")
        values = json.loads(result.stdout)
        assert len(values["corrupted"]) == 12
        assert all(len(row) == 5 for row in values["corrupted"].values())
        mean = sum(sum(row) for row in values["corrupted"].values()) / 60
        assert values["relative_accuracy"] == pytest.approx(mean / values["accuracy"], abs=1e-3)

    def test_a_class_that_the_model_does_not_know(self, bundle: Path, data: Path) -> None:
        message = fails(invoke("evaluate", "--model", bundle, "--data", data, "--classes", "happy,sad,fear"))
        assert "the model doesn't know the class 'fear'" in message

    def test_a_split_that_is_not_there(self, bundle: Path, data: Path) -> None:
        message = fails(invoke("evaluate", "--model", bundle, "--data", data, "--split", "test"))
        assert "has no split 'test': it has validation" in message

    def test_no_data(self, bundle: Path, tmp_path: Path) -> None:
        assert "no data set at " in fails(invoke("evaluate", "--model", bundle, "--data", tmp_path / "gone"))


def test_info(bundle: Path) -> None:
    result = invoke("info", "--model", bundle)
    assert result.exit_code == 0 and "tiny 1" in result.stdout and "angry, happy, neutral" in result.stdout
    card = json.loads(invoke("info", "--model", bundle, "--json").stdout)
    written = json.loads((bundle / "card.json").read_text())
    assert {key: card[key] for key in written} == written


def test_models() -> None:
    """What ships: each has its figures, and can be named wherever a model is asked for."""
    rows = json.loads(invoke("models", "--json").stdout)
    assert [row["default"] for row in rows] == [True] + [False] * (len(rows) - 1)
    table = invoke("models").stdout
    for row in rows:
        assert f"\n{row['name']} " in table and f"{row['accuracy']:.3f}" in table
        card = json.loads(invoke("info", "--model", row["name"], "--json").stdout)
        assert card["metrics"]["quantized"]["accuracy"] == row["accuracy"]


def test_help_and_version() -> None:
    assert "--max-frames" in invoke("run", "--help").stdout
    assert mien("--version").stdout.startswith("mien 0.")
