"""The command, from a trained network to a bundle that the device reads."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs TensorFlow: pip install 'mien[train]'")

from mien.convert.card import make_card
from mien.convert.network import keras_scores, load_network, read_settings
from mien.convert.old_runtime import VARIABLE
from mien.convert.opcheck import operators
from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier, temper
from mien.edge.dataset import read_dataset
from mien.edge.runtime import make_interpreter

from .conftest import CLASSES, SIZE, VALIDATION, Trained, write_config, write_faces

Command = Callable[..., Any]


@pytest.fixture(scope="module")
def converted(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The int8 bundle with all that the report can show, and what --json said of it."""
    from typer.testing import CliRunner

    from mien.convert.main import app

    out = tmp_path_factory.mktemp("bundle") / "spots"
    done = CliRunner().invoke(
        app,
        ["run", "--model", str(trained.model), "--data", str(trained.data), "--out", str(out), "--json"],
        prog_name="mien-convert",
    )
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def run_arguments(trained: Trained, out: Path, *more: object) -> list[object]:
    """``run`` without the report's other variants, which take the time."""
    return ["run", "--model", trained.model, "--data", trained.data, "--out", out, "--no-variants", *more]


def test_the_bundle_is_whole_and_its_card_tells_what_was_measured(
    converted: tuple[Path, dict[str, Any]], trained: Trained
) -> None:
    out, said = converted
    card = Bundle.load(out).card
    assert sorted(path.name for path in out.iterdir()) == ["card.json", "model.tflite", "report.html"]
    assert (card.name, card.version, card.quantization, card.labels) == ("mien-spots-int8", "1", "int8", CLASSES)
    assert (card.input.height, card.input.width, card.input.scale) == (SIZE, SIZE, 1 / 255)
    assert card.operators == operators((out / "model.tflite").read_bytes())
    assert card.training["arch"] == "spots"
    assert card.training["representative_faces"] == {
        "split": "train",
        "faces": 500,
        "seed": 0,
        "counts": {"happy": 167, "sad": 167, "surprise": 166},
    }
    metrics = card.metrics
    assert metrics["faces"] == metrics["float"]["faces"] == len(CLASSES) * VALIDATION
    assert metrics["gate"]["passed"] is True
    assert metrics["float"]["accuracy"] > 0.8, "the network didn't learn, so that the other tests prove nothing"
    assert metrics["accuracy_drop"] == pytest.approx(
        metrics["float"]["accuracy"] - metrics["quantized"]["accuracy"], abs=1e-5
    )
    assert set(metrics["quantized"]["recall"]) == set(CLASSES)
    assert f"{len(CLASSES) * VALIDATION} faces of faces" in card.limits
    assert said["card"] == json.loads((out / "card.json").read_text())
    norms, *others = said["notices"]
    assert norms.startswith("2 BatchNormalization layers don't directly follow")
    assert all(VARIABLE in notice for notice in others)


def test_the_devices_classifier_reads_faces_as_keras_does(
    converted: tuple[Path, dict[str, Any]], trained: Trained
) -> None:
    out, said = converted
    settings = read_settings(trained.model)
    faces = read_dataset(trained.data, ",".join(CLASSES), height=SIZE, width=SIZE).splits["validation"]
    network = load_network(trained.model, settings)
    theirs = keras_scores(network, faces.images, settings.input)
    bundle = Bundle.load(out)
    theirs = temper(theirs, bundle.card.temperature)
    ours = Classifier(bundle).scores(faces.images)
    assert (ours.argmax(axis=1) == theirs.argmax(axis=1)).mean() == pytest.approx(
        said["card"]["metrics"]["agreement"], abs=1e-5
    )
    assert np.abs(ours - theirs).mean() < 0.02
    assert not np.array_equal(ours, theirs)


