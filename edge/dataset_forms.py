"""The forms in which people hold FER2013, told apart by content.

A CSV (fer2013.csv, icml_face_data.csv or the competition's train.csv), a folder tree split/class/image
or class/image, or a .zip or .tar.gz of any of these.
"""

from __future__ import annotations

import csv
import io
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Any

import cv2
import numpy as np

from .errors import DataError
from .preprocess import to_gray
from .records import Image

_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "publictest": "validation",
    "test": "test",
    "privatetest": "test",
}
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".pgm", ".webp", ".tif", ".tiff"}
_CSV_PIXELS = 48 * 48
_UNREADABLE = (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error)


@dataclass
class Row:
    """One face as found; `image` is a string that says why if it is bad."""

    where: str
    image: Image | str
    label: str
    split: str | None


def read_rows(path: Path) -> Iterator[Row]:
    """Every face of the data set at `path`, good or bad. Raises DataError if it is no data set."""
    try:
        yield from _rows(path)
    except _UNREADABLE as error:
        raise DataError(f"can't read {path}: {error}") from error


def _rows(path: Path) -> Iterator[Row]:
    """Every face of the data set, whatever its form."""
    if path.is_dir():
        tree: _Tree = _FolderTree(path)
    elif zipfile.is_zipfile(path):
        tree = _ZipTree(path)
    elif tarfile.is_tarfile(path):
        tree = _TarTree(path)
    else:
        with path.open("rb") as stream:
            if not _csv_columns(stream):
                raise DataError(
                    f"{path} is no data set: its first line names no columns 'emotion' and 'pixels', "
                    "and it is neither a .zip nor a .tar.gz"
                )
            stream.seek(0)
            yield from _csv_rows(stream, str(path))
        return
    table = tree.best_csv()
    if table is not None:
        yield from tree.read(table)
        return
    found = False
    for where, parts, data in tree.images():
        found = True
        yield _image_row(where, parts, data)
    if not found:
        raise DataError(f"{path} holds neither a FER2013 CSV nor pictures in folders split/class/image")


def _image_row(where: str, parts: tuple[str, ...], data: bytes) -> Row:
    """A picture as a row; `parts` are its folders and its name."""
    split = next((_SPLIT_NAMES[part.lower()] for part in parts[:-2] if part.lower() in _SPLIT_NAMES), None)
    # FER2013's file names carry the official split, which folders such as Kaggle's train/ and test/ merge.
    prefix, _, rest = PurePosixPath(parts[-1]).stem.partition("_")
    if rest.isdecimal() and prefix in ("Training", "PublicTest", "PrivateTest"):
        split = _SPLIT_NAMES[prefix.lower()]
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    image: Image | str = "not a readable picture"
    if pixels is not None:
        try:
            image = to_gray(pixels)
        except ValueError as error:
            image = str(error)
    return Row(where, image, parts[-2], split)


def _csv_columns(stream: IO[bytes]) -> dict[str, int]:
    """Column name → position from the stream's first line; empty if it isn't FER2013's."""
    line = stream.readline(1000)
    try:
        names = [name.strip().lower() for name in next(csv.reader([line.decode("utf-8-sig")]), [])]
    except (UnicodeDecodeError, csv.Error):
        return {}
    return {name: i for i, name in enumerate(names)} if {"emotion", "pixels"} <= set(names) else {}


def _csv_rows(stream: IO[bytes], where: str) -> Iterator[Row]:
    columns = _csv_columns(stream)
    usage_at = columns.get("usage")
    reader = csv.reader(io.TextIOWrapper(stream, "utf-8", errors="replace", newline=""))
    for cells in reader:
        if not cells:
            continue
        place = f"{where} line {reader.line_num + 1}"  # the header line is read apart
        if len(cells) < len(columns):
            yield Row(place, f"{len(cells)} columns in place of {len(columns)}", "", None)
            continue
        usage = cells[usage_at].strip() if usage_at is not None else None
        image: Image | str
        if usage is not None and usage.lower() not in _SPLIT_NAMES:
            image = f"unknown Usage {usage!r}"
        else:
            image = _parse_pixels(cells[columns["pixels"]])
        yield Row(place, image, cells[columns["emotion"]], _SPLIT_NAMES.get(usage.lower()) if usage else None)


def _parse_pixels(text: str) -> Image | str:
    """uint8 [48, 48] from 2,304 numbers with spaces between, or why not."""
    words = text.split()
    if len(words) != _CSV_PIXELS:
        return f"{len(words)} pixels in place of {_CSV_PIXELS}"
    try:
        return np.frombuffer(bytes(map(int, words)), np.uint8).reshape(48, 48)
    except ValueError:
        return "a pixel that is not a whole number from 0 to 255"


@dataclass
class _Tree(ABC):
    """A folder or an archive: names of files and a way to read them."""

    path: Path
    names: list[str] = field(init=False)
    """With '/' between folders, sorted; without hidden files and macOS's extras."""

    def __post_init__(self) -> None:
        self.names = sorted(
            name
            for name in self._list()
            if not any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(name).parts)
        )

    def best_csv(self) -> str | None:
        """The FER2013 CSV of the tree with the most to say: one with official splits before train.csv."""
        ranked = []
        for name in self.names:
            if name.lower().endswith(".csv"):
                with self.open(name) as stream:
                    if columns := _csv_columns(stream):
                        ranked.append(("usage" not in columns, name))
        return min(ranked)[1] if ranked else None

    def read(self, name: str) -> Iterator[Row]:
        with self.open(name) as stream:
            yield from _csv_rows(stream, f"{self.path}/{name}")

    def images(self) -> Iterator[tuple[str, tuple[str, ...], bytes]]:
        """Of every picture: where it is, its folders and name, its bytes (empty if unreadable)."""
        for name in self.names:
            if self._is_image(name):
                try:
                    with self.open(name) as stream:
                        data = stream.read()
                except (OSError, zipfile.BadZipFile, zlib.error):
                    data = b""
                yield f"{self.path}/{name}", PurePosixPath(name).parts, data

    def _is_image(self, name: str) -> bool:
        path = PurePosixPath(name)
        return path.suffix.lower() in _IMAGE_SUFFIXES and len(path.parts) >= 2

    @abstractmethod
    def _list(self) -> list[str]:
        """The names of all files."""

    @abstractmethod
    def open(self, name: str) -> Any:
        """A context manager that gives the file as a binary stream."""


class _FolderTree(_Tree):
    def _list(self) -> list[str]:
        return [file.relative_to(self.path).as_posix() for file in self.path.rglob("*") if file.is_file()]

    def open(self, name: str) -> Any:
        return (self.path / name).open("rb")


class _ZipTree(_Tree):
    def _list(self) -> list[str]:
        self._archive = zipfile.ZipFile(self.path)
        return [info.filename for info in self._archive.infolist() if not info.is_dir()]

    def open(self, name: str) -> Any:
        return self._archive.open(name)


class _TarTree(_Tree):
    def _list(self) -> list[str]:
        with tarfile.open(self.path) as archive:
            return [member.name for member in archive if member.isfile()]

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with tarfile.open(self.path) as archive:
            stream = archive.extractfile(name)
            assert stream is not None
            yield stream

    def images(self) -> Iterator[tuple[str, tuple[str, ...], bytes]]:
        """In the archive's order: a compressed tar can't be read at random without starting anew each time."""
        wanted = set(self.names)
        with tarfile.open(self.path) as archive:
            for member in archive:
                if member.isfile() and member.name in wanted and self._is_image(member.name):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield f"{self.path}/{member.name}", PurePosixPath(member.name).parts, stream.read()
