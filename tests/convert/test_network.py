"""Reading a trained network and its settings; folding BatchNorm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow", reason="conversion needs TensorFlow: pip install 'mien[train]'")

from mien.convert.fold import fold_norms
from mien.convert.layers import layer_errors
from mien.convert.network import import_keras, keras_scores, load_network, multiply_accumulates, read_settings
from mien.convert.opcheck import operators
from mien.convert.quantize import convert
from mien.edge.bundle import Crop, InputSpec
from mien.edge.errors import ConfigError

from .conftest import CLASSES, SIZE, Trained, write_config

SPEC = InputSpec(SIZE, SIZE, 1, 1 / 255, 0.0)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a config.json and a model.keras that nobody has looked into."""
    (tmp_path / "model.keras").write_bytes(b"unread")
    write_config(tmp_path)
    return tmp_path


def randomize(network: Any, seed: int = 0) -> Any:
    """The network with weights and statistics as after training: no two alike, some scales below 0, one exactly 0."""
    rng = np.random.default_rng(seed)
    keras = import_keras()
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shape = layer.moving_mean.shape
            gamma = rng.normal(0.5, 1, shape)
            gamma[0] = 0
            others = [rng.normal(size=shape), rng.normal(size=shape), 10 ** rng.uniform(-4, 1, shape)]
            layer.set_weights([gamma, *others] if layer.scale else others)
        elif layer.get_weights():
            layer.set_weights([rng.normal(0, 0.3, weights.shape) for weights in layer.get_weights()])
    return network


def sequential(*middle: Any) -> Any:
    """A network with these layers between its input and a softmax."""
    keras = import_keras()
    layers = keras.layers
    return randomize(
        keras.Sequential([layers.Input((SIZE, SIZE, 1)), *middle, layers.Flatten(), layers.Dense(3), layers.Softmax()])
    )


def noise(count: int = 20) -> np.ndarray:
    """uint8 [count, SIZE, SIZE]."""
    return np.random.default_rng(5).integers(0, 256, (count, SIZE, SIZE), np.uint8)


def test_settings_are_read(run: Path) -> None:
    (run / "metrics.json").write_text('{"accuracy": 0.5}')
    settings = read_settings(run / "model.keras")
    assert settings.classes == CLASSES
    assert settings.input == SPEC
    assert settings.seed == 3
    assert settings.fingerprint == "0"
    assert settings.provenance["arch"] == "spots"
    assert settings.metrics == {"accuracy": 0.5}


def test_classes_may_be_named_where_the_config_has_none(run: Path) -> None:
    write_config(run, classes=None)
    with pytest.raises(ConfigError, match=r'has no "classes": name them .* with --classes'):
        read_settings(run / "model.keras")
    assert read_settings(run / "model.keras", "happy, Sad,surprise").classes == CLASSES


def test_the_crop_is_read(run: Path) -> None:
    assert read_settings(run / "model.keras").crop == Crop()
    write_config(run, crop={"scale": 1.1, "dx": 0.0, "dy": 0.05})
    assert read_settings(run / "model.keras").crop == Crop(1.1, 0.0, 0.05)
    write_config(run, crop={"scale": "wide"})
    with pytest.raises(ConfigError, match=r"config\.json: the run's 'crop.scale' is 'wide', not a number"):
        read_settings(run / "model.keras")


