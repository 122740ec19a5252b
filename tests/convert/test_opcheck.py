"""Reading a model's operators, and what tflite-runtime 2.14 lacks for them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("flatbuffers", reason="flatbuffers is not installed: pip install 'mien[train]'")
pytest.importorskip("ai_edge_litert", reason="this machine has no LiteRT")

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from mien.convert.opcheck import operators, unsupported
from mien.edge.errors import BundleError


def make_model(*used: tuple[str | int, int] | tuple[str | int, int, str]) -> bytes:
    """A TFLite model without a graph that declares operators: (name or code, version[, custom name])."""
    codes = []
    for name, version, *custom in used:
        code = schema.OperatorCodeT()
        code.builtinCode = getattr(schema.BuiltinOperator, name) if isinstance(name, str) else name
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)
        code.version = version
        code.customCode = custom[0] if custom else None
        codes.append(code)
    model, graph = schema.ModelT(), schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [], [], [], []
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, codes, [schema.BufferT()], [graph]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_each_operator_has_its_highest_version() -> None:
    model = make_model(("CONV_2D", 1), ("SOFTMAX", 2), ("CONV_2D", 5), ("CONV_2D", 3))
    assert operators(model) == {"CONV_2D": 5, "SOFTMAX": 2}


def test_codes_beyond_a_byte_and_custom_operators_are_named() -> None:
    model = make_model(("GELU", 2), ("CUSTOM", 1, "FlexErf"), ("CUSTOM", 1, "Mine"), (9999, 1))
    assert operators(model) == {"CUSTOM:FlexErf": 1, "CUSTOM:Mine": 1, "GELU": 2, "OPERATOR_9999": 1}


def test_a_model_of_old_writers_has_its_code_in_the_old_field() -> None:
    code = schema.OperatorCodeT()
    code.deprecatedBuiltinCode, code.builtinCode, code.version = schema.BuiltinOperator.CONV_2D, 0, 3
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [code]
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), b"TFL3")
    assert operators(bytes(builder.Output())) == {"CONV_2D": 3}


@pytest.mark.parametrize(
    ("used", "phrase"),
    [
        ({"FULLY_CONNECTED": 12}, "FULLY_CONNECTED has version 12, tflite-runtime 2.14 knows up to 10"),
        ({"BROADCAST_TO": 1}, "BROADCAST_TO has version 1, tflite-runtime 2.14 knows 2 to 3"),
        ({"STABLEHLO_ADD": 1}, "tflite-runtime 2.14 doesn't know the operator STABLEHLO_ADD"),
        ({"CUSTOM:FlexErf": 1}, "the TensorFlow (flex) operator FlexErf is in no plain TFLite runtime"),
        ({"CUSTOM:Mine": 1}, "the custom operator Mine is in no plain TFLite runtime"),
    ],
)
def test_what_the_old_runtime_lacks_is_named(used: dict[str, int], phrase: str) -> None:
    assert unsupported(used | {"CONV_2D": 3}) == [phrase]


def test_operators_within_their_versions_pass() -> None:
    assert unsupported({"CONV_2D": 7, "FULLY_CONNECTED": 10, "BROADCAST_TO": 2, "MUL": 1}) == []


@pytest.mark.parametrize("model", [b"", b"PK\3\4 not a model", b"\x1c\0\0\0TFL3"])
def test_what_is_no_model_is_refused(model: bytes) -> None:
    with pytest.raises(BundleError, match="TFLite model"):
        operators(model)


@settings(deadline=None)  # this machine may be busy
@given(cut=st.integers(8, 200), junk=st.binary(max_size=64))
def test_a_damaged_model_gives_its_operators_or_one_error(cut: int, junk: bytes) -> None:
    whole = make_model(("CONV_2D", 3), ("FULLY_CONNECTED", 4), ("CUSTOM", 1, "Mine"))
    try:
        operators(whole[:cut] + junk)
    except BundleError as error:
        assert "\n" not in str(error)
