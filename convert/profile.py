"""What each operator of a TFLite model costs: every one is cut out into a model of its own and timed."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from mien.edge.errors import BundleError
from mien.edge.runtime import make_interpreter

from .opcheck import schema as tflite_schema


@dataclass(frozen=True)
class Cost:
    """One operator, or the whole model."""

    operator: str
    output: tuple[int, ...]
    """Shape of its result."""
    multiply_accumulates: int
    """0 for what multiplies with no weights."""
    bytes: int
    """Its weights, as stored."""
    microseconds: float
    """Median, one thread, with the runtime's own overhead for one call."""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def profile_model(
    model: bytes, repeats: int = 200, progress: Callable[[int], None] = lambda done: None
) -> tuple[Cost, list[Cost]]:
    """The cost of a TFLite model, and of each of its operators in order. Raises BundleError.

    The operators take turns with the whole model, so that what else the machine does meets all of them. Their
    sum lies above the whole: each pays for a call, and none finds its input in the innermost cache.
    """
    schema = tflite_schema()
    try:
        parsed = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
        graph = parsed.subgraphs[0]
        singles = [_single(parsed, operator, schema) for operator in graph.operators]
    except (AttributeError, IndexError, TypeError, ValueError) as error:
        raise BundleError(f"a damaged TFLite model ({error}): convert it again") from error
    runners = [make_interpreter(each) for each in (model, *singles)]
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(repeats + 5):
        for runner, measured in zip(runners, times, strict=True):
            start = time.perf_counter()
            runner.invoke()
            if turn >= 5:  # the first calls pack weights and warm caches up
                measured.append(1e6 * (time.perf_counter() - start))
        progress(turn + 1)
    medians = [statistics.median(measured) for measured in times]
    costs = [
        _cost(parsed, operator, schema, microseconds)
        for operator, microseconds in zip(graph.operators, medians[1:], strict=True)
    ]
    output = tuple(int(side) for side in graph.tensors[graph.outputs[0]].shape)
    total = sum(cost.multiply_accumulates for cost in costs)
    return Cost("whole model", output, total, len(model), round(medians[0], 1)), costs


def _single(parsed: Any, operator: Any, schema: Any) -> bytes:
    """A model of one operator alone: it takes what it computes from and keeps its constants."""
    import flatbuffers

    graph = parsed.subgraphs[0]
    inputs, outputs = [int(i) for i in operator.inputs], [int(i) for i in operator.outputs]
    used = list(dict.fromkeys(i for i in [*inputs, *outputs] if i >= 0))
    place = {old: new for new, old in enumerate(used)} | {-1: -1}  # −1 stands for an input that is left out
    tensors, buffers = [copy.copy(graph.tensors[i]) for i in used], [schema.BufferT()]
    for tensor in tensors:
        data = parsed.buffers[tensor.buffer].data
        tensor.buffer = 0
        if data is not None and len(data):
            buffers.append(schema.BufferT())
            buffers[-1].data = data
            tensor.buffer = len(buffers) - 1
    alone = copy.copy(operator)
    alone.opcodeIndex, alone.intermediates = 0, None
    alone.inputs, alone.outputs = [place[i] for i in inputs], [place[i] for i in outputs]
    part = schema.SubGraphT()
    part.tensors, part.operators, part.outputs = tensors, [alone], alone.outputs
    part.inputs = [place[i] for i in dict.fromkeys(inputs) if i >= 0 and not tensors[place[i]].buffer]
    whole = schema.ModelT()
    whole.version, whole.subgraphs, whole.buffers = parsed.version, [part], buffers
    whole.operatorCodes = [parsed.operatorCodes[operator.opcodeIndex]]
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _cost(parsed: Any, operator: Any, schema: Any, microseconds: float) -> Cost:
    graph, code = parsed.subgraphs[0], parsed.operatorCodes[operator.opcodeIndex]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
    output = tuple(int(side) for side in graph.tensors[operator.outputs[0]].shape)
    multiplications = 0
    if name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        kernel = [int(side) for side in graph.tensors[operator.inputs[1]].shape]
        # Kernels: [out, h, w, in] of CONV_2D, [1, h, w, out] of DEPTHWISE_CONV_2D, [out, in] of FULLY_CONNECTED.
        multiplications = math.prod(output[:-1]) * math.prod(kernel)
    weights = sum(
        len(parsed.buffers[graph.tensors[i].buffer].data)
        for i in operator.inputs
        if i >= 0 and parsed.buffers[graph.tensors[i].buffer].data is not None
    )
    return Cost(name, output, multiplications, weights, round(microseconds, 1))
