"""The trained network: its settings, and itself rebuilt in float32."""

from __future__ import annotations

import contextlib
import json
import math
import os
import zipfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.edge.bundle import Crop, InputSpec, read_crop
from mien.edge.dataset import parse_classes
from mien.edge.errors import BundleError, ConfigError, RuntimeMissing
from mien.edge.preprocess import pixel_table
from mien.edge.records import Image

if TYPE_CHECKING:
    import keras

PROVENANCE = ("arch", "recipe", "seed", "versions", "data", "strategy", "started")
"""Keys of config.json that the card repeats, where they are there."""


@dataclass(frozen=True)
class Settings:
    """What training wrote beside the network."""

    classes: tuple[str, ...]
    """In the order of the network's outputs."""
    input: InputSpec
    seed: int
    """By which training drew its validation split, where the data has none."""
    fingerprint: str
    """Of the data set that the network was trained on; empty if it isn't known."""
    crop: Crop
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    """training's own metrics.json; empty if it isn't there."""


def read_settings(model: Path, classes: str | None = None) -> Settings:
    """The settings in config.json and metrics.json beside the network `model`. Raises ConfigError.

    `classes`, a comma-separated list, stands in for a config.json without "classes".
    """
    if not model.is_file():
        raise ConfigError(f"no network at {model}: give the model.keras that mien-train wrote")
    path = model.with_name("config.json")
    if not path.exists():
        raise ConfigError(f"no {path}: keep model.keras in the folder in which mien-train wrote it")
    config = _read_object(path)
    named = config.get("classes")
    if named is None and classes is None:
        raise ConfigError(f'{path} has no "classes": name them in the order of the network\'s outputs with --classes')
    if named is None:
        named = list(parse_classes(classes or ""))
    if not isinstance(named, list) or len(named) < 2 or not all(isinstance(name, str) and name for name in named):
        raise ConfigError(f'{path}: "classes" is not a list of at least two names')
    if len(set(named)) != len(named):
        raise ConfigError(f'{path}: "classes" names a class twice')
    if classes is not None and parse_classes(classes) != tuple(named):
        raise ConfigError(f"--classes {classes}: the network was trained on {','.join(named)}; leave the option out")
    seed, data = config.get("seed", 0), config.get("data", {})
    if type(seed) is not int:
        raise ConfigError(f'{path}: "seed" is {seed!r}, not a whole number')
    metrics = model.with_name("metrics.json")
    return Settings(
        classes=tuple(named),
        input=_input(config.get("input"), path),
        seed=seed,
        fingerprint=str(data.get("fingerprint", "")) if isinstance(data, dict) else "",
        crop=_crop(config.get("crop", {}), path),
        provenance={key: config[key] for key in PROVENANCE if key in config},
        metrics=_read_object(metrics) if metrics.exists() else {},
    )


def load_network(path: Path, settings: Settings) -> keras.Model:
    """The network in `path`, in float32. Raises ConfigError, RuntimeMissing.

    Training may have been in mixed precision: the layers are made anew from their configuration
    with a float32 policy, and take over the weights.
    """
    keras = import_keras()
    if not zipfile.is_zipfile(path):
        raise ConfigError(f"{path} is not a Keras 3 file (.keras): give the model.keras that mien-train wrote")
    try:
        trained = keras.models.load_model(path, compile=False)
        network = keras.models.clone_model(trained, clone_function=_in_float32)
        network.set_weights(trained.get_weights())
    except Exception as error:  # Keras raises whatever its layers raise
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path} doesn't load as a network of plain Keras layers: {reason}") from error
    spec = settings.input
    wanted = (None, spec.height, spec.width, spec.channels), (None, len(settings.classes))
    if (network.input_shape, network.output_shape) != wanted:
        raise ConfigError(
            f"{path} takes {network.input_shape} and gives {network.output_shape}, but its config.json "
            f"means {wanted[0]} and {wanted[1]}: use the config.json of the same run"
        )
    return network


def keras_scores(network: keras.Model, faces: Image, spec: InputSpec) -> np.ndarray:
    """float32 [N, classes]: the network's probabilities of gray faces uint8 [N, H, W], scaled as the device scales."""
    table = pixel_table(spec.scale, spec.offset)
    batches = [table[faces[i : i + 256]][..., np.newaxis] for i in range(0, len(faces), 256)]
    return np.concatenate([network.predict_on_batch(batch) for batch in batches])


def multiply_accumulates(network: keras.Model) -> int:
    """Multiplications with a weight that one face takes, in convolutions and dense layers."""
    total = 0
    for layer in network.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is not None:
            # A depthwise kernel [h, w, channels, multiplier] meets each of its own channels once, as all others do.
            total += math.prod(layer.output.shape[1:-1]) * math.prod(kernel.shape)
    return total


def require_tensorflow() -> None:
    """Raises RuntimeMissing where TensorFlow isn't installed; much faster than importing it."""
    for package in ("tensorflow", "keras"):
        if find_spec(package) is None:
            raise RuntimeMissing(f"conversion needs {package}: pip install 'mien[train]'")


def import_keras() -> Any:
    """The Keras module, on TensorFlow and its CPU kernels. Raises RuntimeMissing."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # the converter reads TensorFlow's graphs alone
    try:
        import keras
        import tensorflow as tf
    except ImportError as error:
        raise RuntimeMissing(f"conversion needs TensorFlow: pip install 'mien[train]' ({error})") from error
    if keras.backend.backend() != "tensorflow":
        raise RuntimeMissing(f"Keras runs on {keras.backend.backend()}: start mien-convert in a process of its own")
    with contextlib.suppress(RuntimeError):  # TensorFlow was in use before: leave its devices
        tf.config.set_visible_devices([], "GPU")  # so that the float figures are the same on every machine
    return keras


def _in_float32(layer: Any) -> Any:
    """A new layer like `layer`, without its weights, that calculates in float32."""
    return type(layer).from_config(layer.get_config() | {"dtype": "float32"})


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"can't read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}): train again, or mend it") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path} is not a JSON object: train again, or mend it")
    return value


def _input(value: object, path: Path) -> InputSpec:
    """The input that a config.json describes."""
    keys = InputSpec.__dataclass_fields__
    if not isinstance(value, dict) or not set(keys) <= set(value):
        raise ConfigError(f'{path}: "input" must be an object with {", ".join(keys)}')
    for key in keys:
        number = value[key]
        if key in ("scale", "offset"):
            if type(number) not in (int, float) or not math.isfinite(number) or (key == "scale" and number == 0):
                raise ConfigError(f'{path}: "input.{key}" is {number!r}, not a usable number')
        elif type(number) is not int or number < 1:
            raise ConfigError(f'{path}: "input.{key}" is {number!r}, not a whole number above 0')
    if value["channels"] != 1:
        raise ConfigError(f'{path}: "input.channels" is {value["channels"]}; Mien reads gray faces, so it must be 1')
    return InputSpec(**{key: value[key] for key in keys})


def _crop(value: object, path: Path) -> Crop:
    """What part of the picture around a face's box a config.json says that the network was trained to see."""
    try:
        return read_crop(value)
    except BundleError as error:
        raise ConfigError(f"{path}: {error}".replace("the card's", "the run's")) from error
