"""Labelled faces, read into one store and split; needs only what the device has. See dataset_forms for the forms."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from .dataset_forms import read_rows
from .errors import DataError
from .preprocess import resize_face
from .records import Image

log = logging.getLogger(__name__)

FER_CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's seven classes in the order of its numbers 0 to 6."""
FIVE_CLASSES = ("angry", "happy", "neutral", "sad", "surprise")
SEVEN_CLASSES = tuple(sorted(FER_CLASSES))
_NAMED_LISTS = {"five": FIVE_CLASSES, "5": FIVE_CLASSES, "seven": SEVEN_CLASSES, "7": SEVEN_CLASSES}
_ALIASES = {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}

SPLITS = ("train", "validation", "test")
MEMORY_LIMIT = 1 << 30
"""Bytes of decoded faces beyond which they are kept in a temporary file; FER2013 has 83 MB."""


@dataclass(frozen=True, eq=False)
class FaceSet:
    """The faces of one split; a view on the data set's one store of faces."""

    store: Image
    """uint8 [all faces, H, W]; a memory map where the data set is larger than the memory limit."""
    rows: np.ndarray
    """int64 [N]: which rows of the store are this split's."""
    labels: np.ndarray
    """int64 [N]: numbers into the data set's classes."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray) -> Image:
        """uint8 [n, H, W]: the faces of these indices (int [n], each below N)."""
        return self.store[self.rows[indices]]  # type: ignore[no-any-return]

    @property
    def images(self) -> Image:
        """uint8 [N, H, W]: all faces, copied into memory."""
        return self.take(np.arange(len(self)))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled faces, by split."""

    path: Path
    classes: tuple[str, ...]
    splits: dict[str, FaceSet]
    """Some of SPLITS → faces; a split without faces is absent."""
    fingerprint: str
    """sha256 over all faces, labels and splits; the same for a CSV and for a lossless folder of it."""
    notices: tuple[str, ...]
    """What a user should know: classes left out, splits that were made, classes without faces."""

    def counts(self) -> dict[str, dict[str, int]]:
        """Split → class → number of faces."""
        return {
            split: {label: int((faces.labels == i).sum()) for i, label in enumerate(self.classes)}
            for split, faces in self.splits.items()
        }


def read_dataset(
    path: Path,
    classes: str = "five",
    *,
    height: int = 48,
    width: int = 48,
    skip_bad: bool = False,
    seed: int = 0,
    validation_share: float = 0.1,
    redraw: bool = False,
    memory_limit: int = MEMORY_LIMIT,
    progress: Callable[[int], None] | None = None,
) -> Dataset:
    """The data set at `path`, faces gray and resized to `height` × `width` pixels.

    `classes` is "five", "seven", "all" (whatever a folder tree has) or a comma-separated list. Faces of
    FER2013 classes that were not asked for are left out; any other label is a bad row. Every bad row is
    logged with its line or path; without `skip_bad` they end in an error. Where the data has no
    validation split, a stratified `validation_share` of the training faces, drawn by `seed`, becomes it;
    with `redraw` also where it has one, which is left out then.
    `progress` is called with the number of faces read so far. Raises DataError.
    """
    if not path.exists():
        raise DataError(f"no data set at {path}: give a CSV, a folder, a .zip or a .tar.gz")
    wanted = parse_classes(classes)
    store, digests = _Store((height, width), memory_limit), []
    labels: list[str] = []
    splits: list[str | None] = []
    bad = 0
    left_out: Counter[str] = Counter()
    for count, row in enumerate(read_rows(path), 1):
        if progress and count % 256 == 0:
            progress(count)
        label = canonical_label(row.label)
        problem = row.image if isinstance(row.image, str) else None
        if problem is None and wanted and label not in wanted:
            if label in FER_CLASSES:
                left_out[label] += 1
                continue
            problem = f"unknown label {row.label!r}"
        if problem is not None:
            bad += 1
            log.warning("%s: %s", row.where, problem)
            continue
        assert not isinstance(row.image, str)
        face = resize_face(row.image, height, width)
        store.append(face)
        digests.append(hashlib.sha256(f"{row.split}/{label}/".encode() + face.tobytes()).digest())
        labels.append(label)
        splits.append(row.split)
    if bad and not skip_bad:
        raise DataError(
            f"{path} has {bad} bad rows or files, named above: mend them, or leave them out with --skip-bad"
        )
    if not labels:
        raise DataError(f"{path} has no face of {', '.join(wanted) if wanted else 'any class'}: see --classes")
    names = wanted or tuple(sorted(set(labels)))
    if len(names) < 2:
        raise DataError(f"{path} has only the class {names[0]!r}: two or more are needed")
    numbers = np.array([names.index(label) for label in labels], np.int64)
    notices = [f"left out {count:,} faces of class {label}" for label, count in sorted(left_out.items())]
    if bad:
        notices.append(f"skipped {bad:,} bad rows or files")
    rows, notice = _split(splits, numbers, names, validation_share, seed, redraw)
    notices += notice
    faces = store.finish()
    dataset = Dataset(
        path,
        names,
        {split: FaceSet(faces, indices, numbers[indices]) for split, indices in rows.items() if len(indices)},
        hashlib.sha256(b"".join(sorted(digests))).hexdigest(),
        tuple(notices),
    )
    empty = [
        f"{split} has no face of class {k}" for split, c in dataset.counts().items() for k, n in c.items() if not n
    ]
    return Dataset(path, names, dataset.splits, dataset.fingerprint, tuple(notices + empty))


