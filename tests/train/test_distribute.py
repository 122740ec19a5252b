"""Two worker processes on loopback train what one alone trains with the summed batch."""

from __future__ import annotations

import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from mien.edge.errors import ConfigError
from mien.train.distribute import choose_workers

TOLERANCE = 1e-4
"""Largest difference of any weight, absolute: sums over two halves round otherwise than one sum over the whole."""
WORKER = Path(__file__).with_name("worker.py")


def start(data: Path, out: Path, strategy: str, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", **environment}
    command = [sys.executable, str(WORKER), str(data), str(out), strategy]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def losses(run: Path) -> list[float]:
    with (run / "history.csv").open() as stream:
        return [float(row["loss"]) for row in csv.DictReader(stream)]


@pytest.mark.slow
def test_two_workers_and_two_devices_match_one_with_the_summed_batch(blobs: Path, tmp_path: Path) -> None:
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = [
        start(
            blobs,
            tmp_path / "two",  # one folder for both, as on a shared disk: only the first writes
            "auto",
            TF_CONFIG=json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}),
        )
        for index in range(2)
    ]
    processes.append(start(blobs, tmp_path / "one", "single"))
    processes.append(start(blobs, tmp_path / "devices", "two-devices"))
    for process in processes:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output[-3000:]
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert config["strategy"] == {"name": "multiworker", "workers": 2}
    one = keras.models.load_model(tmp_path / "one" / "model.keras")
    for name in ("two", "devices"):
        other = keras.models.load_model(tmp_path / name / "model.keras")
        differences = [np.abs(a - b).max() for a, b in zip(one.get_weights(), other.get_weights(), strict=True)]
        print(f"{name}: largest difference of a weight is {max(differences):.2e}")
        assert max(differences) < TOLERANCE
        assert losses(tmp_path / name) == pytest.approx(losses(tmp_path / "one"), abs=1e-4)
    # it has trained at all: each scale and shift of the batch normalisations has moved from where it began
    for weight in one.trainable_weights:
        if weight.name in ("gamma", "beta"):
            assert np.abs(weight.numpy() - (weight.name == "gamma")).max() > 1e-4


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {}, "task": {}}',
    ],
)
def test_tf_config_that_makes_no_sense(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="TF_CONFIG can't be used"):
        choose_workers()


def test_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert choose_workers().name == "single"
    with pytest.raises(ConfigError, match="needs the environment variable TF_CONFIG"):
        choose_workers("multiworker")
    with pytest.raises(ConfigError, match="unknown strategy 'many'"):
        choose_workers("many")
