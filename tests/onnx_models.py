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


def contradicting_branches() -> Any:
    """x [n, t] -> y by one of two matrices, chosen by `wide`: whatever t is, one of them does not fit."""
    from onnx import TensorProto, helper, numpy_helper

    def branch(name: str, rows: int) -> Any:
        weight = numpy_helper.from_array(np.full((rows, 2), 0.5, np.float32), f"{name}_w")
        node = helper.make_node("MatMul", ["x", f"{name}_w"], [f"{name}_y"])
        output = helper.make_tensor_value_info(f"{name}_y", TensorProto.FLOAT, None)
        return helper.make_graph([node], name, [], [output], [weight])

    choice = helper.make_node(
        "If", ["wide"], ["y"], then_branch=branch("wide", 8), else_branch=branch("narrow", 4)
    )
    graph = helper.make_graph(
        [choice],
        "test",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "t"]),
            helper.make_tensor_value_info("wide", TensorProto.BOOL, [1]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", None])],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sparse_weight() -> Any:
    """x [n, 4] times a sparse [4, 3] matrix with the values 1, 2 and 3."""
    from onnx import TensorProto, helper, numpy_helper

    whole = model([("MatMul", ["x", "w"], "y", {})], {"x": ["n", 4]}, {"y": ["n", 3]}, {})
    values = numpy_helper.from_array(np.array([1, 2, 3], np.float32), "w")
    places = helper.make_tensor("places", TensorProto.INT64, [3], [0, 4, 11])
    whole.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4, 3]))
    return whole


def bfloat16() -> Any:
    """x [n, 8] times a matrix in bfloat16, for which ONNX Runtime has no kernel on a CPU."""
    from onnx import TensorProto

    weight = np.linspace(-1, 1, 16).reshape(8, 2).astype(np.float32)
    nodes: list[Node] = [
        ("Cast", ["x"], "short_x", {"to": TensorProto.BFLOAT16}),
        ("Cast", ["w"], "short_w", {"to": TensorProto.BFLOAT16}),
        ("MatMul", ["short_x", "short_w"], "short_y", {}),
        ("Cast", ["short_y"], "y", {"to": TensorProto.FLOAT}),
    ]
    return model(nodes, {"x": ["n", 8]}, {"y": ["n", 2]}, {"w": weight})


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


def stateful_without_names(multiple: int = 80) -> Any:
    """x [?, ?] and a state [2, ?, 4] of the same batch -> y: frames of so many values, their sum and the state."""
    from onnx import TensorProto, helper, numpy_helper

    frames = numpy_helper.from_array(np.array([0, -1, multiple]), "frames")
    axes = numpy_helper.from_array(np.array([1, 2]), "axes")
    weight = numpy_helper.from_array(np.full((1, 4), 0.5, np.float32), "weight")
    nodes = [
        helper.make_node("Reshape", ["x", "frames"], ["framed"]),
        helper.make_node("ReduceSum", ["framed", "axes"], ["sums"], keepdims=0),
        helper.make_node("Reshape", ["sums", "column"], ["one"]),
        helper.make_node("MatMul", ["one", "weight"], ["wide"]),
        helper.make_node("Concat", ["wide", "wide"], ["both"], axis=0),
        helper.make_node("Reshape", ["both", "state_shape"], ["like_state"]),
        helper.make_node("Concat", ["like_state", "state"], ["y"], axis=0),
    ]
    column = numpy_helper.from_array(np.array([-1, 1]), "column")
    state_shape = numpy_helper.from_array(np.array([2, -1, 4]), "state_shape")
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, None, 4]),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [4, None, 4])],
        [frames, axes, weight, column, state_shape],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
