"""Raspberry Pi cameras, with a picamera2 that ships as a fake and is held to the real one's source."""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.edge.errors import ConfigError, RuntimeMissing, SourceError
from mien.edge.sources import fake_picamera2, open_source, picamera
from mien.edge.sources.fake_picamera2 import CompletedRequest, Picamera2
from mien.edge.sources.picamera import PicameraCapture, PicameraSettings

RNG = np.random.default_rng(0)
WORLD = [cv2.resize(RNG.integers(0, 256, (12, 16, 3)).astype(np.uint8), (320, 240)) for _ in range(6)]


@pytest.fixture(autouse=True)
def fakes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2.picamera2)
    monkeypatch.setitem(sys.modules, "libcamera", fake_picamera2.libcamera)
    monkeypatch.setattr(Picamera2, "world", WORLD)
    monkeypatch.setattr(picamera, "REQUEST_TIMEOUT", 0.3)
    yield


def test_frames_have_colour_and_the_gray_of_the_same_moment() -> None:
    with open_source("picamera2://0?size=200x152") as source:
        assert source.live and source.frame_rate == 30
        frames = list(islice(source, 2))
    for frame in frames:
        assert frame.image.shape == (152, 200, 3) and frame.gray.shape == (152, 200)
        seen = cv2.resize(WORLD[frame.index], (200, 152))
        assert np.array_equal(frame.image, seen)
        assert np.array_equal(frame.gray, cv2.cvtColor(seen, cv2.COLOR_BGR2GRAY))


def test_settings_reach_the_camera() -> None:
    uri = "picamera2://0?size=320x240&fps=25&rotation=180&exposure=8000&gain=2.5&af=continuous"
    capture = PicameraCapture(PicameraSettings.parse(uri), *picamera.load())
    configuration = capture._camera.config
    assert configuration["main"] == {"size": (320, 240), "format": "RGB888"}
    assert configuration["lores"] == {"size": (320, 240), "format": "YUV420"}
    assert configuration["colour_space"].name == "sYCC"
    assert configuration["controls"] == {
        "FrameDurationLimits": (40_000, 40_000),
        "AeEnable": False,
        "ExposureTime": 8000,
        "AnalogueGain": 2.5,
        "AfMode": 2,
    }
    good, (image, _) = capture.read()
    assert good and np.array_equal(image, WORLD[0][::-1, ::-1])
    assert capture._camera.held == 0, "a request was not given back"
    capture.release()
    assert capture._camera.closed and not capture.isOpened()


def test_a_camera_that_stalls_is_noticed() -> None:
    with (
        pytest.raises(SourceError, match="picamera2://0 stopped giving frames"),
        open_source("picamera2://0") as source,
    ):
        list(source)


def test_cameras_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(uri: str) -> str:
        with pytest.raises(SourceError) as caught, open_source(uri):
            pass
        return str(caught.value)

    assert "no camera 3, found: 0 (imx708)" in fails("picamera2://3")
    assert "can't be set to 8000×6000" in fails("picamera2://0?size=8000x6000")
    monkeypatch.setattr(Picamera2, "busy", True)
    assert "does another program use it?" in fails("picamera2://0")


@pytest.mark.parametrize(
    "uri",
    [
        "picamera2://front",
        "picamera2://0/x",
        "picamera2://0?size=640",
        "picamera2://0?size=641x480",
        "picamera2://0?size=10x10",
        "picamera2://0?fps=0",
        "picamera2://0?hflip=yes",
        "picamera2://0?rotation=90",
        "picamera2://0?af=fast",
        "picamera2://0?exposure=-1",
        "picamera2://0?colour=1",
    ],
)
def test_addresses_that_cannot_be(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"picamera2://"):
        open_source(uri)


def test_without_picamera2_the_command_that_helps_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(RuntimeMissing, match="sudo apt-get install python3-picamera2"):
        open_source("picamera2://0")


def test_auto_takes_the_boards_own_camera_before_one_on_usb(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_source("auto://?size=320x240") as source:
        assert np.array_equal(next(iter(source)).image, WORLD[0])
    monkeypatch.setattr(Picamera2, "cameras", [{"Model": "webcam", "Id": "/base/axi/pcie@120000/rp1/usb@200000-1"}])
    if list(Path("/dev").glob("video*")):
        pytest.skip("this machine has a camera")
    with pytest.raises(SourceError, match="no camera is there: plug one in"):
        open_source("auto://")


def signatures(source: Path) -> dict[str, ast.arguments]:
    """Class.function → arguments, of a Python file; of overloads the last, which is the function itself."""
    found = {}
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, ast.FunctionDef):
                    found[f"{node.name}.{each.name}"] = each.args
    return found


@pytest.mark.parametrize("version", ["0.3.12", "newest"])
def test_the_fake_has_picamera2s_own_surface(version: str) -> None:
    """Each public function of the fake is in picamera2, its parameters in the same order with the same defaults."""
    folder = os.environ.get("MIEN_PICAMERA2")
    if not folder:
        pytest.skip("MIEN_PICAMERA2 names no folder with picamera2's sources, as .ci/run makes it")
    package = Path(folder) / version / "picamera2"
    real = signatures(package / "picamera2.py") | signatures(package / "request.py")
    checked = 0
    for kind in (Picamera2, CompletedRequest):
        for name, function in inspect.getmembers(kind, inspect.isfunction):
            if (name.startswith("_") and name != "__init__") or (kind is CompletedRequest and name == "__init__"):
                continue
            assert f"{kind.__name__}.{name}" in real, f"picamera2 {version} has no {kind.__name__}.{name}"
            theirs = real[f"{kind.__name__}.{name}"]
            names = [each.arg for each in theirs.args]
            mine = list(inspect.signature(function).parameters.values())
            assert [each.name for each in mine] == names[: len(mine)]
            offset = len(names) - len(theirs.defaults)
            for place, parameter in enumerate(mine):
                optional = parameter.default is not inspect.Parameter.empty
                assert optional == (place >= offset), f"{name}({parameter.name})"
                if optional and isinstance(node := theirs.defaults[place - offset], ast.Constant):
                    assert parameter.default == node.value or name == "configure", f"{name}({parameter.name})"
            # What the fake leaves out must be optional, so that a call that suits the fake suits picamera2.
            assert all(place >= offset for place in range(len(mine), len(names)))
            checked += 1
    assert checked >= 9
