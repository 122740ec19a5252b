"""Labelled faces: every form that people have, every way in which it can be wrong."""

from __future__ import annotations

import csv
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.edge.dataset import FER_CLASSES, FIVE_CLASSES, SEVEN_CLASSES, Dataset, parse_classes, read_dataset
from mien.edge.errors import DataError

USAGES = {"train": "Training", "validation": "PublicTest", "test": "PrivateTest"}


def faces(per_class: int = 6, seed: int = 0) -> Iterator[tuple[str, str, np.ndarray]]:
    """(split, label, uint8 [48, 48]) of seven classes; four of six go to training."""
    rng = np.random.default_rng(seed)
    for label in FER_CLASSES:
        for i in range(per_class):
            split = ("train", "train", "train", "train", "validation", "test")[i % 6]
            yield split, label, rng.integers(0, 256, (48, 48), np.uint8)


def write_csv(path: Path, header: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for split, label, face in faces():
            cells = {
                "emotion": FER_CLASSES.index(label),
                "pixels": " ".join(map(str, face.ravel())),
                "usage": USAGES[split],
            }
            writer.writerow([cells[name.strip().lower()] for name in header])
    return path


def write_tree(path: Path, form: str = "{split}/{label}/{i}.png") -> Path:
    for i, (split, label, face) in enumerate(faces()):
        file = path / form.format(split=split, label=label, i=i, usage=USAGES[split])
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), face)
    return path


