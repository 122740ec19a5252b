"""The whole path, small: train on seven classes, convert, judge, read a film, with the commands that users type."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("tensorflow", reason="training needs TensorFlow: pip install 'mien[train]'")

from mien.convert.main import app as convert
from mien.edge.dataset import FIVE_CLASSES, SEVEN_CLASSES
from mien.train.main import app as train


def mood_faces(path: Path, train: int, validation: int) -> Path:
    """A folder of drawn faces 60×60 whose mouth and brows differ by class, moved and lit at random."""
    rng = np.random.default_rng(0)
    mouths = {
        "angry": (0, 200, 340),
        "disgust": (3, 0, 0),
        "fear": (4, 0, 360),
        "happy": (0, 20, 160),
        "neutral": (1, 0, 0),
        "sad": (0, 200, 340),
        "surprise": (2, 0, 360),
    }
    for split, count in (("train", train), ("validation", validation)):
        for label in SEVEN_CLASSES:
            folder = path / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                face = np.full((60, 60), int(rng.integers(20, 90)), np.uint8)
                x, y = (int(v) for v in rng.integers(27, 34, 2))
                cv2.ellipse(face, (x, y), (20, 26), 0, 0, 360, int(rng.integers(150, 230)), -1)
                for side in (-8, 8):
                    cv2.circle(face, (x + side, y - 6), 3, 10, -1)
                    slant = int(np.sign(side)) * {"angry": 4, "sad": -4}.get(label, 0)
                    cv2.line(face, (x + side - 4, y - 13 + slant), (x + side + 4, y - 13 - slant), 10, 2)
                kind, start, end = mouths[label]
                if kind == 3:
                    cv2.line(face, (x - 8, y + 17), (x + 8, y + 9), 10, 3)
                elif kind == 4:
                    cv2.rectangle(face, (x - 12, y + 8), (x + 12, y + 18), 10, -1)
                elif kind == 1:
                    cv2.line(face, (x - 8, y + 13), (x + 8, y + 13), 10, 2)
                else:
                    cv2.ellipse(face, (x, y + 13), (8, 7) if kind == 2 else (9, 5), 0, start, end, 10, 2)
                cv2.imwrite(str(folder / f"{i}.png"), face)
    return path


def test_train_convert_run(tmp_path: Path, face_video: Path) -> None:
    data = mood_faces(tmp_path / "faces", train=120, validation=20)
    recipe = tmp_path / "quick.toml"
    settings = ["epochs = 2", "batch_size = 4", "learning_rate = 0.002", 'precision = "float32"']
    moves = ["rotation = 5", "shift = 0.05", "zoom = 0.05"]
    framing = ["[crop]", "scale = 1.1"]
    recipe.write_text("\n".join(['arch = "compact"', *settings, "[augmentation]", *moves, *framing]))
    run, bundle = tmp_path / "run", tmp_path / "bundle"
    options = ["--data", str(data), "--out", str(run), "--recipe", str(recipe), "--classes", "seven"]
    result = CliRunner().invoke(train, ["fit", *options])
    assert result.exit_code == 0, result.output
    arguments = ["run", "--model", str(run / "model.keras"), "--data", str(data), "--out", str(bundle), "--no-variants"]
    # Two epochs may leave scores so close that int8 decides some the other way: then the gate refuses, and says so.
    result = CliRunner().invoke(convert, [*arguments, "--force", "--json"])
    assert result.exit_code == 0, result.output
    card = json.loads((bundle / "card.json").read_text())
    assert card["labels"] == list(SEVEN_CLASSES)
    assert card["crop"] == {"scale": 1.1, "dx": 0.0, "dy": 0.0}
    assert 0.2 <= card["temperature"] <= 5 and 0 <= card["uncertain_below"] <= 1
    assert card["quantization"] == "int8"
    trained = json.loads((run / "metrics.json").read_text())["accuracy"]
    assert trained > 0.5  # chance is 0.14

    mien = str(Path(sys.executable).with_name("mien"))
    evaluate = [mien, "evaluate", "--model", str(bundle), "--data", str(data), "--json"]
    judged = subprocess.run(evaluate, capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(judged.stdout)["accuracy"] == pytest.approx(trained, abs=0.05)
    five = subprocess.run([*evaluate, "--classes", "five"], capture_output=True, text=True, check=True, timeout=120)
    assert json.loads(five.stdout)["classes"] == list(FIVE_CLASSES) and json.loads(five.stdout)["faces"] == 100

    log, film, stats = tmp_path / "log.jsonl", tmp_path / "film.mp4", tmp_path / "stats.json"
    command = [mien, "run", str(face_video), "--model", str(bundle), "--stats", str(stats)]
    command += ["--sink", f"jsonl:{log}", "--sink", f"video:{film}"]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["frame"] for line in lines] == list(range(12))
    faces = [face for line in lines for face in line["faces"]]
    assert faces
    for face in faces:
        assert face["emotion"] in (*SEVEN_CLASSES, "uncertain")
        assert sum(face["scores"].values()) == pytest.approx(1, abs=0.01)
        # Of the label that is shown, which another may lead for a moment; the greatest where none is sure.
        assert face["confidence"] == face["scores"].get(face["emotion"], max(face["scores"].values()))
    assert json.loads(stats.read_text())["faces"] == len(faces)
    capture = cv2.VideoCapture(str(film))
    assert int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
