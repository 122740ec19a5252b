"""Makes tiny_yunet.onnx: a network in YuNet's form that calls every bright 32×32 cell a face. Needs `pip install onnx`.

python tests/edge/assets/make_yunet.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

STRIDES = (8, 16, 32)


def main() -> None:
    nodes, outputs, constants = [], [], []

    def constant(name: str, values: np.ndarray) -> str:
        constants.append(numpy_helper.from_array(values, name))
        return name

    for stride in STRIDES:
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"mean_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        # cls and obj: (mean - 150) / 5 through a sigmoid at the coarsest stride, 0 at the others.
        bright = stride == STRIDES[-1]
        for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
            scores = kind in ("cls", "obj")
            weight = np.full((channels, 3, 1, 1), 1 / 3 / 5 if scores and bright else 0.0, np.float32)
            bias = np.full(channels, (-30.0 if scores else 0.0), np.float32)
            if kind == "bbox":
                bias[:2] = 0.5  # a cell's middle; the size is exp(0) cells
            name = f"{kind}_{stride}"
            inputs = [f"mean_{stride}", constant(f"w_{name}", weight), constant(f"b_{name}", bias)]
            nodes.append(helper.make_node("Conv", inputs, [f"map_{name}"], kernel_shape=[1, 1]))
            last = f"map_{name}"
            if scores:
                nodes.append(helper.make_node("Sigmoid", [last], [f"sigmoid_{name}"]))
                last = f"sigmoid_{name}"
            nodes.append(helper.make_node("Transpose", [last], [f"rows_{name}"], perm=[0, 2, 3, 1]))
            shape = constant(f"shape_{name}", np.array([1, -1, channels], np.int64))
            nodes.append(helper.make_node("Reshape", [f"rows_{name}", shape], [name]))
    for kind, channels in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        for stride in STRIDES:
            shape = [1, (64 // stride) ** 2, channels]
            outputs.append(helper.make_tensor_value_info(f"{kind}_{stride}", TensorProto.FLOAT, shape))
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 64, 64])
    graph = helper.make_graph(nodes, "tiny_yunet", [source], outputs, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6)
    checker.check_model(model)
    save(model, str(Path(__file__).with_name("tiny_yunet.onnx")))


if __name__ == "__main__":
    main()
