"""The converted model in a real tflite-runtime 2.14, in the other Python that has one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mien.edge.bundle import InputSpec
from mien.edge.classifier import quantize_table
from mien.edge.errors import ConfigError
from mien.edge.preprocess import pixel_table
from mien.edge.records import Image
from mien.edge.runtime import make_interpreter

VARIABLE = "MIEN_TFLITE214_PYTHON"
"""Environment variable: a Python that has tflite-runtime 2.14 (and NumPy 1); needs nothing of Mien's."""

_TIMEOUT = 300.0
"""Seconds."""


@dataclass(frozen=True)
class Trial:
    """What the old runtime did with a model."""

    runtime: str
    """Name and version."""
    error: str
    """Why it didn't load or run the model, in the runtime's words; empty if it did."""
    labels: tuple[int, ...]
    """The class number of each face."""


def old_python() -> str | None:
    """The Python that the environment names, or None. Raises ConfigError if it isn't there."""
    python = os.environ.get(VARIABLE)
    if python and not os.access(python, os.X_OK):
        raise ConfigError(f"{VARIABLE}={python} is not a program: name a Python with tflite-runtime 2.14, or unset it")
    return python or None


def try_model(python: str, model: bytes, spec: InputSpec, faces: Image) -> Trial:
    """Loads a model in `python`'s tflite-runtime and reads gray faces uint8 [N, H, W] there. Raises ConfigError."""
    (tensor,) = make_interpreter(model).get_input_details()
    values = quantize_table(pixel_table(spec.scale, spec.offset), tensor)[faces][..., np.newaxis]
    with tempfile.TemporaryDirectory(prefix="mien-") as folder:
        model_path, faces_path = Path(folder, "model.tflite"), Path(folder, "faces.npy")
        model_path.write_bytes(model)
        np.save(faces_path, values)
        command = [python, "-I", str(Path(__file__).with_name("probe_2_14.py")), str(model_path), str(faces_path)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{VARIABLE}={python} doesn't run: {error}") from error
    last = (done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode < 0:  # killed by a signal: the runtime crashed on the model
        return Trial("tflite-runtime", f"it crashed with signal {-done.returncode}", ())
    try:
        answer = json.loads(last)
    except ValueError as error:
        reason = " ".join(done.stderr.split())[-300:] or f"exit status {done.returncode}"
        raise ConfigError(f"{VARIABLE}={python} can't try the model: {reason}") from error
    return Trial(answer["runtime"], answer["error"], tuple(answer["labels"]))
