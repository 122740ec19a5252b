"""A model bundle: a folder with model.tflite and card.json, which says what the model is and how to feed it."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import BundleError

MODEL_FILE = "model.tflite"
CARD_FILE = "card.json"
QUANTIZATIONS = ("int8", "dynamic", "float16", "none")

BUNDLED = Path(__file__).parent / "models"
"""The bundles that ship with Mien, a folder each, whose name is the model's."""
DEFAULT_MODEL = "mien-base"
DEFAULT_BUNDLE = BUNDLED / DEFAULT_MODEL


@dataclass(frozen=True)
class InputSpec:
    """The network's input: the float value of a pixel (0–255) is pixel·scale + offset."""

    height: int = 48
    """Pixels."""
    width: int = 48
    """Pixels."""
    channels: int = 1
    """Always 1: Mien reads gray faces."""
    scale: float = 1 / 255
    offset: float = 0.0


@dataclass(frozen=True)
class Crop:
    """What part of the picture around a detector's box the network was trained to see."""

    scale: float = 1.0
    """Side of the part, in sides of the box."""
    dx: float = 0.0
    """From the box's centre to the part's, to the right, in widths of the box."""
    dy: float = 0.0
    """The same downwards, in heights of the box."""


@dataclass(frozen=True)
class Card:
    """What a bundle says of its model."""

    name: str
    version: str
    labels: tuple[str, ...]
    """In the order of the network's outputs."""
    input: InputSpec
    sha256: str
    """Of model.tflite, hexadecimal."""
    quantization: str
    """One of QUANTIZATIONS."""
    crop: Crop = Crop()
    temperature: float = 1.0
    """By which the network's logits are divided, so that confidence is the share of right readings.

    Source: Guo et al., On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599, section 4.2."""
    uncertain_below: float = 0.0
    """Confidence, after that division, below which a reading is called uncertain."""
    operators: dict[str, int] = field(default_factory=dict)
    """Operator → highest version used in the model."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """float and quantized figures on the validation split, and what they were measured on."""
    training: dict[str, Any] = field(default_factory=dict)
    """Where the network came from: architecture, recipe, seed, versions, data fingerprint."""
    intended_use: str = ""
    limits: str = ""

    def to_json(self) -> dict[str, Any]:
        """The card as card.json holds it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> Card:
        """The card in a decoded card.json. Raises BundleError with the key that is missing or wrong."""
        if not isinstance(value, dict):
            raise BundleError("the card is not a JSON object")
        unknown = sorted(set(value) - set(cls.__dataclass_fields__))
        if unknown:
            raise BundleError(f"the card has an unknown key {unknown[0]!r}")
        for key in ("name", "version", "sha256", "quantization"):
            if not isinstance(value.get(key), str):
                raise BundleError(f"the card's {key!r} is missing or not a string")
        if value["quantization"] not in QUANTIZATIONS:
            raise BundleError(
                f"the card's 'quantization' is {value['quantization']!r}, not one of {', '.join(QUANTIZATIONS)}"
            )
        labels = value.get("labels")
        if not isinstance(labels, list) or len(labels) < 2 or not all(isinstance(label, str) for label in labels):
            raise BundleError("the card's 'labels' is missing or not a list of at least two strings")
        if len(set(labels)) != len(labels):
            raise BundleError("the card's 'labels' names a label twice")
        checked: dict[str, Any] = {"labels": tuple(labels), "input": _input_spec(value.get("input"))}
        if "crop" in value:
            checked["crop"] = read_crop(value["crop"])
        for key, low, high in (("temperature", 0.01, 100.0), ("uncertain_below", 0.0, 1.0)):
            if key in value:
                _check_number(value[key], key, low, high)
        return cls(**value | checked)


def read_crop(value: object) -> Crop:
    """The crop in a decoded JSON object; what it leaves out is as in Crop(). Raises BundleError."""
    if not isinstance(value, dict) or not set(value) <= set(Crop.__dataclass_fields__):
        raise BundleError(f"the card's 'crop' has other keys than {', '.join(Crop.__dataclass_fields__)}")
    for key, number in value.items():
        _check_number(number, f"crop.{key}", *((0.1, 10.0) if key == "scale" else (-2.0, 2.0)))
    return Crop(**value)


def _check_number(value: object, name: str, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BundleError(f"the card's {name!r} is {value!r}, not a number from {low:g} to {high:g}")


def _input_spec(value: object) -> InputSpec:
    if not isinstance(value, dict) or set(value) != set(InputSpec.__dataclass_fields__):
        raise BundleError(f"the card's 'input' must have the keys {', '.join(InputSpec.__dataclass_fields__)}")
    for key in ("height", "width", "channels"):
        if type(value[key]) is not int or value[key] < 1:
            raise BundleError(f"the card's 'input.{key}' is not a whole number above 0")
    for key in ("scale", "offset"):
        if type(value[key]) not in (int, float) or not math.isfinite(value[key]):
            raise BundleError(f"the card's 'input.{key}' is not a number")
    if value["channels"] != 1:
        raise BundleError(f"the card's 'input.channels' is {value['channels']}; Mien feeds gray faces, so it must be 1")
    return InputSpec(**value)


@dataclass(frozen=True)
class Bundle:
    """A model and its card, read and checked."""

    path: Path
    card: Card
    model: bytes
    """The contents of model.tflite, whose sha256 is the card's."""

    @classmethod
    def load(cls, path: Path) -> Bundle:
        """The bundle in folder `path`. Raises BundleError if it is missing, incomplete or damaged."""
        card_path, model_path = path / CARD_FILE, path / MODEL_FILE
        if not path.is_dir():
            raise BundleError(f"no model bundle at {path}: give the folder that holds {MODEL_FILE} and {CARD_FILE}")
        try:
            card = Card.from_json(json.loads(card_path.read_text(encoding="utf-8")))
            model = model_path.read_bytes()
        except OSError as error:
            raise BundleError(f"can't read {error.filename}: {error.strerror}; convert the model again") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise BundleError(f"{card_path} is not JSON: {error}; convert the model again") from error
        except BundleError as error:
            raise BundleError(f"{card_path}: {error}; convert the model again") from error
        if (actual := hashlib.sha256(model).hexdigest()) != card.sha256:
            raise BundleError(
                f"{model_path} doesn't match its card (sha256 {actual[:12]}…, card says {card.sha256[:12]}…): "
                "copy the bundle again"
            )
        if model[4:8] != b"TFL3":
            raise BundleError(f"{model_path} is not a TFLite model: convert the model again")
        return cls(path, card, model)


def bundled_models() -> list[str]:
    """The names of the models that ship with Mien, the default first."""
    found = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CARD_FILE}"))
    return sorted(found, key=lambda name: name != DEFAULT_MODEL)


def find_bundle(name: str) -> Path:
    """The folder of a bundled model's name, or `name` itself as a path. Raises BundleError if there is neither."""
    if name in bundled_models():
        return BUNDLED / name
    if Path(name).exists() or "/" in name:
        return Path(name)
    raise BundleError(
        f"no model {name!r}: the bundled ones are {', '.join(bundled_models())}; a folder of your own may be given too"
    )
