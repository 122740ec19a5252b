"""Batches: complete, reproducible, divisible, and scaled as the device scales."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.edge.bundle import InputSpec
from mien.edge.dataset import Dataset, FaceSet
from mien.edge.errors import DataError
from mien.edge.preprocess import pixel_table
from mien.train.augment import Augmentation
from mien.train.batches import evaluation_batches, training_batches
from mien.train.data import read_for_training

SPEC = InputSpec()
STILL = Augmentation(rotation=0, shear=0, zoom=0, shift=0, flip=False)


def batches(faces: FaceSet, count: int, **options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    options = {"augmentation": Augmentation(), "seed": 5, **options}
    dataset = training_batches(faces, options.pop("batch_size", 32), 5, SPEC, **options)
    return [(x.numpy(), y.numpy()) for x, y in islice(dataset, count)]


def equal(some: list[tuple[np.ndarray, np.ndarray]], others: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    pairs = zip(some, others, strict=True)
    return all(np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in pairs)


def test_an_epoch_has_every_face_once(dataset: Dataset) -> None:
    faces = dataset.splits["train"]  # 120 of them, all different
    seen = np.concatenate([x for x, _ in batches(faces, 4, batch_size=30, augmentation=STILL)])
    expected = np.sort((faces.images.astype(np.float32) / 255).reshape(120, -1), axis=0)
    assert np.allclose(np.sort(seen.reshape(120, -1), axis=0), expected, atol=1e-5)


def test_labels_stay_with_their_faces(dataset: Dataset) -> None:
    faces = dataset.splits["train"]
    known = {
        np.round(image.astype(np.float32) / 255, 3).tobytes(): label
        for image, label in zip(faces.images, faces.labels, strict=True)
    }
    (x, y), *_ = batches(faces, 1, augmentation=STILL)
    assert [known[np.round(face[..., 0], 3).tobytes()] for face in x] == y.argmax(axis=1).tolist()


def test_same_seed_same_batches(dataset: Dataset) -> None:
    faces = dataset.splits["train"]
    assert equal(batches(faces, 5), batches(faces, 5))
    assert not equal(batches(faces, 1), batches(faces, 1, seed=6))


def test_epochs_differ_and_a_resumed_run_goes_on_the_same(dataset: Dataset) -> None:
    faces = dataset.splits["train"]
    whole = batches(faces, 9)  # 3 steps an epoch
    assert not equal(whole[:3], whole[3:6])
    assert equal(whole[6:], batches(faces, 3, first_epoch=2))


def test_shards_are_parts_of_the_one_batch(dataset: Dataset) -> None:
    faces = dataset.splits["train"]
    one, parts = batches(faces, 4), [batches(faces, 4, shard=(k, 2)) for k in range(2)]
    together = [tuple(np.concatenate(pair) for pair in zip(a, b, strict=True)) for a, b in zip(*parts, strict=True)]
    for (x, y), (u, v) in zip(one, together, strict=True):
        assert np.array_equal(y, v)
        assert np.allclose(x, u, atol=1e-6)
    mixing = Augmentation(mixup=0.7)
    one = batches(faces, 4, augmentation=mixing)
    parts = [batches(faces, 4, shard=(k, 2), augmentation=mixing) for k in range(2)]
    for (x, y), first, second in zip(one, *parts, strict=True):
        assert np.allclose(x, np.concatenate([first[0], second[0]]), atol=1e-6)
        assert np.allclose(y, np.concatenate([first[1], second[1]]), atol=1e-6)
        assert (y.max(axis=1) < 1).any(), "some faces are two people's"
    with pytest.raises(DataError, match="mixup and cutmix take faces by twos: a batch of 12 over 4 workers isn't even"):
        batches(faces, 1, batch_size=12, shard=(0, 4), augmentation=mixing)
    with pytest.raises(DataError, match="can't be split evenly over 3"):
        batches(faces, 1, shard=(0, 3))


def test_the_last_epochs_may_be_unmixed(dataset: Dataset) -> None:
    faces = dataset.splits["train"]
    every = batches(faces, 9, augmentation=Augmentation(mixup=1, cutmix=1), mixed_epochs=2)  # 3 steps an epoch
    mixed = [bool((y.max(axis=1) < 1).any()) for _, y in every]
    assert mixed == [True] * 6 + [False] * 3
    assert equal(every[6:], batches(faces, 3, first_epoch=2)), "but for that they are the same"


def test_validation_has_the_pixels_that_the_device_feeds(dataset: Dataset) -> None:
    faces = dataset.splits["validation"]
    x = np.concatenate([x for x, _ in evaluation_batches(faces, 5, SPEC, batch_size=16)])
    assert np.array_equal(x[..., 0], pixel_table(SPEC.scale, SPEC.offset)[faces.images])


def test_larger_than_memory(blobs: Path, dataset: Dataset) -> None:
    from mien.edge.dataset import read_dataset

    large = read_dataset(blobs, memory_limit=50_000)
    assert isinstance(large.splits["train"].store, np.memmap)
    assert equal(batches(large.splits["train"], 3), batches(dataset.splits["train"], 3))


def test_a_part_set_aside_takes_the_validation_splits_place(blobs: Path, dataset: Dataset) -> None:
    aside = read_for_training(blobs, "five", SPEC, seed=1, set_aside=0.25)
    assert aside.counts()["train"] == dict.fromkeys(aside.classes, 18)
    assert aside.counts()["validation"] == dict.fromkeys(aside.classes, 6)
    assert any("40 faces were left out" in notice for notice in aside.notices)
    again = read_for_training(blobs, "five", SPEC, seed=2, set_aside=0.25)
    assert np.array_equal(aside.splits["validation"].images, again.splits["validation"].images)
    theirs = {face.tobytes() for face in dataset.splits["train"].images}
    assert {face.tobytes() for face in aside.splits["validation"].images} <= theirs


def test_data_that_cannot_train(tmp_path: Path, dataset: Dataset, write_data: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="120 training faces don't fill a batch of 128"):
        batches(dataset.splits["train"], 1, batch_size=128)
    tree = write_data(tmp_path / "blobs", 2, 1)
    for file in (tree / "train" / "sad").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="no training face of class sad"):
        read_for_training(tree, "five", SPEC)
    only = write_data(tmp_path / "only", 0, 2)
    with pytest.raises(DataError, match="has no train faces"):
        read_for_training(only, "five", SPEC)
