"""Tiny ONNX models for tests of `edgebench.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Shape = list[int | str]
Node = tuple[str, list[str], str, dict[str, Any]]  # operator, inputs, output, attributes


def convolution(shape: Shape | None = None, opset: int = 13) -> Any:
    """image -> Conv 3x3 with bias -> Relu -> global average -> Gemm -> logits, [n, 3, h, w] -> [n, 5]."""
    rng = np.random.RandomState(0)
    weights = {
        "kernel": rng.normal(0, 0.3, (8, 3, 3, 3)),
        "bias": rng.normal(0, 0.3, 8),
        "dense": rng.normal(0, 0.3, (8, 5)),
        "offset": rng.normal(0, 0.3, (1, 5)),
    }
    nodes: list[Node] = [
        ("Conv", ["image", "kernel", "bias"], "filtered", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["filtered"], "positive", {}),
        ("GlobalAveragePool", ["positive"], "pooled", {}),
        ("Flatten", ["pooled"], "flat", {}),
        ("Gemm", ["flat", "dense", "offset"], "logits", {}),
    ]
    return model(
        nodes, {"image": shape or ["batch", 3, 8, 8]}, {"logits": ["n", 5]}, weights, opset
    )


def shape_arithmetic() -> Any:
    """x [n, 4, t] -> flattened to [n, 4 t] through Shape, Gather and Concat, then scaled."""
    weights = {
        "zero": np.array(0, np.int64),
        "rest": np.array([-1], np.int64),
        "axis": np.array([0], np.int64),
        "scale": np.array(2, np.float32),
    }
    nodes: list[Node] = [
        ("Shape", ["x"], "sizes", {}),
        ("Gather", ["sizes", "zero"], "count", {}),
        ("Unsqueeze", ["count", "axis"], "counts", {}),
        ("Concat", ["counts", "rest"], "target", {"axis": 0}),
        ("Reshape", ["x", "target"], "flat", {}),
        ("Mul", ["flat", "scale"], "y", {}),
    ]
    return model(nodes, {"x": ["n", 4, "t"]}, {"y": ["n", "m"]}, weights)


def two_sequences() -> Any:
    """Sum of two inputs that share their axes by name."""
    shape: Shape = ["batch", "sequence"]
    return model(
        [("Add", ["ids", "mask"], "y", {})], {"ids": shape, "mask": shape}, {"y": shape}, {}
    )


def constant() -> Any:
    """An answer that does not depend on the input."""
    nodes: list[Node] = [
        ("Mul", ["x", "zero"], "nothing", {}),
        ("Add", ["nothing", "one"], "y", {}),
    ]
    weights = {"zero": np.zeros(1, np.float32), "one": np.ones(1, np.float32)}
    return model(nodes, {"x": [1, 4]}, {"y": [1, 4]}, weights)


def model(
    nodes: list[Node],
    inputs: dict[str, Shape],
    outputs: dict[str, Shape],
    weights: dict[str, Any],
    opset: int = 13,
) -> Any:
    from onnx import TensorProto, helper, numpy_helper

    def values(shapes: dict[str, Shape]) -> list[Any]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
            for name, shape in shapes.items()
        ]

    constants = []
    for name, array in weights.items():
        array = np.asarray(array)
        typed = array.astype(np.float32) if array.dtype == np.float64 else array
        constants.append(numpy_helper.from_array(typed, name))
    graph = helper.make_graph(
        [helper.make_node(op, ins, [out], **attributes) for op, ins, out, attributes in nodes],
        "test",
        values(inputs),
        values(outputs),
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def run(path: Path, feeds: dict[str, Any]) -> list[Any]:
    import onnxruntime as ort

    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))
