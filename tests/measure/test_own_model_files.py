"""Files as users have them, through the command line alone: what is right is measured and ranked, what is
not is refused with the fix. No module of ours is imported, so that these hold whatever is inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx: Any = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING
Described = Mapping[str, tuple[int, Any]]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def node(op_type: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(op_type, inputs.split(), outputs.split(), **attributes)


def model(
    folder: Path, nodes: list[Any], inputs: Described, outputs: Described, **weights: Any
) -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *told) for name, told in inputs.items()],
        [helper.make_tensor_value_info(name, *told) for name, told in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    path = folder / "m.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=opset), str(path))
    return path


def measured(cache: Path, path: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and the rows."""
    command = [sys.executable, "-m", "edgebench", "run", "--model", str(path), "--no-save", *words]
    command += ["--replicates", "1", "--slice", "50ms", "--format", "json"]
    environment = {**os.environ, "EDGEBENCH_CACHE": str(cache)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)["rows"]


def statuses(rows: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(row["backend"], row["status"], row["ranked"]) for row in rows]


def backends(*names: str) -> tuple[str, str]:
    packages = {"openvino": "openvino", "litert": "ai_edge_litert"}
    for name in names:
        if name in packages:
            pytest.importorskip(packages[name])
    return "--backend", ",".join(names)


def test_a_shape_that_is_an_input_is_one_that_the_data_has(cache: Path, tmp_path: Path) -> None:
    path = model(
        tmp_path,
        [node("Reshape", "x s", "r"), node("Relu", "r", "y")],
        {"x": (FLOAT, [1, 12]), "s": (INT, [2])},
        {"y": (FLOAT, None)},
    )
    code, rows = measured(cache, path)
    assert (code, statuses(rows)) == (0, [("ort", "ok", True)])


def test_an_index_into_a_table_of_one_row_is_0(cache: Path, tmp_path: Path) -> None:
    """RoBERTa's types of tokens: there is one."""
    path = model(
        tmp_path,
        [
            node("Gather", "words ids", "w"),
            node("Gather", "kinds types", "k"),
            node("Add", "w k", "y"),
        ],
        {"ids": (INT, [1, 8]), "types": (INT, [1, 8])},
        {"y": (FLOAT, [1, 8, 4])},
        words=np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4),
        kinds=np.ones((1, 4), np.float32),
    )
    code, rows = measured(cache, path)
    assert (code, statuses(rows)) == (0, [("ort", "ok", True)])


def test_a_model_that_is_random_by_itself_is_named_and_not_struck(
    cache: Path, tmp_path: Path
) -> None:
    path = model(
        tmp_path,
        [node("RandomNormalLike", "x", "n"), node("Add", "x n", "y")],
        {"x": (FLOAT, [1, 16])},
        {"y": (FLOAT, [1, 16])},
    )
    code, (row,) = measured(cache, path)
    assert (code, row["status"], row["ranked"]) == (0, "ok", False)
    assert "random by itself (RandomNormalLike 'n')" in row["reasons"][0]["message"]


def test_an_unknown_rank_is_asked_for_and_taken_as_told(cache: Path, tmp_path: Path) -> None:
    path = model(tmp_path, [node("Relu", "x", "y")], {"x": (FLOAT, None)}, {"y": (FLOAT, None)})
    code, (row,) = measured(cache, path)
    assert (code, row["ranked"]) == (1, False)
    assert "--shape x=" in row["reasons"][0]["fix"]
    code, (row,) = measured(cache, path, "--shape", "x=1,16")
    assert (code, row["ranked"]) == (0, True)
    assert row["effective"]["inputs"][0]["shape"] == [1, 16]


def test_an_input_without_axes_stays_one_in_every_runtime_and_batch(
    cache: Path, tmp_path: Path
) -> None:
    path = model(
        tmp_path,
        [node("Cast", "k", "c", to=FLOAT), node("Mul", "x c", "y")],
        {"x": (FLOAT, ["n", 8]), "k": (INT, [])},
        {"y": (FLOAT, ["n", 8])},
    )
    names = ("ort", "openvino", "litert")
    code, rows = measured(cache, path, *backends(*names), "--set", "batch=2")
    assert (code, statuses(rows)) == (0, [(name, "ok", True) for name in names])
    shapes = {i["name"]: i["shape"] for row in rows for i in row["effective"]["inputs"]}
    assert shapes == {"x": [2, 8], "k": []}


