"""Models in a real tflite-runtime 2.14, and what is said when there is none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed: pip install 'mien[train]'")
pytest.importorskip("ai_edge_litert", reason="this machine has no LiteRT")

from ai_edge_litert import schema_py_generated as schema

from mien.convert.old_runtime import VARIABLE, old_python, try_model
from mien.convert.operators_2_14 import HIGHEST_VERSION, LOWEST_VERSION
from mien.convert.variant import trial_shortfalls
from mien.convert.verify import Tolerances
from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier
from mien.edge.errors import ConfigError

from .test_opcheck import make_model

LOAD_ALL = """
import json, sys
from tflite_runtime.interpreter import Interpreter
known = {}
for name, version, model in json.load(open(sys.argv[1])):
    try:
        Interpreter(model_content=bytes.fromhex(model))
        known.setdefault(name, []).append(version)
    except (ValueError, RuntimeError):
        pass
print(json.dumps(known))
"""


def faces_for(bundle: Bundle, count: int) -> np.ndarray:
    """uint8 [count, H, W]: noise of the bundle's size."""
    spec = bundle.card.input
    return np.random.default_rng(0).integers(0, 256, (count, spec.height, spec.width), np.uint8)


def test_the_table_is_what_the_runtime_knows(old_python: str, tmp_path: Path) -> None:
    names = [name for name in vars(schema.BuiltinOperator) if not name.startswith("_") and name != "CUSTOM"]
    versions = range(max(HIGHEST_VERSION.values()) + 4)
    models = [(name, version, make_model((name, version)).hex()) for name in names for version in versions]
    (tmp_path / "models.json").write_text(json.dumps(models))
    done = subprocess.run(
        [old_python, "-I", "-c", LOAD_ALL, str(tmp_path / "models.json")], capture_output=True, text=True, check=True
    )
    known = json.loads(done.stdout)
    assert {name: max(found) for name, found in known.items()} == HIGHEST_VERSION
    assert {name: min(found) for name, found in known.items()} == LOWEST_VERSION
    assert all(found == list(range(min(found), max(found) + 1)) for found in known.values())


@pytest.mark.parametrize("kind", ["int8", "float"])
def test_a_good_model_reads_the_same_labels_there(old_python: str, kind: str, make_bundle) -> None:  # type: ignore[no-untyped-def]
    bundle = Bundle.load(make_bundle(kind=kind))
    faces = faces_for(bundle, 20)
    trial = try_model(old_python, bundle.model, bundle.card.input, faces)
    assert (trial.runtime, trial.error) == ("tflite-runtime 2.14.0", "")
    here = Classifier(bundle).scores(faces).argmax(axis=1)
    assert trial_shortfalls(trial, here, Tolerances()) == []
    assert trial_shortfalls(trial, here + 1, Tolerances()) == [
        "tflite-runtime 2.14.0 gives 0% of the labels that the runtime here gives where 95% must be"
    ]


def test_without_the_variable_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert old_python() is None


def test_a_variable_that_names_no_program_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "python"))
    with pytest.raises(ConfigError, match=r"MIEN_TFLITE214_PYTHON=.*python is not a program: name a Python with"):
        old_python()


def test_a_python_without_the_runtime_is_named(bundle: Path, tmp_path: Path) -> None:
    # A Python that sees no site-packages, so that it surely has no tflite-runtime.
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    whole = Bundle.load(bundle)
    with pytest.raises(ConfigError, match=r"can't try the model: .*ModuleNotFoundError"):
        try_model(str(python), whole.model, whole.card.input, faces_for(whole, 1))


def test_a_crash_counts_against_the_model(bundle: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -SEGV $$\n")
    python.chmod(0o755)
    whole = Bundle.load(bundle)
    trial = try_model(str(python), whole.model, whole.card.input, faces_for(whole, 1))
    assert trial_shortfalls(trial, np.zeros(1), Tolerances()) == [
        "tflite-runtime doesn't run it: it crashed with signal 11"
    ]
