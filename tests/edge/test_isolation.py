"""The device must run without TensorFlow, without the workstation's packages, and start quickly."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import importlib, json, pkgutil, sys
names = {names}
if names is None:
    import mien.edge
    names = [m.name for m in pkgutil.walk_packages(mien.edge.__path__, "mien.edge.")]
for name in names:
    importlib.import_module(name)
print(json.dumps(dict(imported=names, loaded=sorted(sys.modules))))
"""

FOREIGN = ("tensorflow", "keras", "mien.train", "mien.convert", "matplotlib", "skimage", "picamera2")
FOREIGN += ("starlette", "uvicorn", "paho", "prometheus_client", "anyio")  # imported when such a sink is opened


def loaded_by(names: list[str] | None) -> dict[str, list[str]]:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(names=names)], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_no_module_of_the_device_loads_the_workstations() -> None:
    answer = loaded_by(None)
    assert "mien.edge.sources.live" in answer["imported"] and "mien.edge.sinks.video" in answer["imported"]
    assert [name for name in answer["loaded"] if name.startswith(FOREIGN)] == []


def test_help_needs_no_numpy_no_opencv_and_no_runtime() -> None:
    loaded = loaded_by(["mien.edge.main"])["loaded"]
    assert [name for name in loaded if name.startswith(("numpy", "cv2", "ai_edge_litert", "tflite_runtime"))] == []