def test_multiply_accumulates_worked_out_by_hand() -> None:
    keras = import_keras()
    layers = [
        keras.Input((8, 6, 1)),
        keras.layers.Conv2D(4, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.DepthwiseConv2D(3, 2, padding="same"),
        keras.layers.Conv2D(7, 1),
        keras.layers.Flatten(),
        keras.layers.Dense(5),
    ]
    by_hand = 8 * 6 * 9 * 4 + 4 * 3 * 9 * 4 + 4 * 3 * 4 * 7 + 4 * 3 * 7 * 5
    assert multiply_accumulates(keras.Sequential(layers)) == by_hand


def test_other_classes_than_the_config_has_are_refused(run: Path) -> None:
    assert read_settings(run / "model.keras", "happy,sad,surprise").classes == CLASSES
    with pytest.raises(ConfigError, match=r"--classes sad,happy: the network was trained on happy,sad,surprise"):
        read_settings(run / "model.keras", "sad,happy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"classes": "happy"}, r'"classes" is not a list of at least two names'),
        ({"classes": ["happy", 3]}, r'"classes" is not a list of at least two names'),
        ({"classes": ["happy", "happy"]}, r'"classes" names a class twice'),
        ({"input": None}, r'"input" must be an object with height, width, channels, scale, offset'),
        ({"input": {"height": 16}}, r'"input" must be an object with'),
        ({"input": dict.fromkeys(("height", "width", "channels", "scale", "offset"), 0)}, r'"input.height" is 0'),
        ({"input": {"height": 16, "width": 16, "channels": 3, "scale": 1, "offset": 0}}, r'"input.channels" is 3'),
        ({"input": {"height": 16, "width": 16, "channels": 1, "scale": "x", "offset": 0}}, r'"input.scale" is \'x\''),
        ({"input": {"height": 16, "width": 16, "channels": 1, "scale": 0, "offset": 0}}, r'"input.scale" is 0'),
        ({"seed": "3"}, r"\"seed\" is '3', not a whole number"),
    ],
)
def test_a_key_that_is_wrong_is_named(run: Path, values: dict[str, Any], message: str) -> None:
    write_config(run, **values)
    with pytest.raises(ConfigError, match=r"config.json.*" + message):
        read_settings(run / "model.keras")


def test_files_that_are_missing_or_broken_are_named(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"no network at .*other.keras: give the model.keras"):
        read_settings(run / "other.keras")
    (run / "metrics.json").write_text("[1]")
    with pytest.raises(ConfigError, match=r"metrics.json is not a JSON object"):
        read_settings(run / "model.keras")
    (run / "config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"config.json is not JSON"):
        read_settings(run / "model.keras")
    (run / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"no .*config.json: keep model.keras in the folder"):
        read_settings(run / "model.keras")


def test_a_file_that_is_no_network_is_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.keras is not a Keras 3 file"):
        load_network(run / "model.keras", read_settings(run / "model.keras"))


def test_a_network_that_needs_code_of_its_own_is_refused(run: Path) -> None:
    keras = import_keras()
    keras.Sequential([keras.Input((SIZE, SIZE, 1)), keras.layers.Lambda(lambda x: x + 1)]).save(run / "model.keras")
    with pytest.raises(ConfigError, match=r"doesn't load as a network of plain Keras layers: .*[Ll]ambda") as caught:
        load_network(run / "model.keras", read_settings(run / "model.keras"))
    assert "\n" not in str(caught.value)


def test_a_network_that_does_not_fit_its_config_is_refused(run: Path, trained: Trained) -> None:
    (run / "model.keras").write_bytes(trained.model.read_bytes())
    write_config(run, classes=["happy", "sad"])
    with pytest.raises(ConfigError, match=r"gives \(None, 3\), but its config.json means .* and \(None, 2\)"):
        load_network(run / "model.keras", read_settings(run / "model.keras"))


def test_a_network_of_mixed_precision_becomes_float32_with_the_same_weights(run: Path) -> None:
    keras = import_keras()
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 1), dtype="float32")
    x = layers.Conv2D(4, 3, dtype="mixed_bfloat16")(inputs)
    x = layers.BatchNormalization(dtype="mixed_bfloat16")(x)
    x = layers.Add(dtype="mixed_bfloat16")([x, x])
    x = layers.Dense(3, dtype="mixed_bfloat16")(layers.GlobalAveragePooling2D(dtype="mixed_bfloat16")(x))
    trained = keras.Model(inputs, layers.Softmax(dtype="float32")(x))
    trained.save(run / "model.keras")
    network = load_network(run / "model.keras", read_settings(run / "model.keras"))
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), trained.get_weights(), strict=True))
    # bfloat16 has 8 bits of mantissa: the same network, but for that.
    ours, theirs = keras_scores(network, noise(), SPEC), keras_scores(trained, noise(), SPEC)
    assert np.allclose(ours, theirs, atol=0.02)
    assert not np.array_equal(ours, theirs)


