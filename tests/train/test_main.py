"""The command mien-train, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from mien.train.main import app


def run(*arguments: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_data_prints_counts_and_writes_a_sheet(blobs: Path, tmp_path: Path) -> None:
    code, out, _ = run("data", blobs, "--sheet", tmp_path / "new" / "sheet.png")
    assert code == 0
    assert "surprise" in out
    assert "120" in out
    assert cv2.imread(str(tmp_path / "new" / "sheet.png")).std() > 10


def test_data_names_every_bad_file(blobs: Path, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for source in blobs.rglob("*.png"):
        target = tree / source.relative_to(blobs)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
    (tree / "train" / "happy" / "torn.png").write_bytes(b"torn")
    code, _, err = run("data", tree, "--sheet", tmp_path / "sheet.png")
    assert code == 1
    assert "error:" in err
    assert "1 bad row" in err
    assert not (tmp_path / "sheet.png").exists()
    code, _, err = run("data", tree, "--sheet", tmp_path / "sheet.png", "--skip-bad")
    assert code == 0
    assert "skipped 1 bad rows or files" in err


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["data", "missing.zip"], "no data set at missing.zip"),
        (["fit", "--data", "missing.zip", "--out", "out"], "no data set at missing.zip"),
        (["fit", "--data", "BLOBS", "--out", "out", "--arch", "vgg"], "unknown architecture 'vgg'"),
        (["fit", "--data", "BLOBS", "--out", "out", "--recipe", "missing"], "can't read recipe missing"),
        (["fit", "--data", "BLOBS", "--out", "out", "--set", "epochs=0"], "'epochs' is 0, not between 1 and"),
        (["fit", "--data", "BLOBS", "--out", "out", "--classes", "one"], "--classes 'one'"),
        (["fit", "--data", "BLOBS", "--out", "out", "--resume"], "holds no run to resume"),
        (["fit", "--data", "BLOBS", "--out", "/proc/out"], "can't write /proc/out"),
        (["fit", "--data", "BLOBS", "--out", "out", "--strategy", "many"], "unknown strategy 'many'"),
        (["bench", "--data", "missing.zip"], "no data set at missing.zip"),
    ],
)
def test_errors_are_one_line(
    blobs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], why: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = run(*(str(blobs) if argument == "BLOBS" else argument for argument in arguments))
    assert code == 1
    assert why in err
    assert err.splitlines()[-1].count("error:") == 1
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "config.json").exists()


def test_fetch_without_credentials_says_where_to_put_the_download(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("kagglehub", reason="fetching needs kagglehub")
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    code, _, err = run("fetch", "--out", tmp_path / "fer2013")
    assert code == 1
    assert "no credentials were found" in err
    assert [line[:2] for line in err.strip().splitlines()[-3:]] == ["1.", "2.", "3."]
    (tmp_path / "fer2013").mkdir()
    (tmp_path / "fer2013" / "mine.csv").touch()
    code, _, err = run("fetch", "--out", tmp_path / "fer2013")
    assert code == 1
    assert "is there already" in err


@pytest.mark.slow
def test_bench_compares_real_with_constant_data(blobs: Path) -> None:
    code, out, _ = run("bench", "--data", blobs, "--arch", "compact", "--steps", "1", "--repeats", "1", "--json")
    assert code == 0
    result = json.loads(out)
    for row in result["precisions"].values():
        assert row["real_to_constant"] == pytest.approx(
            row["real_steps_per_second"] / row["constant_steps_per_second"], rel=0.01
        )
        assert row["images_per_second"] > 0


@pytest.mark.slow
def test_interrupt_loses_at_most_the_running_epoch(blobs: Path, tmp_path: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "mien-train"),
        "fit",
        "--data",
        str(blobs),
        "--out",
        str(tmp_path / "run"),
    ]
    command += ["--arch", "compact", "--epochs", "500"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ)
    progress = tmp_path / "run" / "history.csv"
    deadline = time.monotonic() + 180
    while not (progress.exists() and len(progress.read_text().splitlines()) > 2):
        assert process.poll() is None, process.stderr and process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "go on with --resume" in err
    assert "Traceback" not in err
    done = len(progress.read_text().splitlines()) - 1
    command[-1] = str(done + 1)
    subprocess.run([*command, "--resume"], check=True, capture_output=True, timeout=180)
    assert len(progress.read_text().splitlines()) - 1 == done + 1
