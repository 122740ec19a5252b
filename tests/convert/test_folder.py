"""A bundle's folder is complete or as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.convert.folder import check_target, write_folder
from mien.edge.errors import ConfigError

FILES = {"model.tflite": b"new model", "card.json": b"{}", "report.html": b"<p>"}


def contents(folder: Path) -> dict[str, bytes]:
    """File name → bytes."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def names(folder: Path) -> list[str]:
    """Of the files and folders in it."""
    return sorted(path.name for path in folder.iterdir())


def test_it_is_made_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "some" / "where" / "bundle"
    write_folder(out, FILES)
    assert contents(out) == FILES
    assert names(out.parent) == ["bundle"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    out.mkdir()
    write_folder(out, FILES)
    assert contents(out) == FILES


def test_a_bundle_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    write_folder(out, FILES)
    write_folder(out, {"model.tflite": b"newer", "card.json": b"[]"})
    assert contents(out) == {"model.tflite": b"newer", "card.json": b"[]"}
    assert names(tmp_path) == ["bundle"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    write_folder(tmp_path / "link", FILES)
    assert (tmp_path / "link").is_symlink()
    assert contents(tmp_path / "real") == FILES


def test_a_failure_leaves_the_old_bundle_and_no_litter(tmp_path: Path) -> None:
    out = tmp_path / "bundle"
    write_folder(out, FILES)
    with pytest.raises(ConfigError, match=r"can't write .*bundle: No such file or directory; mend that"):
        write_folder(out, {"model.tflite": b"half", "no such folder/card.json": b"{}"})
    assert contents(out) == FILES
    assert names(tmp_path) == ["bundle"]


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"holds 'thesis.tex', so it isn't a bundle to replace: choose another --out"):
        write_folder(tmp_path, FILES)
    assert names(tmp_path) == ["thesis.tex"]


def test_a_folder_with_a_model_but_no_card_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match=r"has no card.json, so it isn't a bundle to replace"):
        check_target(tmp_path)


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"file is a file: give --out a folder"):
        check_target(tmp_path / "file")
    with pytest.raises(ConfigError, match=r"not a folder that you may write to"):
        check_target(tmp_path / "file" / "bundle")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ConfigError, match=r"not a folder that you may write to"):
            check_target(tmp_path / "bundle")
    finally:
        tmp_path.chmod(0o700)
