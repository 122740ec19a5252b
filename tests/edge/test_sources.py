from __future__ import annotations

import os
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from faces import scene, write_video
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mien.edge.errors import ConfigError, SourceError
from mien.edge.sources import open_source
from mien.edge.sources.base import nominal_rate
from mien.edge.sources.fake import FakeSource
from mien.edge.sources.pictures import Pictures
from mien.edge.sources.video import VideoFile


def gray_levels(path: Path, count: int = 5, rate: float = 10.0) -> Path:
    """A video whose frame n has the gray level 40·n."""
    return write_video(path, [np.full((48, 64, 3), 40 * i, np.uint8) for i in range(count)], rate)


def test_a_video_gives_every_frame_in_order(tmp_path: Path) -> None:
    path = gray_levels(tmp_path / "levels.avi")
    before = time.time()
    with open_source(str(path)) as source:
        assert isinstance(source, VideoFile) and source.related and source.frame_rate == 10
        frames = list(source)
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [round(float(frame.gray.mean()), -1) for frame in frames] == [0, 40, 80, 120, 160]
    assert all(frame.image.shape == (48, 64, 3) and frame.gray.shape == (48, 64) for frame in frames)
    # Times are those of the video, from the moment at which it was opened.
    assert np.diff([frame.time for frame in frames]) == pytest.approx(0.1, abs=1e-5)
    assert before <= frames[0].time <= time.time()


def test_a_looped_video_goes_on(tmp_path: Path) -> None:
    with open_source(str(gray_levels(tmp_path / "levels.avi")), loop=True) as source:
        frames = list(islice(source, 12))
    assert [frame.index for frame in frames] == list(range(12))
    assert [round(float(frame.gray.mean()), -1) for frame in frames] == [0, 40, 80, 120, 160] * 2 + [0, 40]
    assert np.diff([frame.time for frame in frames]) == pytest.approx(0.1, abs=1e-5)


def test_a_looped_video_that_vanishes_ends_in_an_error(tmp_path: Path) -> None:
    path = gray_levels(tmp_path / "levels.avi")
    with open_source(str(path), loop=True) as source:
        frames = iter(source)
        next(frames)
        path.unlink()
        with pytest.raises(SourceError, match=r"levels\.avi"):
            list(frames)


def test_stop_ends_the_iteration(tmp_path: Path) -> None:
    with open_source(str(gray_levels(tmp_path / "levels.avi")), loop=True) as source:
        seen = 0
        for _ in source:
            seen += 1
            if seen == 7:
                source.stop()
    assert seen == 7


def test_a_gif_is_played(tmp_path: Path, media: Path) -> None:
    with open_source(str(media / "head-pose-face-detection-male.gif")) as source:
        frames = list(source)
    assert len(frames) == 62 and frames[0].image.shape == (270, 480, 3)
    assert (frames[0].image != frames[40].image).any()
    assert np.all(np.diff([frame.time for frame in frames]) > 0)


@pytest.mark.parametrize("name, count", [("again.mkv", 77), ("thanks.mkv", 51)])
def test_a_matroska_file_is_played(media: Path, name: str, count: int) -> None:
    with open_source(str(media / name)) as source:
        assert source.frame_rate == 30
        assert sum(1 for _ in source) == count


def test_a_picture(tmp_path: Path) -> None:
    picture = scene((30, 40, 120))
    cv2.imwrite(str(tmp_path / "face.png"), picture)
    with open_source(str(tmp_path / "face.png")) as source:
        assert isinstance(source, Pictures) and not source.related
        (frame,) = source
    assert np.array_equal(frame.image, picture)


def test_a_picture_is_known_by_its_content_and_by_uri(tmp_path: Path) -> None:
    (tmp_path / "odd name.dat").write_bytes(cv2.imencode(".jpg", scene((30, 40, 120)))[1].tobytes())
    with open_source(f"file://{tmp_path}/odd%20name.dat") as source:
        assert len(list(source)) == 1


