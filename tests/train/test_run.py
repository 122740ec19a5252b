"""A run's folder."""

from __future__ import annotations

from pathlib import Path

from mien.train.run import RunFolder

CONFIG = {"recipe": {}, "classes": [], "input": {}, "seed": 0, "data": {"fingerprint": ""}}


def keep(folder: RunFolder, epoch: int, monitor: str = "last", is_last: bool = False) -> None:
    row = {"epoch": float(epoch), "val_loss": 1 / epoch}
    folder.keep(row, monitor, lambda path: path.write_bytes(b"s"), lambda path: path.write_bytes(b"b"), is_last=is_last)


def kept(path: Path) -> int:
    folder = RunFolder(path)
    folder.start(CONFIG, resume=True)
    assert not folder.epochs or (folder.state().exists() and folder.best_weights().exists())
    return folder.epochs


def test_where_epochs_are_short_a_state_is_kept_after_a_pause_and_after_the_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CONFIG, resume=False)
    folder.pause = 1000.0
    for epoch, is_last, wanted in ((1, False, 1), (2, False, 1), (3, True, 3)):
        keep(folder, epoch, is_last=is_last)
        assert folder.epochs == epoch
        assert kept(tmp_path) == wanted
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 3


def test_an_epoch_that_may_be_the_best_is_always_kept(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.start(CONFIG, resume=False)
    folder.pause = 1000.0
    for epoch in (1, 2):
        keep(folder, epoch, monitor="val_loss")
        assert kept(tmp_path) == epoch