def pack(source: Path, target: Path) -> Path:
    files = [source] if source.is_file() else sorted(file for file in source.rglob("*") if file.is_file())
    base = source.parent
    if target.suffix == ".zip":
        with zipfile.ZipFile(target, "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(base))
    else:
        with tarfile.open(target, "w:gz") as tar:
            for file in files:
                tar.add(file, file.relative_to(base))
    return target


def same(one: Dataset, other: Dataset) -> bool:
    return one.fingerprint == other.fingerprint and one.classes == other.classes and one.counts() == other.counts()


@pytest.fixture(scope="module")
def kaggle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_csv(tmp_path_factory.mktemp("csv") / "fer2013.csv")


def test_csv_has_official_splits(kaggle: Path) -> None:
    dataset = read_dataset(kaggle)
    assert dataset.classes == FIVE_CLASSES
    assert dataset.counts() == {
        "train": dict.fromkeys(FIVE_CLASSES, 4),
        "validation": dict.fromkeys(FIVE_CLASSES, 1),
        "test": dict.fromkeys(FIVE_CLASSES, 1),
    }
    assert dataset.notices == ("left out 6 faces of class disgust", "left out 6 faces of class fear")
    first = next(face for split, label, face in faces() if (split, label) == ("train", "angry"))
    train = dataset.splits["train"]
    assert np.array_equal(train.images[0], first)
    assert train.labels[0] == 0
    assert np.array_equal(train.take(np.array([3, 0])), train.images[[3, 0]])


@pytest.mark.parametrize("form", ["icml", "bom", "tree", "upper", "numbers", "flat-names", "csv-folder"])
def test_forms_of_one_set_read_alike(kaggle: Path, tmp_path: Path, form: str) -> None:
    if form == "icml":
        path = write_csv(tmp_path / "icml_face_data.csv", ("emotion", " Usage", " pixels"))
    elif form == "bom":
        path = tmp_path / "faces.txt"
        path.write_bytes(b"\xef\xbb\xbf" + kaggle.read_bytes())
    elif form == "tree":
        path = write_tree(tmp_path / "fer")
    elif form == "upper":
        path = tmp_path / "fer"
        for file in write_tree(tmp_path / "lower").rglob("*.png"):
            split, label, name = file.parts[-3:]
            target = path / {"train": "Train", "validation": "VAL", "test": "Test"}[split] / label.title() / name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
    elif form == "numbers":
        path = tmp_path / "fer"
        for file in write_tree(tmp_path / "words").rglob("*.png"):
            split, label, name = file.parts[-3:]
            target = path / split / str(FER_CLASSES.index(label)) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
    elif form == "flat-names":  # Kaggle's folders merge the tests; the names tell them apart
        path = write_tree(tmp_path / "fer", "test/{label}/{usage}_{i}.png")
    else:
        path = tmp_path / "download"
        path.mkdir()
        (path / "fer2013.csv").write_bytes(kaggle.read_bytes())
        (path / "README.csv").write_text("not,a,face\n")
        write_csv(path / "a_train.csv", ("emotion", "pixels"))
    assert same(read_dataset(path), read_dataset(kaggle))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
@pytest.mark.parametrize("form", ["csv", "tree"])
def test_archives(kaggle: Path, tmp_path: Path, suffix: str, form: str) -> None:
    source = kaggle if form == "csv" else write_tree(tmp_path / "fer2013")
    packed = pack(source, tmp_path / f"data{suffix}")
    assert same(read_dataset(packed), read_dataset(kaggle))
    # by content, not by name
    assert same(read_dataset(packed.rename(tmp_path / "download")), read_dataset(kaggle))


def test_competition_csv_gets_a_seeded_stratified_validation_split(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "train.csv", ("emotion", "pixels"))
    one, again, other = (read_dataset(path, seed=seed, validation_share=0.3) for seed in (0, 0, 1))
    assert one.counts()["validation"] == dict.fromkeys(FIVE_CLASSES, 2)
    assert one.counts()["train"] == dict.fromkeys(FIVE_CLASSES, 4)
    assert np.array_equal(one.splits["validation"].rows, again.splits["validation"].rows)
    assert not np.array_equal(one.splits["validation"].rows, other.splits["validation"].rows)
    assert not set(one.splits["validation"].rows) & set(one.splits["train"].rows)
    assert "no validation split: 10 training faces were drawn for it (stratified, seed 0)" in one.notices


def test_folders_without_splits(tmp_path: Path) -> None:
    dataset = read_dataset(write_tree(tmp_path / "fer", "{label}/{i}.png"))
    assert {split: sum(counts.values()) for split, counts in dataset.counts().items()} == {"train": 25, "validation": 5}


def test_seven_and_own_classes(kaggle: Path, tmp_path: Path) -> None:
    assert read_dataset(kaggle, "seven").classes == SEVEN_CLASSES
    assert read_dataset(kaggle, "Happiness, SAD").classes == ("happy", "sad")
    for label in ("calm", "bored"):
        for i in range(3):
            file = tmp_path / "own" / label / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), np.full((60, 40), i, np.uint8))
    own = read_dataset(tmp_path / "own", "all")
    assert own.classes == ("bored", "calm")
    assert own.splits["train"].images.shape[1:] == (48, 48)
    assert read_dataset(tmp_path / "own", "calm,bored").classes == ("calm", "bored")
    with pytest.raises(DataError, match="6 bad rows"):
        read_dataset(tmp_path / "own")


@pytest.mark.parametrize("value", ["happy", "happy,happy", "happy,,sad", "happy,happiness", ""])
def test_class_lists_that_make_no_sense(value: str) -> None:
    with pytest.raises(DataError, match="--classes"):
        parse_classes(value)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (["3", " ".join(["7"] * 2303), "Training"], "2303 pixels in place of 2304"),
        (["3", " ".join(["256"] * 2304), "Training"], "not a whole number from 0 to 255"),
        (["3", " ".join(["x"] * 2304), "Training"], "not a whole number from 0 to 255"),
        (["9", " ".join(["7"] * 2304), "Training"], "unknown label '9'"),
        (["3", " ".join(["7"] * 2304), "Lunch"], "unknown Usage 'Lunch'"),
        (["3"], "1 columns in place of 3"),
    ],
)
def test_bad_rows_are_named(
    kaggle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, row: list[str], why: str
) -> None:
    lines = kaggle.read_text().splitlines()
    lines.insert(3, ",".join(row))
    path = tmp_path / "bad.csv"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"1 bad row.*--skip-bad"):
        read_dataset(path)
    assert f"{path} line 4: {why}" in caplog.text.replace("a pixel that is ", "")
    skipped = read_dataset(path, skip_bad=True)
    assert skipped.counts() == read_dataset(kaggle).counts()
    assert "skipped 1 bad rows or files" in skipped.notices