@pytest.mark.parametrize("flag, shape", [("gray", (5, 7)), ("bgr", (5, 7, 3)), ("bgra", (5, 7, 4)), ("16 bit", (5, 7))])
def test_pictures_of_any_form_and_odd_size(tmp_path: Path, flag: str, shape: tuple[int, ...]) -> None:
    picture = np.full(shape, 200, np.uint16 if flag == "16 bit" else np.uint8)
    cv2.imwrite(str(tmp_path / "odd.png"), picture * 257 if flag == "16 bit" else picture)
    with open_source(str(tmp_path / "odd.png")) as source:
        (frame,) = source
    assert frame.image.shape == (5, 7, 3) and frame.image.dtype == np.uint8 and frame.gray.shape == (5, 7)
    assert (frame.gray == 200).all()


def test_a_folder_gives_its_pictures_by_name(tmp_path: Path) -> None:
    for name, level in (("b.PNG", 20), ("a.jpg", 10), ("c.bmp", 30)):
        cv2.imwrite(str(tmp_path / name), np.full((30, 40, 3), level, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    with open_source(str(tmp_path)) as source:
        assert [int(frame.gray[0, 0]) for frame in source] == [10, 20, 30]
    with open_source(str(tmp_path), loop=True) as source:
        assert [int(frame.gray[0, 0]) for frame in islice(source, 7)] == [10, 20, 30, 10, 20, 30, 10]


def test_a_damaged_picture_in_a_folder_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff\xe0 not much of a JPEG")
    with open_source(str(tmp_path)) as source, pytest.raises(SourceError, match=r"can't read the picture .*b\.jpg"):
        list(source)


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("empty.mp4", b"", "is empty"),
        ("junk.mp4", b"no video " * 100, "neither a picture nor a video that can be read"),
        ("notes.txt", b"hello", "neither a picture nor a video that can be read"),
        ("broken.png", b"\x89PNG\r\n\x1a\n broken", "can't read the picture"),
    ],
)
def test_files_that_give_no_frame(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceError, match=message) as error, open_source(str(tmp_path / name)):
        pass
    assert name in str(error.value) and "\n" not in str(error.value)
    assert capfd.readouterr().out == ""


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"no file or folder at .*gone\.mp4: check the path"):
        open_source(str(tmp_path / "gone.mp4"))
    with pytest.raises(SourceError, match="a camera is v4l2:///dev/video3"):
        open_source("3")
    with pytest.raises(SourceError, match=r"no picture in .*: none of its files ends in \.jpg"):
        open_source(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="is neither a file nor a folder"):
        open_source(str(tmp_path / "pipe"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = gray_levels(tmp_path / "levels.avi")
    path.chmod(0)
    with pytest.raises(SourceError, match="Permission denied"):
        open_source(str(path))


def test_an_unknown_scheme_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown source gopher://x: .*file://, auto://, picamera2://, v4l2://"):
        open_source("gopher://x")


@pytest.mark.parametrize("told, taken", [(30.0, 30), (12.5, 12.5), (0, 25), (float("nan"), 25), (1000, 25), (-1, 25)])
def test_frame_rates_that_cannot_be(told: float, taken: float) -> None:
    assert nominal_rate(told) == taken


forms = st.sampled_from([(), (1,), (3,), (4,)])


@given(st.data(), st.integers(1, 33), st.integers(1, 33), forms)
def test_frames_of_any_form_are_normalised(data: st.DataObject, height: int, width: int, channels: tuple[int]) -> None:
    image = data.draw(hnp.arrays(np.uint8, (height, width, *channels)))
    with FakeSource([image]) as source:
        (frame,) = source
    assert frame.image.shape == (height, width, 3) and frame.gray.shape == (height, width)
    assert frame.image.dtype == frame.gray.dtype == np.uint8


def test_frames_that_are_no_pictures_are_refused() -> None:
    with FakeSource([np.zeros((4, 4, 2), np.uint8)]) as source, pytest.raises(SourceError, match="1, 3 or 4 channels"):
        list(source)


def test_the_fake_source_is_closed_also_after_an_error() -> None:
    source = FakeSource([np.zeros((4, 4), np.uint8)], frame_rate=4, start=10.0, loop=True)
    with pytest.raises(RuntimeError), source:
        assert source.is_open
        assert [(frame.index, frame.time) for frame in islice(source, 3)] == [(0, 10.0), (1, 10.25), (2, 10.5)]
        raise RuntimeError
    assert not source.is_open
