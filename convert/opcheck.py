"""Which operators a TFLite model uses, in which versions, and whether an old runtime knows them."""

from __future__ import annotations

import struct
from typing import Any

from mien.edge.errors import BundleError, RuntimeMissing

from .operators_2_14 import HIGHEST_VERSION, LOWEST_VERSION, RUNTIME


def operators(model: bytes) -> dict[str, int]:
    """Operator → highest version in a TFLite flatbuffer, by name; a custom one as ``CUSTOM:name``.

    Every operator that the model declares counts, used or not: a runtime resolves them all when it loads.
    Raises BundleError if `model` isn't a TFLite model.
    """
    form = schema()
    names = {code: name for name, code in vars(form.BuiltinOperator).items() if not name.startswith("_")}
    try:
        if model[4:8] != b"TFL3":
            raise BundleError("not a TFLite model (no TFL3 mark): convert it again")
        root = form.Model.GetRootAs(model, 0)
        found: dict[str, int] = {}
        for i in range(root.OperatorCodesLength()):
            operator = root.OperatorCodes(i)
            # Codes over 127 came later, in a wider field; writers fill the old byte with 127 then.
            # Source: tensorflow/compiler/mlir/lite/schema/schema_utils.cc, GetBuiltinCode.
            code = max(operator.BuiltinCode(), operator.DeprecatedBuiltinCode())
            name = names.get(code, f"OPERATOR_{code}")
            if name == "CUSTOM":
                name = f"CUSTOM:{(operator.CustomCode() or b'?').decode(errors='replace')}"
            found[name] = max(found.get(name, 0), operator.Version())
    except (struct.error, IndexError, TypeError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"a damaged TFLite model ({error}): copy or convert it again") from error
    return dict(sorted(found.items()))


def unsupported(found: dict[str, int]) -> list[str]:
    """What tflite-runtime 2.14 lacks for a model with these operators, a phrase each; empty if nothing."""
    problems = []
    for name, version in found.items():
        if name.startswith("CUSTOM:"):
            kind = "TensorFlow (flex)" if name.startswith("CUSTOM:Flex") else "custom"
            problems.append(f"the {kind} operator {name.removeprefix('CUSTOM:')} is in no plain TFLite runtime")
        elif name not in HIGHEST_VERSION:
            problems.append(f"{RUNTIME} doesn't know the operator {name}")
        elif not LOWEST_VERSION[name] <= version <= HIGHEST_VERSION[name]:
            lowest, highest = LOWEST_VERSION[name], HIGHEST_VERSION[name]
            known = f"up to {highest}" if lowest == 1 else f"{lowest} to {highest}"
            problems.append(f"{name} has version {version}, {RUNTIME} knows {known}")
    return problems


def schema() -> Any:
    """LiteRT's module of the TFLite format's classes. Raises RuntimeMissing."""
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise RuntimeMissing(f"reading a TFLite model needs LiteRT: pip install 'mien[train]' ({error})") from error
    return schema_py_generated