def test_every_quantization_is_compared(converted: tuple[Path, dict[str, Any]]) -> None:
    _, said = converted
    variants = {variant["quantization"]: variant for variant in said["variants"]}
    assert list(variants) == ["int8", "dynamic", "float16", "none"]
    assert variants["int8"]["bytes"] < variants["float16"]["bytes"] < variants["none"]["bytes"]
    assert variants["none"]["agreement"] == 1
    assert all(variant["agreement"] >= 0.98 and not variant["shortfalls"] for variant in variants.values())
    assert all(variant["latency_ms"] > 0 for variant in variants.values())
    # The dense layer of 1,024 inputs is what becomes version 12 unless that is prevented.
    assert 1 < variants["dynamic"]["operators"]["FULLY_CONNECTED"] <= 10


class References(HTMLParser):
    """Collects what a page loads from elsewhere, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [f"{tag} {name}={value}" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_data(self, data: str) -> None:
        self.text += f"{data} "


def test_the_report_needs_nothing_else_and_has_the_figures(converted: tuple[Path, dict[str, Any]]) -> None:
    out, said = converted
    html = (out / "report.html").read_text()
    page = References()
    page.feed(html)
    assert page.loaded == []
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    for variant in said["variants"]:
        assert f"{variant['accuracy']:.2%}" in page.text
    for row in said["card"]["metrics"]["quantized"]["confusion"]:
        assert all(str(count) in page.text for count in row)
    layers = html[html.index("What each layer loses") :]
    steps = [float(value) for value in re.findall(r'<td class="number">(\d+\.\d\d)</td>', layers)]
    assert len(steps) >= 6
    assert steps == sorted(steps, reverse=True)
    assert "conv2d" in layers


def test_the_same_seed_gives_the_same_bundle(
    converted: tuple[Path, dict[str, Any]], trained: Trained, tmp_path: Path, command: Command
) -> None:
    assert command(*run_arguments(trained, tmp_path / "again")).exit_code == 0
    assert (tmp_path / "again" / "model.tflite").read_bytes() == (converted[0] / "model.tflite").read_bytes()


@pytest.mark.parametrize("quantization", ["dynamic", "float16", "none"])
def test_other_quantizations_make_bundles_that_the_device_reads(
    quantization: str, trained: Trained, tmp_path: Path, command: Command
) -> None:
    done = command(*run_arguments(trained, tmp_path / "b", "--quantize", quantization, "--name", "mine"))
    assert done.exit_code == 0, done.output
    bundle = Bundle.load(tmp_path / "b")
    assert (bundle.card.name, bundle.card.quantization) == ("mine", quantization)
    assert "representative_faces" not in bundle.card.training
    scores = Classifier(bundle).scores(np.zeros((2, SIZE, SIZE), np.uint8))
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert quantization in done.stdout
    assert "mine" in done.stdout


@pytest.mark.parametrize("io", ["int8", "uint8"])
def test_an_int8_model_calculates_in_integers_from_end_to_end(
    io: str, trained: Trained, tmp_path: Path, command: Command
) -> None:
    assert command(*run_arguments(trained, tmp_path / "b", "--io", io)).exit_code == 0
    bundle = Bundle.load(tmp_path / "b")
    interpreter = make_interpreter(bundle.model)
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert source["dtype"] == target["dtype"] == np.dtype(io).type
    assert source["shape"].tolist() == [1, SIZE, SIZE, 1]
    assert not {tensor["dtype"] for tensor in interpreter.get_tensor_details()} & {np.float32, np.float16}
    assert bundle.card.metrics["agreement"] >= 0.98


@pytest.fixture(scope="module")
def dark(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The same validation faces, but calibration faces that are nearly black."""
    folder = tmp_path_factory.mktemp("dark") / "faces"
    rng = np.random.default_rng(2)
    counts = dict.fromkeys(CLASSES, 170)
    write_faces(folder / "train", counts.items(), lambda _: rng.integers(0, 4, (SIZE, SIZE), np.uint8))
    shutil.copytree(trained.data / "validation", folder / "validation")
    return Trained(trained.model, folder)


