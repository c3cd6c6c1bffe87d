"""ONNX files: pinned versions, fixed shapes, folded arithmetic, metadata, the census."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.models import onnx_file
from tests import onnx_models as models


def saved(model: Any, folder: Path, name: str = "model.onnx") -> Path:
    onnx_file.save_model(model, folder / name)
    return folder / name


@pytest.mark.parametrize(("given_ir", "written_ir"), [(3, 8), (8, 8), (10, 10), (13, 10)])
def test_every_file_has_an_ir_version_that_old_runtimes_load(
    tmp_path: Path, given_ir: int, written_ir: int
) -> None:
    model = models.convolution()
    model.ir_version = given_ir
    assert onnx_file.load_model(saved(model, tmp_path)).ir_version == written_ir


def test_a_late_opset_is_refused_unless_the_model_came_with_it(tmp_path: Path) -> None:
    model = models.convolution(opset=18)
    with pytest.raises(EdgebenchError, match="opset 18"):
        onnx_file.save_model(model, tmp_path / "model.onnx")
    onnx_file.save_model(model, tmp_path / "model.onnx", keep_opset=True)
    assert onnx_file.opset_of(onnx_file.load_model(tmp_path / "model.onnx")) == 18


def test_an_invalid_model_is_not_written(tmp_path: Path) -> None:
    model = models.convolution()
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(EdgebenchError, match="not a valid ONNX model"):
        onnx_file.save_model(model, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x0a", bytes(1000)])
def test_a_file_that_is_not_an_onnx_model_is_one_clear_error(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(EdgebenchError, match=r"model\.onnx (cannot be read as an ONNX|is empty)"):
        onnx_file.load_model(path)


def test_freezing_folds_shape_arithmetic_and_keeps_the_answer(tmp_path: Path) -> None:
    model = models.shape_arithmetic()
    before = saved(model, tmp_path, "before.onnx")
    shapes = onnx_file.resolve_shapes(model, {"x": ["batch", 4, 3]}, batch=2)
    frozen = onnx_file.freeze(model, shapes)
    after = saved(frozen, tmp_path, "after.onnx")
    assert {node.op_type for node in frozen.graph.node} == {"Reshape", "Mul"}
    inputs, outputs = onnx_file.describe(frozen)
    assert (inputs[0].shape, outputs[0].shape) == ((2, 4, 3), (2, 12))
    assert {o.domain for o in frozen.opset_import} == {""}
    x = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    assert np.array_equal(models.run(before, {"x": x})[0], models.run(after, {"x": x})[0])


def test_freezing_keeps_metadata(tmp_path: Path) -> None:
    model = models.convolution()
    entry = model.metadata_props.add()
    entry.key, entry.value = "character", "a\nb\nλ"
    frozen = onnx_file.freeze(model, onnx_file.resolve_shapes(model, {}, batch=1))
    assert onnx_file.read_metadata(saved(frozen, tmp_path)) == {"character": "a\nb\nλ"}


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=4))
def test_metadata_is_read_as_onnx_reads_it(metadata: dict[str, str]) -> None:
    import tempfile

    model = models.constant()
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        path.write_bytes(model.SerializeToString())
        assert onnx_file.read_metadata(path) == metadata


def test_metadata_of_a_torn_file_is_an_error(tmp_path: Path) -> None:
    path = saved(models.convolution(), tmp_path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EdgebenchError, match="cannot be read"):
        onnx_file.read_metadata(path)


def test_input_names_are_those_that_onnx_reads(tmp_path: Path) -> None:
    """Weights that the file lists among its inputs are none; a file that ends too early is an error."""
    model = models.convolution()
    weight = model.graph.initializer[0]
    model.graph.input.add().name = weight.name
    sparse = model.graph.sparse_initializer.add()
    sparse.values.name = model.graph.input.add().name = "few"
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert onnx_file.input_names(path) == [v.name for v in onnx_file.graph_inputs(model)] != []
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(EdgebenchError, match="cannot be read"):
        onnx_file.input_names(path)


def test_an_input_that_does_not_exist_is_suggested() -> None:
    with pytest.raises(UsageError, match="no input 'imag'; did you mean 'image'"):
        onnx_file.resolve_shapes(models.convolution(), {"imag": [1, 3, 8, 8]}, batch=1)


@pytest.mark.parametrize("size", [-1, 0])
def test_an_axis_of_no_size_is_open(size: int) -> None:
    """So some exporters write it."""
    model = models.convolution([size, 3, size, 8])
    inputs, _ = onnx_file.describe(model)
    assert inputs[0].shape == (None, 3, None, 8)
    with pytest.raises(UsageError, match="'image': axis 2 is open") as caught:
        onnx_file.resolve_shapes(model, {}, batch=2)
    assert caught.value.fix.startswith("--shape image=1,3,224,8")
    shapes = onnx_file.resolve_shapes(model, {"image": ["batch", 3, 4, 8]}, batch=2)
    inputs, outputs = onnx_file.describe(onnx_file.freeze(model, shapes))
    assert (inputs[0].shape, outputs[0].shape) == ((2, 3, 4, 8), (2, 5))


def test_an_open_axis_must_be_given_and_the_error_says_how() -> None:
    model = models.convolution(["batch", 3, "height", "width"])
    told = r"'image': axis 2 \(height\) and axis 3 \(width\) are open"
    with pytest.raises(UsageError, match=told) as caught:
        onnx_file.resolve_shapes(model, {}, batch=1)
    assert caught.value.fix.startswith("--shape image=1,3,224,224")


def test_all_axes_that_are_open_are_told_at_once_with_all_shapes_to_give() -> None:
    """A decoder as people export it: following the fix must not lead to the next error."""
    from onnx import helper

    model = models.convolution(["batch", 3, 8, "time"])
    further: dict[str, list[int | str]] = {
        "state": ["batch", "time", 4],
        "other": ["batch", "steps"],
    }
    for name, dims in further.items():
        model.graph.input.append(helper.make_tensor_value_info(name, 1, dims))
    told = r"'image': axis 3 \(time\), input 'other': axis 1 \(steps\) are open, so their sizes"
    with pytest.raises(UsageError, match=told) as caught:
        onnx_file.resolve_shapes(model, {}, batch=1)
    assert caught.value.fix.startswith("--shape image=1,3,8,224 --shape other=1,224")
    shapes = onnx_file.resolve_shapes(model, {"image": [1, 3, 8, 16], "other": [1, 5]}, batch=1)
    assert shapes["state"] == [1, 16, 4]
    with pytest.raises(UsageError, match=r"input 'other': axis 1 \(steps\) is open") as caught:
        onnx_file.resolve_shapes(model, {"image": [1, 3, 8, 16]}, batch=1)
    assert caught.value.fix.startswith("--shape other=1,224")


@pytest.mark.parametrize(
    ("shape", "complaint"),
    [
        ([1, 3, 8], "has 4 axes, the shape given has 3"),
        ([1, 4, 8, 8], "axis 1 is 3 in the model, not 4"),
        ([1, 0, 8, 8], "0 is not a size"),
        ([1, "bach", 8, 8], "'bach' is not a size"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape: list[int | str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        onnx_file.resolve_shapes(models.convolution(), {"image": shape}, batch=1)


def test_a_leading_open_axis_is_the_batch() -> None:
    assert onnx_file.resolve_shapes(models.convolution(), {}, batch=4) == {"image": [4, 3, 8, 8]}


def test_axes_of_one_name_have_one_size() -> None:
    shapes = onnx_file.resolve_shapes(models.two_sequences(), {"ids": ["batch", 7]}, batch=2)
    assert shapes == {"ids": [2, 7], "mask": [2, 7]}


@pytest.mark.parametrize("wanted", [{}, {"image": ["batch", 3, 8, 8]}])
@pytest.mark.parametrize("size", [1, 8])
def test_a_fixed_leading_axis_takes_no_batch(wanted: dict[str, list[int | str]], size: int) -> None:
    """Not even one of its own size: an item is then as large as the batch."""
    with pytest.raises(UnsupportedError, match="batch"):
        onnx_file.resolve_shapes(models.convolution([size, 3, 8, 8]), wanted, batch=8)


def test_another_axis_than_the_leading_one_is_no_batch() -> None:
    model = models.convolution(["time", "items", 8, 8])
    wanted: dict[str, list[int | str]] = {"image": [7, "batch", 8, 8]}
    assert onnx_file.resolve_shapes(model, wanted, batch=1) == {"image": [7, 1, 8, 8]}
    with pytest.raises(UnsupportedError, match="joined along the leading axis"):
        onnx_file.resolve_shapes(model, wanted, batch=2)


def test_weights_beside_the_file_are_found_and_must_stay_beside_it(tmp_path: Path) -> None:
    import onnx

    path = tmp_path / "model.onnx"
    onnx.save(
        models.convolution(), str(path), save_as_external_data=True, location="w", size_threshold=0
    )
    assert onnx_file.external_files(path) == [(tmp_path / "w").resolve()]
    (tmp_path / "w").unlink()
    with pytest.raises(EdgebenchError, match="weights are missing: w"):
        onnx_file.external_files(path)
    hostile = onnx.load(str(path), load_external_data=False)
    hostile.graph.initializer[0].external_data[0].value = "../secret"
    path.write_bytes(hostile.SerializeToString())
    with pytest.raises(EdgebenchError, match="points outside its folder"):
        onnx_file.external_files(path)


def test_the_census_counts_precision_of_compute_and_bytes_of_weights() -> None:
    nodes, weights = onnx_file.precision_census(models.convolution())
    assert nodes == {"fp32": 2}
    assert weights == {"float32": 4 * (8 * 3 * 9 + 8 + 8 * 5 + 5)}


def test_the_census_tells_half_precision_and_unknown_types_apart() -> None:
    from onnx import TensorProto, numpy_helper

    model = models.convolution()
    half = numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float16), "kernel")
    model.graph.initializer[0].CopyFrom(half)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node[4].input[:] = ["flat", "nowhere"]
    nodes, weights = onnx_file.precision_census(model)
    assert nodes == {"fp16": 1, "unknown": 1}
    assert weights["float16"] == 2 * 8 * 3 * 9


@pytest.mark.parametrize(
    ("op", "precision"),
    [("QLinearConv", "int8"), ("MatMulInteger", "int8"), ("MatMulNBits", "int4"), ("Relu", None)],
)
def test_the_census_knows_quantised_operators(op: str, precision: str | None) -> None:
    model = models.constant()
    model.graph.node[0].op_type = op
    nodes, _ = onnx_file.precision_census(model)
    assert nodes == ({precision: 1} if precision else {})


def rankless() -> Any:
    """x @ w of an x, and to a y, of which the file tells the type alone."""
    model = models.model(
        [("MatMul", ["x", "w"], "y", {})], {"x": []}, {"y": []}, {"w": np.ones((16, 3))}
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.ClearField("shape")
    return model


def test_an_unknown_rank_is_unknown_and_no_scalar() -> None:
    [info], [made] = onnx_file.describe(rankless())
    assert info.shape is None
    assert made.shape is None
    assert info.sizes is None
    with pytest.raises(UsageError, match="not even its number of axes") as refused:
        onnx_file.resolve_shapes(rankless(), {}, batch=1)
    assert "--shape x=1,3,224,224" in refused.value.fix


def test_a_given_shape_gives_the_rank_as_well() -> None:
    cases: list[tuple[list[int | str], int, tuple[int, ...]]]
    cases = [([1, 16], 1, (1, 16)), (["batch", 16], 2, (2, 16))]
    for wanted, batch, sizes in cases:
        model = rankless()
        shapes = onnx_file.resolve_shapes(model, {"x": wanted}, batch=batch)
        [info], [made] = onnx_file.describe(onnx_file.freeze(model, shapes))
        assert info.shape == sizes
        assert made.shape == (batch, 3)


def test_a_scalar_is_a_shape_without_axes() -> None:
    model = models.model([("Relu", ["x"], "y", {})], {"x": []}, {"y": []}, {})
    [info], _ = onnx_file.describe(model)
    assert info.shape == ()
    assert onnx_file.resolve_shapes(model, {}, batch=1) == {"x": []}
    with pytest.raises(UsageError, match="has 0 axes") as refused:
        onnx_file.resolve_shapes(model, {"x": [1, 16]}, batch=1)
    assert "it is a scalar" in refused.value.fix
    model.graph.input[0].type.tensor_type.ClearField("shape")
    [info], _ = onnx_file.describe(onnx_file.freeze(model, {"x": []}))
    assert info.shape == ()


def test_an_output_of_unknown_rank_behind_an_operator_that_onnx_does_not_know(
    tmp_path: Path,
) -> None:
    """ONNX infers nothing behind it, and its checker demands a shape; ONNX Runtime knows."""
    from onnx import helper

    model = models.model([("Gelu", ["x"], "y", {})], {"x": ["n", 4]}, {"y": []}, {})
    model.graph.node[0].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    assert onnx_file.describe(model)[1][0].shape is None
    shapes = onnx_file.resolve_shapes(model, {}, batch=2)
    path = saved(onnx_file.freeze(model, shapes), tmp_path)
    [made] = onnx_file.describe(onnx_file.load_model(path))[1]
    assert made.shape in (None, (2, 4))
