from __future__ import annotations

from pathlib import Path

import pytest

from mien.edge import config as module
from mien.edge.bundle import DEFAULT_MODEL
from mien.edge.config import Config, DetectorConfig
from mien.edge.errors import ConfigError


def read(tmp_path: Path, text: str) -> Config:
    path = tmp_path / "mien.toml"
    path.write_text(text)
    return Config.read(path)


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    assert read(tmp_path, "") == Config()
    assert Config().model == DEFAULT_MODEL and Config().sinks == ("jsonl:-",)


def test_every_key(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        source = "v4l2:///dev/video0"
        model = "some/bundle"
        sinks = ["jsonl:log.jsonl", "window:"]
        threads = 2
        overlay = false
        loop = true
        [detector]
        scale_factor = 1.2
        min_neighbors = 3
        min_face = 40
        [tracker]
        min_overlap = 0.5
        forget_after = 2
        """,
    )
    assert config.source == "v4l2:///dev/video0" and config.model == "some/bundle"
    assert config.sinks == ("jsonl:log.jsonl", "window:") and config.threads == 2
    assert not config.overlay and config.loop
    assert config.detector == DetectorConfig(scale_factor=1.2, min_neighbors=3, min_face=40.0) and isinstance(
        config.detector.min_face, float
    )
    assert config.tracker.min_overlap == 0.5 and config.tracker.forget_after == 2.0


def test_the_documented_example_is_good(tmp_path: Path) -> None:
    assert module.__doc__ is not None
    example = "\n".join(line for line in module.__doc__.splitlines() if line.startswith("    "))
    config = read(tmp_path, example)
    assert config.detector == DetectorConfig() and config.threads == 0


@pytest.mark.parametrize(
    "text, message",
    [
        ("thread = 2", "unknown key thread: did you mean threads?"),
        ("[detector]\nmin_neighbours = 3", "unknown key detector.min_neighbours: did you mean detector.min_neighbors?"),
        ("[wheels]\n", "unknown key wheels: known are source, model,"),
        ("threads = '2'", "threads must be a whole number, not '2'"),
        ("threads = true", "threads must be a whole number, not True"),
        ("threads = 1.5", "threads must be a whole number, not 1.5"),
        ("threads = -1", "threads must be between 0 and 64, not -1"),
        ("overlay = 1", "overlay must be true or false, not 1"),
        ("model = 3", "model must be a string that isn't empty, not 3"),
        ("source = ''", "source must be a string that isn't empty, not ''"),
        ("sinks = 'jsonl:-'", "sinks must be a list of strings, such as [\"jsonl:-\"], not 'jsonl:-'"),
        ("sinks = [1]", "sinks must be a list of strings"),
        ("detector = 3", "detector must be a table, [detector], not 3"),
        ("[detector]\nscale_factor = 1.0", "detector.scale_factor must be between 1.01 and 2, not 1"),
        ("[detector]\nscale_factor = nan", "detector.scale_factor must be between 1.01 and 2, not nan"),
        ("[detector]\nscale_factor = 1979-05-27", "detector.scale_factor must be a number, not a date"),
        ("[tracker]\nforget_after = -1", "tracker.forget_after must be between 0 and 3600, not -1"),
        ("threads = \n", "is not TOML: Invalid value (at line 1"),
    ],
)
def test_a_wrong_value_is_named_with_its_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        read(tmp_path, text)
    assert message in str(error.value)
    assert str(tmp_path / "mien.toml") in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"can't read the configuration .*gone\.toml: No such file"):
        Config.read(tmp_path / "gone.toml")
    with pytest.raises(ConfigError, match="Is a directory"):
        Config.read(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not TOML"):
        Config.read(tmp_path / "binary.toml")


def test_options_override_the_file(tmp_path: Path) -> None:
    config = read(tmp_path, "threads = 2\nloop = true").override(threads=4, source="a.mp4", loop=None)
    assert (config.threads, config.source, config.loop) == (4, "a.mp4", True)
    with pytest.raises(ConfigError, match="threads must be between 0 and 64, not 99"):
        config.override(threads=99)