@pytest.mark.parametrize("suffix", ["", ".zip", ".tar.gz"])
def test_bad_pictures_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str) -> None:
    tree = write_tree(tmp_path / "fer")
    (tree / "train" / "happy" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    (tree / "train" / "happy" / "empty.png").touch()
    cv2.imwrite(str(tree / "train" / "happy" / "deep.png"), np.zeros((48, 48), np.uint16))
    (tree / "train" / "happy" / "notes.txt").write_text("not a picture, and not taken for one")
    (tree / "train" / "happy" / "._torn.jpg").write_text("macOS leaves such files")
    path = pack(tree, tmp_path / f"data{suffix}") if suffix else tree
    with pytest.raises(DataError, match="3 bad rows or files"):
        read_dataset(path)
    for name in ("torn.jpg", "empty.png", "deep.png"):
        assert f"train/happy/{name}: not a" in caplog.text
    assert read_dataset(path, skip_bad=True).counts()["train"]["happy"] == 4


def test_colour_and_alpha_become_gray(tmp_path: Path) -> None:
    for label, shape in (("happy", (48, 48, 3)), ("sad", (48, 48, 4)), ("angry", (48, 48))):
        for split in ("train", "validation"):
            (tmp_path / split / label).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / split / label / "a.png"), np.full(shape, 80, np.uint8))
    images = read_dataset(tmp_path, "all").splits["train"].images
    assert images.dtype == np.uint8
    assert (images == 80).all()


def test_larger_than_memory_comes_from_disk(kaggle: Path) -> None:
    small, large = read_dataset(kaggle), read_dataset(kaggle, memory_limit=10_000)
    assert isinstance(large.splits["train"].store, np.memmap)
    assert not isinstance(small.splits["train"].store, np.memmap)
    assert np.array_equal(small.splits["train"].images, large.splits["train"].images)


def test_class_without_faces_is_said(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "fer")
    for file in (tree / "validation" / "sad").iterdir():
        file.unlink()
    assert "validation has no face of class sad" in read_dataset(tree).notices


def test_progress_counts_faces(tmp_path: Path) -> None:
    for i in range(600):
        file = tmp_path / "fer" / ("happy", "sad")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.zeros((4, 4), np.uint8))
    seen: list[int] = []
    read_dataset(tmp_path / "fer", "happy,sad", progress=seen.append)
    assert seen == [256, 512]


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no data set at .*missing: give a CSV"):
        read_dataset(tmp_path / "missing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds neither a FER2013 CSV nor pictures"):
        read_dataset(tmp_path / "empty")
    (tmp_path / "letter.txt").write_text("Dear reader,\n")
    with pytest.raises(DataError, match="names no columns 'emotion' and 'pixels'"):
        read_dataset(tmp_path / "letter.txt")
    (tmp_path / "test.csv").write_text("pixels\n1 2 3\n")  # the competition's, which has no labels
    with pytest.raises(DataError, match="names no columns"):
        read_dataset(tmp_path / "test.csv")
    (tmp_path / "head.csv").write_text("emotion,pixels,Usage\n")
    with pytest.raises(DataError, match="has no face of angry"):
        read_dataset(tmp_path / "head.csv")


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_torn_archives(tmp_path: Path, suffix: str) -> None:
    packed = pack(write_tree(tmp_path / "fer"), tmp_path / f"data{suffix}")
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    with pytest.raises(DataError, match="data"):
        read_dataset(packed)
