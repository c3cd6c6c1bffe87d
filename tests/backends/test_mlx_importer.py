"""The importer: what is folded, re-traced, walked, laid out and refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("mlx.core")
onnx = pytest.importorskip("onnx")

from edgebench.backends.mlx.arrays import to_numpy
from edgebench.backends.mlx.program import Program
from edgebench.backends.mlx.unsupported import UnsupportedOperator

TensorProto, helper, numpy_helper = onnx.TensorProto, onnx.helper, onnx.numpy_helper

FLOAT, INT64, DOUBLE = TensorProto.FLOAT, TensorProto.INT64, TensorProto.DOUBLE


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[int, list[Any]]],
    outputs: dict[str, int],
    weights: dict[str, Any] | None = None,
    opset: int = 17,
) -> Any:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(n, kind, None) for n, kind in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def run(program: Program, **samples: Any) -> list[Any]:
    return [to_numpy(output) for output in program.run(samples)]


def steps(program: Program, **samples: Any) -> list[str]:
    plan = program.plan(samples)
    assert plan is not None
    return [step.node.operator for step in plan.steps]


def test_shape_arithmetic_leaves_no_step() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["rows"]),
        helper.make_node("Unsqueeze", ["rows", "axes"], ["rows1"]),
        helper.make_node("Concat", ["rows1", "minus"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    weights = {
        "zero": np.array(0, np.int64),
        "axes": np.array([0], np.int64),
        "minus": np.array([-1], np.int64),
    }
    program = Program(model(nodes, {"x": (FLOAT, [2, 3, 4])}, {"y": FLOAT}, weights))
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

    (y,) = run(program, x=x)

    np.testing.assert_array_equal(y, x.reshape(2, 12))
    assert steps(program, x=x).count("Reshape") == 1
    assert not {"Gather", "Unsqueeze", "Concat"} & set(steps(program, x=x))


def test_a_chain_of_convolutions_is_transposed_once_each_way() -> None:
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "w2": rng.standard_normal((4, 4, 1, 1)).astype(np.float32),
        "bias": rng.standard_normal((4, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["a", "bias"], ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "w2"], ["d"]),
        helper.make_node("Add", ["d", "a"], ["e"]),
        helper.make_node("MaxPool", ["e"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    proto = model(nodes, {"x": (FLOAT, [1, 3, 8, 8])}, {"y": FLOAT}, weights)
    program = Program(proto)
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)

    (y,) = run(program, x=x)

    import onnxruntime

    session = onnxruntime.InferenceSession(_as_old_ir(proto))
    np.testing.assert_allclose(y, session.run(None, {"x": x})[0], rtol=1e-4, atol=1e-5)
    assert steps(program, x=x).count("Transpose") == 2


def _as_old_ir(proto: Any) -> bytes:
    proto.ir_version = 8
    serialized: bytes = proto.SerializeToString()
    return serialized


def test_a_shape_that_is_an_input_makes_a_plan_for_each_value() -> None:
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["y"])]
    program = Program(model(nodes, {"x": (FLOAT, [6]), "shape": (INT64, [2])}, {"y": FLOAT}))
    x = np.arange(6, dtype=np.float32)

    first = run(program, x=x, shape=np.array([2, 3]))[0]
    second = run(program, x=x, shape=np.array([3, 2]))[0]

    assert (first.shape, second.shape) == ((2, 3), (3, 2))
    assert program.by_value == {"shape"}
    assert not program.data_dependent


def test_nodes_whose_shape_depends_on_data_are_listed() -> None:
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node("NonZero", ["r"], ["y"], name="where"),
    ]
    program = Program(model(nodes, {"x": (FLOAT, [4])}, {"y": INT64}))

    (y,) = run(program, x=np.array([-1, 2, 0, 3], np.float32))

    np.testing.assert_array_equal(y, [[1, 3]])
    assert list(program.data_dependent) == ["where (NonZero)"]


@pytest.mark.parametrize(("a", "b", "want"), [(-7, 2, -3), (7, -2, -3), (-8, 2, -4), (7, 2, 3)])
def test_integer_division_goes_toward_zero(a: int, b: int, want: int) -> None:
    nodes = [helper.make_node("Div", ["a", "b"], ["y"])]
    program = Program(model(nodes, {"a": (INT64, [1]), "b": (INT64, [1])}, {"y": INT64}))

    (y,) = run(program, a=np.array([a]), b=np.array([b]))

    assert y.tolist() == [want]


def test_float64_that_mlx_would_round_is_refused_before_running() -> None:
    program = Program(
        model(
            [helper.make_node("Exp", ["x"], ["y"], name="e")],
            {"x": (DOUBLE, [2])},
            {"y": DOUBLE},
        )
    )

    with pytest.raises(UnsupportedOperator, match=r"'e' \(Exp\).*float64"):
        run(program, x=np.array([0.1, 0.2]))


def test_an_unknown_operator_is_refused_while_loading() -> None:
    nodes = [helper.make_node("StringNormalizer", ["x"], ["y"], name="s")]

    with pytest.raises(UnsupportedOperator, match="string"):
        Program(model(nodes, {"x": (TensorProto.STRING, [2])}, {"y": TensorProto.STRING}))


def test_an_attribute_nobody_reads_is_refused() -> None:
    nodes = [helper.make_node("LSTM", ["x", "w", "r"], ["y"], hidden_size=2, input_forget=1)]
    weights = {"w": np.zeros((1, 8, 3), np.float32), "r": np.zeros((1, 8, 2), np.float32)}
    program = Program(model(nodes, {"x": (FLOAT, [2, 1, 3])}, {"y": FLOAT}, weights))

    with pytest.raises(UnsupportedOperator, match="input_forget"):
        run(program, x=np.zeros((2, 1, 3), np.float32))


def test_half_precision_computes_in_half_and_answers_in_float32() -> None:
    weights = {"w": np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    program = Program(model(nodes, {"x": (FLOAT, [2, 8])}, {"y": FLOAT}, weights), policy="float16")
    x = np.ones((2, 8), np.float32)

    plan = program.plan({"x": x})

    assert plan is not None
    assert plan.compute == {"float16": 1}
    assert plan.weight_bytes() == {"float16": 128}