def parse_classes(classes: str) -> tuple[str, ...]:
    """The class list that an option value asks for; empty for "all". Raises DataError."""
    if classes.strip().lower() == "all":
        return ()
    named = _NAMED_LISTS.get(classes.strip().lower())
    names = named or tuple(canonical_label(name) for name in classes.split(","))
    if len(names) < 2 or len(set(names)) != len(names) or not all(names):
        raise DataError(
            f"--classes {classes!r}: give five, seven, all, or two or more different names with commas between"
        )
    return names


def canonical_label(name: str) -> str:
    """A label as Mien writes it: lower case; FER2013's number or a noun such as 'anger' as its adjective."""
    name = name.strip().lower()
    if name.isdecimal() and int(name) < len(FER_CLASSES):
        return FER_CLASSES[int(name)]
    return _ALIASES.get(name, name)


def _split(
    splits: list[str | None], labels: np.ndarray, names: Sequence[str], share: float, seed: int, redraw: bool
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Row numbers (int64) of each split, and what to tell the user about them."""
    rows = {name: np.flatnonzero([(split or "train") == name for split in splits]) for name in SPLITS}
    own = len(rows["validation"])
    if own and not redraw:
        return rows, []
    chosen: list[int] = []
    for label in np.unique(labels[rows["train"]]):
        members = rows["train"][labels[rows["train"]] == label]
        # Of each class the same faces are drawn, whichever other classes were asked for.
        rng = np.random.default_rng([seed, *names[label].encode()])
        # A class of one face keeps it for training.
        chosen += rng.permutation(members)[: min(max(1, round(len(members) * share)), len(members) - 1)].tolist()
    rows["validation"] = np.array(sorted(chosen), np.int64)
    rows["train"] = np.setdiff1d(rows["train"], rows["validation"])
    why = f"the validation split's {own:,} faces were left out" if own else "no validation split"
    return rows, [f"{why}: {len(chosen):,} training faces were drawn for it (stratified, seed {seed})"]


class _Store:
    """Collects faces in memory, and in a temporary file beyond the limit."""

    def __init__(self, shape: tuple[int, int], limit: int) -> None:
        self._shape, self._limit = shape, limit
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None

    def append(self, face: Image) -> None:
        self._buffer += face.tobytes()
        if len(self._buffer) > self._limit:
            self._spill()

    def _spill(self) -> None:
        try:
            self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the memory map
            self._file.write(self._buffer)
            self._file.flush()
        except OSError as error:
            raise DataError(
                f"can't keep the decoded faces in {tempfile.gettempdir()}: {error.strerror}; "
                "set TMPDIR to a roomier disk"
            ) from error
        self._buffer.clear()

    def finish(self) -> Image:
        """uint8 [faces, H, W]."""
        if self._file is None:
            return np.frombuffer(self._buffer, np.uint8).reshape(-1, *self._shape)
        self._spill()
        return np.memmap(self._file, np.uint8, "r").reshape(-1, *self._shape)
