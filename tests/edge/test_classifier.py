from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from patterns import LABELS, patterns

from mien.edge.bundle import Bundle
from mien.edge.classifier import Classifier, normalize, quantize_table, temper
from mien.edge.errors import BundleError, RuntimeMissing
from mien.edge.preprocess import pixel_table
from mien.edge.runtime import make_interpreter, runtime_name

MakeBundle = Callable[..., Path]


def test_quantize_table_of_the_usual_scales() -> None:
    """With scale 1/255 and zero point −128 an int8 step is a pixel: nothing is lost."""
    tensor = {"dtype": np.int8, "quantization": (1 / 255, -128)}
    table = quantize_table(pixel_table(1 / 255, 0.0), tensor)
    assert table.dtype == np.int8
    assert table.tolist() == list(range(-128, 128))


def test_quantize_table_rounds_to_the_nearest_step_and_clips() -> None:
    tensor = {"dtype": np.int8, "quantization": (0.5, 10)}
    values = np.array([-100, -70, -69.2, -0.3, -0.2, 0, 0.2, 0.3, 0.8, 58.4, 58.8, 1000], np.float32)
    assert quantize_table(values, tensor).tolist() == [-128, -128, -128, 9, 10, 10, 10, 11, 12, 127, 127, 127]


def test_quantize_table_of_unsigned_and_float_tensors() -> None:
    values = np.array([-1.1, -0.5, 0, 1], np.float32)
    unsigned = quantize_table(values, {"dtype": np.uint8, "quantization": (2 / 255, 128)})
    assert unsigned.dtype == np.uint8 and unsigned.tolist() == [0, 64, 128, 255]
    plain = quantize_table(values, {"dtype": np.float32, "quantization": (0.0, 0)})
    assert plain.dtype == np.float32 and plain.tolist() == values.tolist()


@pytest.mark.parametrize("kind", ["int8", "float"])
def test_reads_patterns_that_it_has_not_seen(make_bundle: MakeBundle, kind: str) -> None:
    faces, labels = patterns(20, seed=99)
    classifier = Classifier(Bundle.load(make_bundle(kind=kind)))
    scores = classifier.scores(faces)
    assert scores.shape == (100, 5) and scores.dtype == np.float32
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)
    assert (scores.argmax(axis=1) == labels).mean() >= 0.97


def test_int8_and_float_agree(make_bundle: MakeBundle) -> None:
    faces, _ = patterns(20, seed=98)
    quantized = Classifier(Bundle.load(make_bundle("q", kind="int8"))).scores(faces)
    exact = Classifier(Bundle.load(make_bundle("f", kind="float"))).scores(faces)
    assert np.abs(quantized - exact).mean() < 0.02
    assert (quantized.argmax(axis=1) == exact.argmax(axis=1)).mean() >= 0.98


def test_temperature_divides_the_logits(make_bundle: MakeBundle) -> None:
    logits = np.random.default_rng(0).normal(0, 3, (50, 5))
    for temperature in (0.5, 1.0, 1.7):
        expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum(axis=1, keepdims=True)
        plain = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        assert np.allclose(temper(plain, temperature), expected)
    faces, _ = patterns(10, seed=5)
    warm = Classifier(Bundle.load(make_bundle("warm", temperature=3.0))).scores(faces)
    plain = Classifier(Bundle.load(make_bundle("plain"))).scores(faces)
    assert warm.dtype == np.float32 and np.allclose(warm, temper(plain, 3.0))
    assert (warm.max(axis=1) <= plain.max(axis=1)).all() and (warm.argmax(axis=1) == plain.argmax(axis=1)).all()


def test_a_row_of_zeros_becomes_even() -> None:
    assert normalize(np.array([[0.0, 0.0], [1.0, 3.0]])).tolist() == [[0.5, 0.5], [0.25, 0.75]]


def test_a_batch_is_its_faces_one_by_one(bundle: Path) -> None:
    faces, _ = patterns(2, seed=3)
    classifier = Classifier(Bundle.load(bundle), threads=2)
    together = classifier.scores(faces)
    assert np.array_equal(together, np.concatenate([classifier.scores(face[None]) for face in faces]))
    assert classifier.scores(faces[:0]).shape == (0, 5)


def test_the_card_decides_how_pixels_are_fed(make_bundle: MakeBundle) -> None:
    """A card with inverted pixels makes inverted faces read as the others do."""
    faces, _ = patterns(4, seed=5)
    turned = {"height": 48, "width": 48, "channels": 1, "scale": -1 / 255, "offset": 1.0}
    straight = Classifier(Bundle.load(make_bundle("a", kind="float"))).scores(faces)
    inverted = Classifier(Bundle.load(make_bundle("b", kind="float", input=turned))).scores(255 - faces)
    assert np.allclose(straight, inverted, atol=1e-4)


@pytest.mark.parametrize("shape, dtype", [((1, 47, 48), np.uint8), ((48, 48), np.uint8), ((1, 48, 48), np.float32)])
def test_other_arrays_are_refused(bundle: Path, shape: tuple[int, ...], dtype: type) -> None:
    with pytest.raises(ValueError, match="faces must be uint8"):
        Classifier(Bundle.load(bundle)).scores(np.zeros(shape, dtype))


def test_labels_that_do_not_fit_the_output(make_bundle: MakeBundle) -> None:
    path = make_bundle(labels=[*LABELS, "fear"])
    with pytest.raises(BundleError, match="the model has 5 outputs, its card 6 labels"):
        Classifier(Bundle.load(path))


def test_an_input_size_that_does_not_fit(make_bundle: MakeBundle) -> None:
    path = make_bundle(input={"height": 64, "width": 64, "channels": 1, "scale": 1.0, "offset": 0.0})
    with pytest.raises(BundleError, match=r"input is \[1, 48, 48, 1\], its card says \[1, 64, 64, 1\]"):
        Classifier(Bundle.load(path))


def test_a_damaged_model_with_a_fitting_checksum(make_bundle: MakeBundle) -> None:
    path = make_bundle(model=b"\x1c\x00\x00\x00TFL3" + bytes(200))
    with pytest.raises(BundleError, match="can't load the model: ") as error:
        Classifier(Bundle.load(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_no_runtime_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(__import__("sys").modules, "tflite_runtime.interpreter", None)
    with pytest.raises(RuntimeMissing, match="no TFLite runtime: pip install ai-edge-litert"):
        make_interpreter(b"")


def test_the_runtime_names_itself() -> None:
    assert runtime_name().split()[0] in ("ai-edge-litert", "tflite-runtime")


def test_the_runtime_keeps_quiet(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Classifier(Bundle.load(bundle)).scores(np.zeros((1, 48, 48), np.uint8))
    assert capfd.readouterr() == ("", "")
