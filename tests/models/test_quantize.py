"""int8 by ONNX Runtime's quantizer: files differ, run, and stay close to fp32."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models import onnx_file, quantize
from tests import onnx_models as models


def images(count: int, seed: int = 1) -> Iterator[dict[str, Any]]:
    rng = np.random.RandomState(seed)
    for _ in range(count):
        yield {"image": rng.normal(0, 1, (1, 3, 8, 8)).astype(np.float32)}


def frozen(batch: int = 1) -> Any:
    model = models.convolution()
    return onnx_file.freeze(model, onnx_file.resolve_shapes(model, {}, batch))


def answers(model: Any, folder: Path, batch: int = 1) -> Any:
    path = folder / "model.onnx"
    onnx_file.save_model(model, path)
    rows = [item["image"] for item in images(16, seed=2)]
    stacked = [np.concatenate(rows[i : i + batch]) for i in range(0, 16, batch)]
    return np.concatenate([models.run(path, {"image": image})[0] for image in stacked])


def relative_error(mine: Any, theirs: Any) -> float:
    return float(np.linalg.norm(mine - theirs) / np.linalg.norm(theirs))


def test_static_int8_stays_close_and_holds_int8_weights(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = quantize.quantize_static(frozen(), images(8), batch=1)
    assert capfd.readouterr().out == ""
    _, weights = onnx_file.precision_census(model)
    assert weights["int8"] >= 8 * 3 * 9 + 8 * 5
    assert onnx_file.opset_of(model) <= onnx_file.MAX_OPSET
    error = relative_error(answers(model, tmp_path), answers(frozen(), tmp_path))
    assert 1e-5 < error < 0.1


def ending_in(outputs: int) -> Any:
    """Two products, the second with so many outputs."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.RandomState(0)
    weights = {"first": (64, 64), "second": (64, outputs)}
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "first"], ["h"], "begin"),
            helper.make_node("Relu", ["h"], ["r"], "between"),
            helper.make_node("MatMul", ["r", "second"], ["y"], "end"),
        ],
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs])],
        [
            numpy_helper.from_array(rng.normal(0, 0.1, shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def rows() -> Iterator[dict[str, Any]]:
    rng = np.random.RandomState(2)
    for _ in range(8):
        yield {"x": rng.normal(0, 1, (1, 64)).astype(np.float32)}


@pytest.mark.parametrize(
    ("outputs", "floats"),
    [
        (2, {"second"}),  # 128 of 4224 weights
        (64, set()),
    ],
)
def test_a_light_last_group_stays_in_fp32(outputs: int, floats: set[str]) -> None:
    made = quantize.quantize_static(ending_in(outputs), rows(), 1)
    kept = {
        t.name.rstrip(".")
        for t in made.graph.initializer
        if t.data_type == 1 and t.dims and t.dims[0] == 64 and len(t.dims) == 2
    }
    assert kept == floats


def test_a_model_of_one_group_becomes_int8_all_the_same() -> None:
    model = ending_in(2)
    del model.graph.node[:2]
    model.graph.node[0].input[0] = "x"
    made = quantize.quantize_static(model, rows(), 1)
    assert onnx_file.precision_census(made)[1]["int8"] >= 128


def test_static_ranges_do_not_depend_on_the_batch(tmp_path: Path) -> None:
    single = quantize.quantize_static(frozen(), images(6), batch=1)
    fours = quantize.quantize_static(frozen(4), images(6), batch=4)
    assert np.allclose(answers(single, tmp_path), answers(fours, tmp_path, batch=4), atol=1e-6)


def test_dynamic_int8_quantises_products_and_leaves_convolutions(tmp_path: Path) -> None:
    model = quantize.quantize_dynamic(frozen())
    ops = {node.op_type for node in model.graph.node}
    assert "Conv" in ops
    assert "MatMulInteger" in ops
    error = relative_error(answers(model, tmp_path), answers(frozen(), tmp_path))
    assert 1e-5 < error < 0.1


def test_a_model_without_weights_has_no_int8() -> None:
    with pytest.raises(UnsupportedError, match="no weights"):
        quantize.quantize_dynamic(onnx_file.freeze(models.constant(), {"x": [1, 4]}))


def test_no_calibration_inputs_is_an_error() -> None:
    with pytest.raises(EdgebenchError, match="calibration"):
        quantize.quantize_static(frozen(), iter(()), batch=1)


def test_a_shared_bias_whose_new_name_is_taken(tmp_path: Path) -> None:
    """The quantizer names the copy of a shared bias by appending digits, whoever has that name."""
    rng = np.random.RandomState(0)
    nodes: list[Any] = [
        ("Conv", ["image", "k1", "c"], "first", {}),
        ("Conv", ["first", "k2", "c"], "c0", {}),
        ("Neg", ["c0"], "y", {}),
    ]
    weights = {
        "k1": rng.normal(0, 1, (3, 3, 1, 1)),
        "k2": rng.normal(0, 1, (3, 3, 1, 1)),
        "c": np.ones(3),
    }
    model = models.model(nodes, {"image": [1, 3, 8, 8]}, {"y": [1, 3, 8, 8]}, weights)
    fp32 = answers(model, tmp_path)
    int8 = quantize.quantize_static(model, images(8), batch=1)
    assert relative_error(answers(int8, tmp_path), fp32) < 0.1


@pytest.mark.parametrize(
    ("machine", "flags", "reduced"),
    [
        ("x86_64", "flags: avx2 avx512f", True),
        ("x86_64", "flags: avx512f avx512_vnni", False),
        ("x86_64", "flags: avx2 avx_vnni", False),
        ("aarch64", "Features: asimd", False),
        ("arm64", None, False),
        ("x86_64", None, True),
    ],
)
def test_weights_are_narrowed_only_where_products_saturate(
    tmp_path: Path, machine: str, flags: str | None, reduced: bool
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    if flags is not None:
        cpuinfo.write_text(flags)
    assert quantize.weights_need_reduced_range(machine, cpuinfo) is reduced
