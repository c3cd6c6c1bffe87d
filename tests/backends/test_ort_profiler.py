"""ONNX Runtime's profiler: every operator with the nodes of the file that it stands for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgebench import registry
from edgebench.backend import ModelFile, Session
from edgebench.errors import UnsupportedError
from edgebench.models.onnx_file import load_model, save_model
from edgebench.models.quantize import quantize_static
from edgebench.operator_times import OperatorTime, Profile

pytest.importorskip("onnxruntime")

from edgebench.backends import _ort_profiler as profiler

RUNS = 4
_SIZE = 16


def test_fused_convolution_stands_for_both_of_its_nodes(tmp_path: Path) -> None:
    found = _by_kind(_profile(_network(tmp_path)))
    assert [operator.nodes for operator in found["Conv"]] == [("conv", "relu")]
    assert found["Conv"][0].type == "fp32"
    assert all(operator.added for operator in found.get("ReorderOutput", []))


def test_integer_convolution_stands_for_its_conversions_too(tmp_path: Path) -> None:
    found = _by_kind(_profile(_quantised(_network(tmp_path), tmp_path)))
    operator = found["QLinearConv"][0]
    assert operator.nodes is not None
    assert "conv" in operator.nodes
    assert sum(node.endswith("_DequantizeLinear") for node in operator.nodes) >= 2
    assert operator.type == "int8"


def test_every_operator_has_a_time_per_run(tmp_path: Path) -> None:
    profile = _profile(_network(tmp_path))
    assert len(profile.runs_ns) == RUNS
    assert all(len(operator.times_ns) == RUNS for operator in profile.operators)
    sums = [sum(times) for times in zip(*(o.times_ns for o in profile.operators), strict=True)]
    assert all(total <= whole for total, whole in zip(sums, profile.runs_ns, strict=True))


def test_nodes_without_a_name_are_called_by_their_output(tmp_path: Path) -> None:
    model = load_model(_network(tmp_path).path)
    for node in model.graph.node:
        node.name = ""
    save_model(model, tmp_path / "nameless.onnx")
    profile = _profile(_file(tmp_path / "nameless.onnx"))
    named = {name for operator in profile.operators for name in operator.nodes or ()}
    assert named == {output for node in model.graph.node for output in node.output}


def test_profiled_runs_answer_as_the_session_does(tmp_path: Path) -> None:
    session = _opened(_network(tmp_path))
    feeds = _feeds(1)
    beside = session.profiler()
    prepared = session.prepare(feeds)
    expected = session.outputs_of(prepared, session.run(prepared))
    for name, array in beside.run(feeds).items():
        np.testing.assert_array_equal(array, expected[name])
    beside.finish()


def test_operators_of_a_branch_are_not_counted_twice() -> None:
    events = [
        {"cat": "Session", "name": "model_run", "ts": 0, "dur": 100, "args": {}},
        _event("branch", "If", 10, 50),
        _event("inner", "Add", 20, 30),
        _event("after", "Mul", 70, 10),
    ]
    timed = {each.name: each.times_ns for each in profiler._timed(events)}
    assert timed == {"branch": [20_000], "inner": [30_000], "after": [10_000]}


def test_runtime_without_a_profiler_says_so(tmp_path: Path) -> None:
    backend = registry.load("null")
    session = backend.open(_network(tmp_path), {})
    with pytest.raises(UnsupportedError, match="no times of operators"):
        session.profile([_feeds(1)], 1)


def _event(name: str, kind: str, start_us: int, length_us: int) -> Mapping[str, Any]:
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start_us,
        "dur": length_us,
        "tid": 1,
        "args": {"op_name": kind, "provider": "CPUExecutionProvider"},
    }


def _network(folder: Path) -> ModelFile:
    """Convolution, ReLU, flatten, fully connected."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    kernel = rng.standard_normal((8, 3, 3, 3)).astype(np.float32)
    dense = rng.standard_normal((8 * _SIZE * _SIZE, 4)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "kernel"], ["a"], name="conv", pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"], name="relu"),
            helper.make_node("Flatten", ["b"], ["c"], name="flatten"),
            helper.make_node("MatMul", ["c", "dense"], ["y"], name="dense"),
        ],
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, _SIZE, _SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(dense, "dense")],
    )
    path = folder / "network.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return _file(path)


def _quantised(model: ModelFile, folder: Path) -> ModelFile:
    made = quantize_static(load_model(model.path), [_feeds(seed) for seed in range(4)], batch=1)
    save_model(made, folder / "int8.onnx", keep_opset=True)
    return _file(folder / "int8.onnx")


def _file(path: Path) -> ModelFile:
    return ModelFile(path, "onnx", "0" * 64)


def _feeds(seed: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((1, 3, _SIZE, _SIZE)).astype(np.float32)}


def _opened(model: ModelFile) -> Session:
    backend = registry.load("ort")
    backend.import_runtime()
    return backend.open(model, {"threads": 1})


def _profile(model: ModelFile) -> Profile:
    return _opened(model).profile([_feeds(seed) for seed in range(3)], RUNS)


def _by_kind(profile: Profile) -> dict[str, list[OperatorTime]]:
    found: dict[str, list[OperatorTime]] = {}
    for operator in profile.operators:
        found.setdefault(operator.kind, []).append(operator)
    return found
