from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.edge.bundle import DEFAULT_MODEL, Bundle, Card, Crop, InputSpec, bundled_models, find_bundle
from mien.edge.errors import BundleError

MakeBundle = Callable[..., Path]
INPUT = {"height": 48, "width": 48, "channels": 1, "scale": 1.0, "offset": 0.0}


def test_reads_model_and_card(bundle: Path) -> None:
    read = Bundle.load(bundle)
    assert read.card.labels == ("angry", "happy", "neutral", "sad", "surprise")
    assert read.card.input == InputSpec(48, 48, 1, 1 / 255, 0.0)
    assert read.model == (bundle / "model.tflite").read_bytes()


def test_a_card_survives_being_written(bundle: Path) -> None:
    card = Bundle.load(bundle).card
    assert Card.from_json(json.loads(json.dumps(card.to_json()))) == card


@pytest.mark.parametrize(
    "change, message",
    [
        ({"name": 3}, "'name' is missing or not a string"),
        ({"sha256": None}, "'sha256' is missing or not a string"),
        ({"quantization": "int4"}, "'quantization' is 'int4', not one of int8, dynamic, float16, none"),
        ({"labels": ["one"]}, "'labels' is missing or not a list of at least two strings"),
        ({"labels": "happy"}, "'labels' is missing"),
        ({"labels": ["a", "a"]}, "'labels' names a label twice"),
        ({"colour": "red"}, "unknown key 'colour'"),
        ({"temperature": 0}, "'temperature' is 0, not a number from 0.01 to 100"),
        ({"temperature": True}, "'temperature' is True, not a number"),
        ({"uncertain_below": 1.5}, "'uncertain_below' is 1.5, not a number from 0 to 1"),
        ({"crop": 1.1}, "'crop' has other keys than scale, dx, dy"),
        ({"crop": {"scale": 1.1, "size": 3}}, "'crop' has other keys than scale, dx, dy"),
        ({"crop": {"scale": float("nan")}}, "'crop.scale' is nan, not a number from 0.1 to 10"),
        ({"input": {**INPUT, "channels": 3}}, "'input.channels' is 3; Mien feeds gray faces"),
        ({"input": {**INPUT, "height": 0}}, "'input.height' is not a whole number above 0"),
        ({"input": {**INPUT, "width": True}}, "'input.width' is not a whole number"),
        ({"input": {**INPUT, "scale": "1/255"}}, "'input.scale' is not a number"),
        ({"input": {**INPUT, "offset": float("nan")}}, "'input.offset' is not a number"),
        ({"input": {"height": 48}}, "'input' must have the keys height, width, channels, scale, offset"),
    ],
)
def test_a_wrong_card_is_named(make_bundle: MakeBundle, change: dict[str, object], message: str) -> None:
    path = make_bundle(**change)
    with pytest.raises(BundleError) as error:
        Bundle.load(path)
    assert message in str(error.value) and str(path / "card.json") in str(error.value)


def test_crop_and_certainty_are_read_and_may_be_left_out(make_bundle: MakeBundle) -> None:
    card = Bundle.load(make_bundle("a", crop={"scale": 1.2, "dy": -0.1}, temperature=1.5, uncertain_below=0.6)).card
    assert (card.crop, card.temperature, card.uncertain_below) == (Crop(1.2, 0.0, -0.1), 1.5, 0.6)
    card = Bundle.load(make_bundle("b")).card
    assert (card.crop, card.temperature, card.uncertain_below) == (Crop(), 1.0, 0.0)


def test_bundled_models_are_found_by_name(tmp_path: Path) -> None:
    assert bundled_models()[0] == DEFAULT_MODEL
    for name in bundled_models():
        assert Bundle.load(find_bundle(name)).path.name == name
    assert find_bundle(str(tmp_path)) == tmp_path
    with pytest.raises(BundleError, match="no model 'mien-huge': the bundled ones are mien-base"):
        find_bundle("mien-huge")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no model bundle at .*none: give the folder"):
        Bundle.load(tmp_path / "none")


@pytest.mark.parametrize("name", ["model.tflite", "card.json"])
def test_a_missing_file(make_bundle: MakeBundle, name: str) -> None:
    path = make_bundle()
    (path / name).unlink()
    with pytest.raises(BundleError, match=f"can't read .*{name}: No such file"):
        Bundle.load(path)


@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[]"])
def test_a_card_that_is_no_json_object(make_bundle: MakeBundle, content: bytes) -> None:
    path = make_bundle()
    (path / "card.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"card\.json.*(not JSON|not a JSON object)"):
        Bundle.load(path)


def test_a_damaged_model(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    model = bytearray((path / "model.tflite").read_bytes())
    model[1000] ^= 1
    (path / "model.tflite").write_bytes(model)
    with pytest.raises(BundleError, match=r"doesn't match its card .*copy the bundle again"):
        Bundle.load(path)


def test_a_model_that_is_not_tflite(make_bundle: MakeBundle) -> None:
    with pytest.raises(BundleError, match="is not a TFLite model"):
        Bundle.load(make_bundle(model=b"PK\x03\x04 a zip file"))