def test_a_model_that_falls_short_is_not_written(dark: Trained, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bundle"
    done = command(*run_arguments(dark, out))
    assert done.exit_code == 1
    (line,) = [line for line in done.stderr.splitlines() if "error" in line]
    assert line.startswith("mien-convert: error: the int8 model falls short, so nothing was written: accuracy is ")
    assert "points where 0.5 are allowed" in line
    assert "of the labels agree where 98% must" in line
    assert "--force" in line
    assert not list(tmp_path.iterdir())


def test_a_model_that_falls_short_does_not_replace_a_good_one(
    converted: tuple[Path, dict[str, Any]], dark: Trained, tmp_path: Path, command: Command
) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    before = {path.name: path.read_bytes() for path in converted[0].iterdir()}
    for name, content in before.items():
        (out / name).write_bytes(content)
    assert command(*run_arguments(dark, out)).exit_code == 1
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_force_writes_it_and_says_so(dark: Trained, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "bundle"
    done = command(*run_arguments(dark, out, "--force"))
    assert done.exit_code == 0, done.output
    assert "Written by force, although accuracy is " in done.stdout
    gate = Bundle.load(out).card.metrics["gate"]
    assert gate["passed"] is False
    assert len(gate["shortfalls"]) == 2
    assert "It fails its gate and was written by force" in (out / "report.html").read_text()


def test_dense_layers_of_version_12_are_refused(trained: Trained, tmp_path: Path, command: Command) -> None:
    """The model that TensorFlow makes unless told otherwise, in a bundle of its own."""
    import tensorflow as tf

    settings = read_settings(trained.model)
    network = load_network(trained.model, settings)
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    model = converter.convert()
    assert operators(model)["FULLY_CONNECTED"] == 12
    card = make_card(
        settings, network, model, name="x", version="1", quantization="dynamic", operators=operators(model)
    )
    (tmp_path / "model.tflite").write_bytes(model)
    (tmp_path / "card.json").write_text(json.dumps(card.to_json()))
    done = command("check", tmp_path)
    assert done.exit_code == 1
    assert "FULLY_CONNECTED has version 12, tflite-runtime 2.14 knows up to 10" in done.stderr


def test_check_lists_the_operators(converted: tuple[Path, dict[str, Any]], command: Command) -> None:
    done = command("check", converted[0], "--json")
    assert done.exit_code == 0, done.output
    verdict = json.loads(done.stdout)
    assert verdict["problems"] == []
    assert verdict["operators"]["CONV_2D"] <= verdict["known"]["CONV_2D"] == 7
    assert verdict["old_runtime"].startswith("yes")
    assert "CONV_2D" in command("check", converted[0]).stdout


def test_check_refuses_a_card_that_lists_other_operators(
    converted: tuple[Path, dict[str, Any]], tmp_path: Path, command: Command
) -> None:
    card = json.loads((converted[0] / "card.json").read_text())
    card["operators"]["CONV_2D"] = 1
    (tmp_path / "card.json").write_text(json.dumps(card))
    (tmp_path / "model.tflite").write_bytes((converted[0] / "model.tflite").read_bytes())
    done = command("check", tmp_path)
    assert done.exit_code == 1
    assert "the card's operators are not the model's" in done.stderr


def test_check_of_what_is_no_bundle(tmp_path: Path, command: Command) -> None:
    done = command("check", tmp_path / "nothing")
    assert done.exit_code == 1
    assert done.stderr.startswith("mien-convert: error: no model bundle at ")
    assert len(done.stderr.splitlines()) == 1


def test_the_old_runtime_is_really_tried(
    old_python: str, converted: tuple[Path, dict[str, Any]], trained: Trained, tmp_path: Path, command: Command
) -> None:
    assert command(*run_arguments(trained, tmp_path / "b")).exit_code == 0
    metrics = Bundle.load(tmp_path / "b").card.metrics
    assert metrics["old_runtime"] == "yes: tflite-runtime 2.14.0 read 100 faces"


def test_too_few_samples_are_a_usage_error(trained: Trained, tmp_path: Path, command: Command) -> None:
    done = command(*run_arguments(trained, tmp_path / "b", "--samples", 499))
    assert done.exit_code == 2


def test_more_samples_than_there_are_faces(trained: Trained, tmp_path: Path, command: Command) -> None:
    done = command(*run_arguments(trained, tmp_path / "b", "--samples", 700))
    assert done.exit_code == 1
    assert "only 630 different training faces for calibration, 700 are needed" in done.stderr
    assert not list(tmp_path.iterdir())


def test_data_without_training_faces(trained: Trained, tmp_path: Path, command: Command) -> None:
    data = tmp_path / "data"
    shutil.copytree(trained.data / "validation", data / "validation")
    done = command(*run_arguments(Trained(trained.model, data), tmp_path / "b"))
    assert done.exit_code == 1
    assert "has no training faces, by which int8 is calibrated" in done.stderr
    done = command(*run_arguments(Trained(trained.model, data), tmp_path / "b", "--quantize", "float16"))
    assert done.exit_code == 0, done.output
    assert "these are not the data that the network was trained on" in done.stdout


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda w: [np.full_like(x, np.nan) for x in w], "gives scores that aren't numbers"),
        (None, "gives scores that don't sum to 1: end the network with a softmax"),
    ],
)
def test_a_network_whose_scores_are_no_probabilities(
    damage: Callable[[list[np.ndarray]], list[np.ndarray]] | None,
    message: str,
    trained: Trained,
    tmp_path: Path,
    command: Command,
) -> None:
    network = load_network(trained.model, read_settings(trained.model))
    if damage:
        network.set_weights(damage(network.get_weights()))
    else:
        network.pop()
    network.save(tmp_path / "model.keras")
    write_config(tmp_path)
    done = command(*run_arguments(Trained(tmp_path / "model.keras", trained.data), tmp_path / "b"))
    assert done.exit_code == 1
    assert message in done.stderr
    assert not (tmp_path / "b").exists()


