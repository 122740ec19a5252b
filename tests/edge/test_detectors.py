"""Detectors by name: OpenCV's other cascades, and YuNet with a network of its form that calls bright cells faces."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene
from typer.testing import CliRunner

from mien.edge import detector as module
from mien.edge.config import Config, DetectorConfig, TrackerConfig
from mien.edge.detector import HaarDetector, ProfileDetector, find_cascade, make_detector
from mien.edge.errors import ConfigError, RuntimeMissing
from mien.edge.finder import EveryFrame, Following, make_finder
from mien.edge.main import app
from mien.edge.preprocess import to_gray
from mien.edge.records import Box
from mien.edge.sources import open_source
from mien.edge.tracker import intersection_over_union
from mien.edge.yunet import YuNetDetector

YUNET = Path(__file__).parent / "assets" / "tiny_yunet.onnx"


def cascade_or_skip(kind: str) -> None:
    try:
        find_cascade(kind)
    except ConfigError:
        pytest.skip("this OpenCV brings no cascades along")


def test_haar_is_the_default() -> None:
    assert type(make_detector(DetectorConfig())) is HaarDetector
    assert isinstance(make_finder(DetectorConfig(), TrackerConfig(), every_frame=False), Following)


def test_alt2_finds_and_follows_faces() -> None:
    cascade_or_skip("alt2")
    config = DetectorConfig(kind="alt2")
    assert make_detector(config).WINDOW == 20  # type: ignore[attr-defined]
    (box,) = make_detector(config).detect(to_gray(scene((30, 40, 120))))
    assert intersection_over_union(box, Box(30, 40, 120, 120)) > 0.5
    assert isinstance(make_finder(config, TrackerConfig(), every_frame=False), Following)


def test_profile_finds_faces_of_either_side(media: Path) -> None:
    """The signer's head is turned a little; mirrored it is turned to the other side."""
    cascade_or_skip("profile")
    detector = make_detector(DetectorConfig(kind="profile"))
    assert isinstance(detector, ProfileDetector)
    with open_source(str(media / "again.mkv")) as source:
        pictures = [frame.gray for frame in source][8:40:8]
    for picture in pictures:
        found, mirrored = detector.detect(picture), detector.detect(np.ascontiguousarray(picture[:, ::-1]))
        back = [box._replace(x=picture.shape[1] - box.x - box.width) for box in mirrored]
        assert any(intersection_over_union(box, Box(280, 80, 90, 90)) > 0.3 for box in found)
        assert len(found) == len(back)
        assert all(max(intersection_over_union(box, other) for other in back) > 0.4 for box in found)


def test_an_opencv_without_the_other_cascades(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(cv2, "data", raising=False)
    monkeypatch.setattr(module, "_SHARED", tmp_path)
    with pytest.raises(
        ConfigError, match=r"the detector alt2 needs haarcascade_frontalface_alt2\.xml, .* on Debian apt"
    ):
        make_detector(DetectorConfig(kind="alt2"))
    assert make_detector(DetectorConfig(kind="haar"))


def bright(*places: tuple[int, int, int], height: int = 256, width: int = 320) -> np.ndarray:
    picture = np.full((height, width), 60, np.uint8)
    for x, y, size in places:
        picture[y : y + size, x : x + size] = 255
    return picture


def test_yunet_finds_boxes_in_the_frame_s_pixels() -> None:
    detector = make_detector(DetectorConfig(kind="yunet", model=str(YUNET)))
    assert detector.detect(bright()) == []
    assert detector.detect(bright((160, 96, 32), (96, 64, 32))) == [Box(96, 64, 32, 32), Box(160, 96, 32, 32)]
    assert detector.detect(bright((192, 128, 64), height=480, width=640)) == [Box(192, 128, 64, 64)]
    assert YuNetDetector(YUNET, min_face=40).detect(bright((96, 64, 32))) == []


def test_yunet_searches_every_frame_and_faces_keep_their_numbers() -> None:
    config = DetectorConfig(kind="yunet", model=str(YUNET))
    assert isinstance(make_finder(config, TrackerConfig(), every_frame=False), EveryFrame)


def test_yunet_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no YuNet model at .*gone\.onnx: get face_detection_yunet"):
        YuNetDetector(tmp_path / "gone.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no network")
    with pytest.raises(ConfigError, match=r"bad\.onnx is no YuNet model that OpenCV .* can run"):
        YuNetDetector(tmp_path / "bad.onnx")


def test_an_opencv_without_yunet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(cv2, "FaceDetectorYN")
    with pytest.raises(RuntimeMissing, match="has no FaceDetectorYN"):
        YuNetDetector(YUNET)


def test_names_are_checked() -> None:
    assert Config().with_detector(None) == Config()
    assert Config().with_detector("yunet:a/b.onnx").detector == DetectorConfig(kind="yunet", model="a/b.onnx")
    with pytest.raises(ConfigError, match="detector must be one of haar, alt2, profile, yunet, not 'hare'"):
        Config().with_detector("hare")
    with pytest.raises(ConfigError, match=r"the detector alt2 takes no file, x\.xml"):
        Config().with_detector("alt2:x.xml")


def test_on_the_command_line(bundle: Path, face_video: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    arguments = ["run", str(face_video), "--model", str(bundle), "--sink", f"jsonl:{log}", "--detector"]
    result = CliRunner().invoke(app, [*arguments, f"yunet:{YUNET}"])
    assert result.exit_code == 0, result.output
    assert len(log.read_text().splitlines()) == 12
    for name, message in (("yunet", "no YuNet model at"), ("hare", "detector must be one of")):
        result = CliRunner().invoke(app, [*arguments, name])
        assert result.exit_code == 1 and message in result.stderr
