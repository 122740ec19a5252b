"""The representative faces."""

from __future__ import annotations

import numpy as np
import pytest

from mien.convert.quantize import representative_faces
from mien.edge.dataset import FaceSet
from mien.edge.errors import DataError

CLASSES = ("happy", "sad", "surprise")


def make_faces(*counts: int, seed: int = 0) -> FaceSet:
    """Different faces uint8 [N, 4, 4]; the first pixel is the class number."""
    labels = np.repeat(np.arange(len(counts)), counts)
    store = np.random.default_rng(seed).integers(0, 256, (len(labels), 4, 4), np.uint8)
    store[:, 0, 0] = labels
    return FaceSet(store, np.arange(len(labels)), labels)


def test_they_are_balanced_over_the_classes() -> None:
    faces, counts = representative_faces(make_faces(1000, 300, 200), CLASSES, 600, 0)
    assert counts == {"happy": 200, "sad": 200, "surprise": 200}
    assert np.bincount(faces[:, 0, 0]).tolist() == [200, 200, 200]


def test_a_total_that_does_not_divide_differs_by_one_at_most() -> None:
    _, counts = representative_faces(make_faces(300, 300, 300), CLASSES, 500, 0)
    assert sorted(counts.values()) == [166, 167, 167]


def test_a_small_class_gives_all_it_has_and_the_others_fill_up_evenly() -> None:
    _, counts = representative_faces(make_faces(1000, 20, 1000), CLASSES, 500, 0)
    assert counts == {"happy": 240, "sad": 20, "surprise": 240}


def test_no_face_comes_twice_not_even_as_a_copy() -> None:
    faces = make_faces(300, 300, 300)
    twice = FaceSet(faces.store, np.concatenate([faces.rows] * 3), np.concatenate([faces.labels] * 3))
    chosen, _ = representative_faces(twice, CLASSES, 900, 0)
    assert len({face.tobytes() for face in chosen}) == 900


def test_the_seed_decides_which() -> None:
    faces = make_faces(300, 300, 300)
    first, again, other = (representative_faces(faces, CLASSES, 500, seed)[0] for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_too_few_faces_are_refused_with_what_to_do() -> None:
    faces = make_faces(100, 100, 100)
    copies = FaceSet(faces.store, np.concatenate([faces.rows] * 2), np.concatenate([faces.labels] * 2))
    with pytest.raises(DataError, match=r"only 300 different training faces .* 500 are needed: .*--quantize float16"):
        representative_faces(copies, CLASSES, 500, 0)
