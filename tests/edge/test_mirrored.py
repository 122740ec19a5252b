"""The bundled models that were trained with mirrored weights: integers keep what the weights promise."""

from __future__ import annotations

import numpy as np
import pytest

from mien.edge.bundle import Bundle, bundled_models, find_bundle
from mien.edge.classifier import Classifier
from mien.edge.records import Image


@pytest.mark.parametrize("name", bundled_models())
def test_a_face_and_its_mirror_image_are_read_alike(name: str, astronaut: Image) -> None:
    bundle = Bundle.load(find_bundle(name))
    if not bundle.card.training["recipe"].get("mirror"):
        pytest.skip(f"{name} was not trained with mirrored weights")
    classifier = Classifier(bundle)
    height, width = classifier.face_size
    gray = astronaut.mean(axis=2).astype(np.uint8)
    faces = np.stack(
        [gray[y : y + 4 * height : 4, x : x + 4 * width : 4] for y in (0, 60, 120) for x in (80, 140, 200)]
    )
    scores = classifier.scores(faces)
    assert np.ptp(scores, axis=0).max() > 0.05
    assert np.array_equal(scores, classifier.scores(np.ascontiguousarray(faces[:, :, ::-1])))
