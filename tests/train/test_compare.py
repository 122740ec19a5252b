"""mien-train compare, on runs that were trained here."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset
from mien.edge.errors import ConfigError
from mien.train.compare import latencies, read_run
from mien.train.fit import fit
from mien.train.main import app
from mien.train.recipe import Recipe
from mien.train.tensorflow_engine import TensorflowEngine


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, dataset: Dataset, alone: TensorflowEngine) -> list[Path]:
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        recipe = Recipe(arch="compact", epochs=2, precision="float32")
        fit(dataset, recipe, root / f"seed{seed}", spec=InputSpec(), engine=alone, seed=seed, verbose=0)
    return [root / "seed0", root / "seed1"]


def test_draws_and_lists_runs(runs: list[Path], bundle: Path, tmp_path: Path) -> None:
    (runs[1] / "bundle").mkdir(exist_ok=True)
    for file in bundle.iterdir():
        (runs[1] / "bundle" / file.name).write_bytes(file.read_bytes())
    card = json.loads((runs[1] / "bundle" / "card.json").read_text())
    card["metrics"] = {"quantized": {"accuracy": 0.5}}
    (runs[1] / "bundle" / "card.json").write_text(json.dumps(card))
    picture = tmp_path / "new" / "compare.png"
    result = CliRunner().invoke(app, ["compare", *map(str, runs), "--picture", str(picture), "--json"])
    assert result.exit_code == 0, result.output
    first, second = json.loads(result.stdout)
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    assert first["accuracy"] == metrics["accuracy"] and first["epochs"] == 2 and first["ms_per_face"] is None
    assert second["seed"] == 1 and second["quantized_accuracy"] == 0.5 and 0 < second["ms_per_face"] < 100
    assert cv2.imread(str(picture)).std() > 10
    table = CliRunner().invoke(app, ["compare", *map(str, runs), "--picture", str(picture)])
    assert "seed0" in table.stdout and "0.500 int8" in table.stdout


def test_a_folder_without_a_run_is_refused(tmp_path: Path, runs: list[Path]) -> None:
    with pytest.raises(ConfigError, match=r"holds no finished run \(config.json: No such file"):
        read_run(tmp_path)
    result = CliRunner().invoke(app, ["compare", str(tmp_path)])
    assert result.exit_code == 1 and "give a folder that mien-train fit wrote" in result.stderr
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="holds a damaged run"):
        read_run(tmp_path)


def test_runs_without_a_model_have_no_latency(runs: list[Path]) -> None:
    assert latencies([read_run(runs[0])]) == [None]
