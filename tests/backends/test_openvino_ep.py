"""onnxruntime-ep-openvino for real: on a processor of Intel, or an emulated one (make test-openvino-ep)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgebench.backend import Scalar
from tests.backends.openvino_ep_session import RUNS, Told
from tests.processors import intel_python

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime_ep_openvino", reason="make test-openvino-ep brings it")
pytestmark = pytest.mark.slow

_EP = "OpenVINOExecutionProvider"
#: Of the largest output: what other orders of summing in fp32 explain for these sums of 144 products.
_ROUNDING = 5e-6
_PLAIN: dict[str, Scalar] = {"threads": 1}
_PLUGIN: dict[str, Scalar] = {"provider": "openvino-ep", "threads": 1}


def _told(path: Path, variants: Sequence[dict[str, Scalar]]) -> list[Told]:
    python = intel_python()
    if python is None:
        pytest.skip("openvino-ep computes on Intel's processors; qemu-user-static emulates one")
    done = subprocess.run(
        [
            *(*python, "-m", "tests.backends.openvino_ep_session", str(path)),
            *map(json.dumps, [_PLAIN, *variants]),
        ],
        capture_output=True,
        cwd=Path(__file__).parents[2],
        timeout=250,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=list[Told])[1:]


def _network(path: Path, between: str, domain: str = "") -> Path:
    """Two convolutions with an operator between them."""
    helper, types = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(3)
    weights = [
        onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
        for name, shape in (("w1", (16, 3, 3, 3)), ("w2", (16, 16, 3, 3)))
    ]
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], name="first", pads=[1] * 4),
        helper.make_node(between, ["a"], ["b"], name="between", domain=domain),
        helper.make_node("Conv", ["b", "w2"], ["y"], name="second", pads=[1] * 4),
    ]
    graph = helper.make_graph(
        nodes,
        "two convolutions",
        [helper.make_tensor_value_info("x", types.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", types.FLOAT, [1, 16, 16, 16])],
        weights,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def test_it_computes_tells_its_nodes_and_refuses_what_it_would_not_heed(tmp_path: Path) -> None:
    def given(**options: str) -> dict[str, Scalar]:
        return {**_PLUGIN, "provider_options": json.dumps({"openvino-ep": options})}

    chosen, cached, *refused = _told(
        _network(tmp_path / "m.onnx", "Relu"),
        [
            {**_PLUGIN, "device": "cpu"},
            given(load_config='{"CPU": {"NUM_STREAMS": "1"}}', cache_dir=str(tmp_path)),
            {**_PLUGIN, "device": "gpu"},
            given(precision="FP32"),
            given(nonsense="1"),
            given(load_config="[]"),
            given(load_config='{"CPU": {"NONSENSE": "1"}}'),
        ],
    )
    for told in (chosen, cached):
        assert told.refusal == ""
        assert told.error is not None
        assert told.error <= _ROUNDING
        assert told.profiled_error == 0
        assert told.effective is not None
        assert told.effective.device == "cpu"
        assert told.effective.threads == 1
        assert told.effective.providers == {_EP: 3}
        assert told.effective.precision is None
        assert any("told to compute floating point in f32" in n for n in told.effective.notes)
        assert '"NUM_STREAMS' not in str(chosen.effective)
        assert told.profile is not None
        (operator,) = told.profile.operators
        assert operator.nodes == ("first", "between", "second")
        assert (operator.kind, operator.device) == ("compiled subgraph", "cpu")
        assert len(operator.times_ns) == RUNS
    words = [told.refusal for told in refused]
    assert words[0] == "openvino-ep finds no gpu here (only cpu)"
    assert words[1] == "openvino-ep takes its option precision and does not heed it"
    assert "INFERENCE_PRECISION_HINT" in refused[1].fix
    assert words[2].startswith("openvino-ep has no option 'nonsense'")
    assert words[3].startswith("load_config is no JSON object of the settings of each device")
    assert "Unsupported property NONSENSE" in words[4]


def test_what_falls_back_is_told_node_by_node(tmp_path: Path) -> None:
    """OpenVINO has no operator Inverse of com.microsoft: ONNX Runtime's CPU computes it between two parts."""
    (told,) = _told(_network(tmp_path / "m.onnx", "Inverse", "com.microsoft"), [_PLUGIN])
    assert told.effective is not None
    assert told.effective.providers == {_EP: 2, "CPUExecutionProvider": 1}
    assert told.profile is not None
    found = {operator.nodes: operator.provider for operator in told.profile.operators}
    assert found == {("first",): _EP, ("between",): "CPUExecutionProvider", ("second",): _EP}