def test_a_machine_without_tensorflow(
    trained: Trained, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.convert.network.find_spec", lambda name: None)
    done = command(*run_arguments(trained, tmp_path / "b"))
    assert done.exit_code == 1
    assert done.stderr == "mien-convert: error: conversion needs tensorflow: pip install 'mien[train]'\n"


def test_the_target_is_checked_before_anything_else(trained: Trained, tmp_path: Path, command: Command) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    done = command(*run_arguments(Trained(tmp_path / "missing.keras", tmp_path), tmp_path))
    assert done.exit_code == 1
    assert "holds 'thesis.tex'" in done.stderr


@pytest.mark.slow
def test_a_terminal_sees_no_chatter(trained: Trained, tmp_path: Path) -> None:
    """As a user runs it: progress on standard error, the table on standard output, nothing of TensorFlow's."""
    arguments = [str(argument) for argument in run_arguments(trained, tmp_path / "b")]
    code = "from mien.convert.main import app; app(prog_name='mien-convert')"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"COLUMNS": "160"},
    )
    assert done.returncode == 0, done.stderr
    assert all(re.match(r"^(✓|\S) (Reading|Loading|Converting|Trying) ", line) for line in done.stderr.splitlines())
    assert "Bundle mien-spots-int8 in " in done.stdout
    assert "Captures" not in done.stdout


def test_fer2013_as_people_hold_it(trained: Trained, tmp_path: Path, command: Command) -> None:
    """A part of the real set, through a network that wasn't trained on it: as many labels agree all the same."""
    root = os.environ.get("MIEN_SHARED_DATA")
    if not root:
        pytest.skip("MIEN_SHARED_DATA is not set: it names a folder with data/fer2013.zip")
    part = tmp_path / "part.zip"
    with zipfile.ZipFile(Path(root, "data", "fer2013.zip")) as whole, zipfile.ZipFile(part, "w") as target:
        for split, count in (("train", 200), ("validation", 70)):
            for label in CLASSES:
                names = [name for name in whole.namelist() if name.startswith(f"{split}/{label}/") and name[-1] != "/"]
                for name in names[:count]:
                    target.writestr(name, whole.read(name))
    done = command(*run_arguments(Trained(trained.model, part), tmp_path / "b", "--force"))
    assert done.exit_code == 0, done.output
    metrics = Bundle.load(tmp_path / "b").card.metrics
    assert metrics["faces"] == 210
    assert metrics["agreement"] > 0.95
