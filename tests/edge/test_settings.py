"""Where settings come from, and how they are shown."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from mien.edge.config import Config
from mien.edge.errors import ConfigError
from mien.edge.settings import installed_config, load_config, to_toml


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('source = "a.mp4"\nthreads = 2\n[detector]\nmin_face = 0.2\nmin_neighbors = 7\n')
    environ = {
        "MIEN_SOURCE": "v4l2:///dev/video3",
        "MIEN_DETECTOR__MIN_FACE": "0.3",
        "MIEN_SINKS": "jsonl:- window:",
        "MIEN_OVERLAY": "false",
        "MIEN_SOMETHING_ELSE": "1",
    }
    settings = load_config(file, environ)
    assert settings.source == "v4l2:///dev/video3" and settings.threads == 2
    assert settings.detector.min_face == 0.3 and settings.detector.min_neighbors == 7
    assert settings.sinks == ("jsonl:-", "window:") and not settings.overlay
    assert load_config(file, {"MIEN_SINKS": '["image:a b.jpg"]'}).sinks == ("image:a b.jpg",)
    # and the command line over both
    assert settings.override(source="b.mp4").source == "b.mp4"


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("MIEN_THREADS", "many", "threads must be a whole number, not 'many'"),
        ("MIEN_THREADS", "99", "threads must be between 0 and 64, not 99"),
        ("MIEN_DETECTOR__EVERY_FRAME", "yes", "detector.every_frame must be true or false, not 'yes'"),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {variable: value})
    assert str(caught.value).startswith("the environment (MIEN_…): ") and why in str(caught.value)


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    settings = load_config(None, {"MIEN_SOURCE": 'a "b" ü', "MIEN_SINKS": "jsonl:- window:"})
    text = to_toml(settings)
    assert tomllib.loads(text)["sinks"] == ["jsonl:-", "window:"]
    file = tmp_path / "all.toml"
    file.write_text(text, encoding="utf-8")
    assert Config.read(file) == settings


def test_without_a_file_the_installed_one_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mien.edge import settings

    monkeypatch.setattr(settings, "CONFIG", tmp_path / "config.toml")
    assert installed_config(None, {}) == Config()
    (tmp_path / "config.toml").write_text("threads = 3\n")
    assert installed_config(None, {}).threads == 3
    assert load_config(None, {}) == Config()  # a run by hand is not the service