def test_outputs_that_are_one_tensor_an_input_or_a_weight_are_outputs(
    cache: Path, tmp_path: Path
) -> None:
    row = (FLOAT, [1, 4])
    path = model(
        tmp_path,
        [
            node("Relu", "x", "r"),
            node("Identity", "r", "a"),
            node("Identity", "r", "b"),
            node("Identity", "x", "c"),
        ],
        {"x": row},
        {"a": row, "b": row, "c": row, "w": row},
        w=np.ones((1, 4), np.float32),
    )
    names = ("ort", "openvino", "litert")
    code, rows = measured(cache, path, *backends(*names))
    assert (code, statuses(rows)) == (0, [(name, "ok", True) for name in names])


def test_labels_as_text_are_outputs(cache: Path, tmp_path: Path) -> None:
    path = model(
        tmp_path,
        [node("ArgMax", "x", "i", axis=1, keepdims=0), node("Gather", "names i", "label")],
        {"x": (FLOAT, ["n", 3])},
        {"label": (TEXT, ["n"])},
        names=np.array(["cat", "d\u00f6g", "bird"], object),
    )
    code, rows = measured(cache, path, "--set", "batch=1,4")
    assert (code, statuses(rows)) == (0, [("ort", "ok", True)] * 2)


def branch(name: str, rows: int) -> Any:
    weight = numpy_helper.from_array(np.full((rows, 3), 0.5, np.float32), f"{name}_w")
    output = helper.make_tensor_value_info(f"{name}_y", FLOAT, ["n", 3])
    matmul = node("MatMul", f"x {name}_w", f"{name}_y")
    return helper.make_graph([matmul], name, [], [output], [weight])


def test_a_branch_that_is_not_taken_forbids_no_size_and_each_size_is_its_own(
    cache: Path, tmp_path: Path
) -> None:
    """As silero_vad: the same file at 8 and at 12, one after the other with one cache."""
    path = model(
        tmp_path,
        [
            node("Shape", "x", "sizes"),
            node("Gather", "sizes one", "t"),
            node("Equal", "t eight", "narrow"),
            helper.make_node(
                "If", ["narrow"], ["y"], then_branch=branch("a", 8), else_branch=branch("b", 12)
            ),
        ],
        {"x": (FLOAT, ["n", "t"])},
        {"y": (FLOAT, ["n", 3])},
        one=np.array(1),
        eight=np.array(8),
    )
    for width in (8, 12):
        code, rows = measured(cache, path, "--shape", f"x=1,{width}")
        assert (code, statuses(rows)) == (0, [("ort", "ok", True)]), width
        assert rows[0]["quality"]["value"] == 0


CHEAT = '''
from edgebench import registry
from edgebench.backend import Backend, Capabilities, Session

class Early(Session):
    """Answers are made with the inputs; the measured call hands them on."""
    def __init__(self, inner):
        self.inner, self.inputs, self.outputs = inner, inner.inputs, inner.outputs
        self.run = lambda prepared: prepared[1]
    def prepare(self, feeds):
        prepared = self.inner.prepare(feeds)
        return prepared, self.inner.run(prepared)
    def outputs_of(self, prepared, raw):
        return self.inner.outputs_of(prepared[0], raw)
    def effective(self):
        return self.inner.effective()
    def close(self):
        self.inner.close()

class Cheat(Backend):
    name, summary = "cheat", "computes ahead"
    capabilities = Capabilities(formats=("onnx",), precisions=("as-is",), options=())
    inner = registry.load("ort")
    def availability(self):
        return self.inner.availability()
    def import_runtime(self):
        return self.inner.import_runtime()
    def open(self, model, options):
        return Early(self.inner.open(model, {"threads": 1}))
'''


def test_a_backend_that_computes_ahead_is_not_ranked(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "cheat.py").write_text(CHEAT)
    rng = np.random.default_rng(0)
    path = model(
        tmp_path,
        [node("MatMul", "x a", "h"), node("Relu", "h", "r"), node("MatMul", "r b", "y")],
        {"x": (FLOAT, [64, 512])},
        {"y": (FLOAT, [64, 512])},
        a=rng.standard_normal((512, 512), np.float32),
        b=rng.standard_normal((512, 512), np.float32),
    )
    code, (row,) = measured(cache, path, "--backend", f"{tmp_path / 'cheat.py'}:Cheat")
    assert (code, row["status"], row["ranked"]) == (1, "invalid", False)
    assert {reason["code"] for reason in row["reasons"]} & {"faster_than_the_machine", "moved_work"}