def make_middle(case: str) -> list[Any]:
    """The layers that a name such as "conv, relu, norm" lists."""
    layers = import_keras().layers
    kinds = {
        "conv": lambda: layers.Conv2D(4, 3),
        "conv without bias": lambda: layers.Conv2D(4, 3, use_bias=False),
        "conv with relu": lambda: layers.Conv2D(4, 3, activation="relu"),
        "conv with tanh": lambda: layers.Conv2D(4, 3, activation="tanh"),
        "dense": lambda: layers.Dense(8),
        "flatten": layers.Flatten,
        "pool": layers.MaxPooling2D,
        "relu": layers.ReLU,
        "relu6": lambda: layers.ReLU(6.0),
        "relu activation": lambda: layers.Activation("relu"),
        "leaky": lambda: layers.ReLU(negative_slope=0.1),
        "norm": layers.BatchNormalization,
        "norm without scale": lambda: layers.BatchNormalization(scale=False),
    }
    return [kinds[name]() for name in case.split(", ")]


@pytest.mark.parametrize(
    ("case", "moves"),
    [
        ("conv, relu, norm", True),
        ("conv with relu, norm", True),
        ("conv without bias, leaky, norm", True),
        ("flatten, dense, relu activation, norm, dense", True),
        ("conv, relu6, norm", False),
        ("conv with tanh, norm", False),
        ("pool, norm", False),
        ("conv, relu, norm without scale", False),
    ],
)
def test_folding_changes_weights_but_no_score(case: str, moves: bool) -> None:
    network = sequential(*make_middle(case))
    scores, weights = keras_scores(network, noise(), SPEC), network.get_weights()
    assert len(fold_norms(network)) == 1
    assert np.abs(keras_scores(network, noise(), SPEC) - scores).max() < 1e-4
    assert any(not np.array_equal(a, b) for a, b in zip(weights, network.get_weights(), strict=True)) == moves


def test_a_norm_right_after_its_convolution_is_left_to_the_converter() -> None:
    network = sequential(*make_middle("conv, norm, relu"))
    assert fold_norms(network) == []
    assert "MUL" not in operators(convert(network, SPEC, "none"))


def test_each_layers_error_is_named_after_its_keras_layers() -> None:
    layers = import_keras().layers
    network = sequential(
        layers.Conv2D(4, 3, name="conv2d"), layers.ReLU(), layers.Conv2D(4, 3, name="conv2d_1"), layers.ReLU()
    )
    errors = layer_errors(network, SPEC, noise(), noise(5))
    assert [error.steps for error in errors] == sorted((error.steps for error in errors), reverse=True)
    convolutions = {error.position: error for error in errors if error.operator == "CONV_2D"}
    names = [convolutions[position].layers.split(", ") for position in sorted(convolutions)]
    assert ["conv2d" in found for found in names] == [True, False]
    assert ["conv2d_1" in found for found in names] == [False, True]
    # Rounding to the nearest step is off by 0.29 steps on average, and never by much less than 0.1 or above 2.
    assert all(0.1 < error.steps < 2 for error in convolutions.values())


def test_a_layer_whose_output_goes_two_ways_is_left_alone() -> None:
    keras = import_keras()
    layers = keras.layers
    inputs = keras.Input((SIZE, SIZE, 1))
    x = layers.ReLU()(layers.Conv2D(4, 3)(inputs))
    x = layers.Add()([x, layers.BatchNormalization()(x)])
    network = randomize(keras.Model(inputs, layers.Softmax()(layers.Dense(3)(layers.Flatten()(x)))))
    before = [weights.copy() for weights in network.get_weights()]
    assert len(fold_norms(network)) == 1
    assert all(np.array_equal(a, b) for a, b in zip(network.get_weights(), before, strict=True))


def test_moved_scales_leave_no_multiplication_in_the_model() -> None:
    layers = import_keras().layers
    network = sequential(
        layers.Conv2D(4, 3, padding="same"), layers.ReLU(), layers.BatchNormalization(), layers.MaxPooling2D()
    )
    norm = network.layers[2]
    gamma, *others = norm.get_weights()
    norm.set_weights([np.abs(gamma) + 0.1, *others])
    assert "MUL" in operators(convert(network, SPEC, "none"))
    fold_norms(network)
    assert "MUL" not in operators(convert(network, SPEC, "none"))
