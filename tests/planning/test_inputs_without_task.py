"""Inputs of a model file without a task: what the graph allows, what the user says, pictures, own files."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench.backend import TensorInfo
from edgebench.errors import UnsupportedError, UsageError
from edgebench.models.input_ranges import input_ranges
from edgebench.planning.own_models import OwnInputs, workload_for_model
from edgebench.planning.settings import parse_ranges
from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare
from edgebench.task import InputRange, TaskContext
from edgebench.tasks import load_task

onnx: Any = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto
INT, FLOAT = TensorProto.INT64, TensorProto.FLOAT


def model(
    nodes: list[Any],
    inputs: dict[str, tuple[int, Any]],
    weights: dict[str, Any],
    outputs: tuple[str, ...] = ("y",),
) -> Any:
    """`inputs`: name -> type and shape; outputs are described by their names alone."""
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, *told) for name, told in inputs.items()],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, ir_version=8, opset_imports=domains)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs.split(), [output], **attributes)


def ranges(*nodes: Any, i: tuple[int, Any], **weights: Any) -> Any:
    """What is known of the input `i`, beside an image-free float input `x` of 1 x 6."""
    told = {"i": i, "x": (FLOAT, (1, 6))}
    return input_ranges(model(list(nodes), told, weights)).get("i")


TABLE = np.zeros((50, 8), np.float32)


@pytest.mark.parametrize(
    ("nodes", "high"),
    [
        ([node("Gather", "table i")], 49),
        ([node("Gather", "table i", axis=1)], 7),
        ([node("Cast", "i", "c", to=7), node("Gather", "table c")], 49),
        ([node("Unsqueeze", "i one", "u"), node("Gather", "table u")], 49),
        ([node("Add", "i two", "a"), node("Gather", "table a")], 47),
        ([node("Gather", "table i", "a"), node("Gather", "table i", axis=1)], 7),
        ([node("GatherElements", "table i")], 49),
        ([node("OneHot", "i two table")], 1),
        ([node("EmbedLayerNormalization", "i x table", domain="com.microsoft")], 49),
    ],
)
def test_indices_are_rows_of_what_is_gathered(nodes: list[Any], high: int) -> None:
    one, two = np.array([1]), np.array(2)
    found = ranges(*nodes, i=(INT, (1, 4)), table=TABLE, one=one, two=two)
    assert (found.low, found.high) == (0, high)


def test_a_one_hot_code_that_is_written_as_a_comparison_has_its_classes() -> None:
    """As JAX writes it: a file's bytes against the numbers from 0 to 256."""
    nodes = [node("Unsqueeze", "i one", "u"), node("Equal", "u classes")]
    classes = np.arange(257).reshape(1, 1, 257)
    found = ranges(*nodes, i=(INT, (1, 4)), one=np.array([2]), classes=classes)
    assert (found.low, found.high) == (0, 256)


def test_an_index_into_several_axes_fits_the_shortest() -> None:
    found = ranges(node("GatherND", "table i"), i=(INT, (3, 2)), table=TABLE)
    assert (found.low, found.high) == (0, 7)


@pytest.mark.parametrize(
    ("nodes", "shape", "values"),
    [
        ([node("TopK", "x i")], (1,), [5]),
        ([node("Reshape", "x i")], (2,), [1, 6]),
        ([node("Reshape", "x i")], (3,), [1, 1, -1]),
        ([node("Expand", "x i")], (3,), [1, 1, 6]),
        ([node("Tile", "x i")], (2,), [1]),
        ([node("Slice", "x i ends")], (1,), [0]),
        ([node("Slice", "x ends i")], (1,), [2**31 - 1]),
        ([node("ConstantOfShape", "i")], (2,), [4]),
        ([node("OneHot", "ends i x")], (1,), [8]),
        ([node("Equal", "i rate", "y")], (), [16000]),
        ([node("Div", "ends i", "y")], (1,), []),
    ],
)
def test_sizes_and_counts_are_what_the_operator_takes(
    nodes: list[Any], shape: tuple[int, ...], values: list[int]
) -> None:
    found = ranges(*nodes, i=(INT, shape), ends=np.array([3]), rate=np.array(16000))
    assert found.values == values
    if not values:
        assert found.low == 1  # a divisor


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 0.5])
def test_adding_a_fraction_ends_the_search_for_an_index(value: float) -> None:
    """A mask that adds minus infinity to scores is nothing that an index goes through."""
    added = [node("Add", "x much", "a"), node("Max", "a x")]
    assert ranges(*added, i=(INT, (1,)), much=np.array([value], np.float32)) is None


def test_an_index_that_is_compared_with_a_padding_is_an_index_still() -> None:
    nodes = [node("Equal", "i pad", "p"), node("Gather", "table i")]
    found = ranges(*nodes, i=(INT, (1, 4)), table=TABLE, pad=np.array(3))
    assert (found.low, found.high) == (0, 49)


def test_readers_in_the_bodies_of_branches_count() -> None:
    body = helper.make_graph(
        [node("Gather", "table i", "b")], "b", [], [helper.make_tensor_value_info("b", FLOAT, None)]
    )
    branch = node("If", "c", then_branch=body, else_branch=body)
    told = {"i": (INT, (1, 4)), "c": (TensorProto.BOOL, ())}
    assert input_ranges(model([branch], told, {"table": TABLE}))["i"].high == 49


def test_an_input_that_no_rule_covers_has_no_range() -> None:
    assert ranges(node("Mul", "i i"), i=(INT, (1, 4))) is None


# Drawing


def drawn(info: TensorInfo, index: int = 0, known: InputRange | None = None, **options: Any) -> Any:
    context = TaskContext(
        inputs=[info], options=options, input_ranges={} if known is None else {info.name: known}
    )
    task = load_task("seeded_inputs", context)
    return task.preprocess(task.raw(index))[info.name]


IDS = TensorInfo("ids", "int64", (1, 4000))


def test_whole_numbers_are_drawn_from_what_the_graph_allows() -> None:
    found = drawn(IDS, known=InputRange(low=0, high=99))
    assert (found.min(), found.max()) == (0, 99)
    assert set(drawn(IDS).ravel()) == {0, 1}  # the documented default
    exact = TensorInfo("k", "int64", (3,))
    assert drawn(exact, known=InputRange(values=[1, 1, -1])).tolist() == [1, 1, -1]
    assert drawn(exact, known=InputRange(values=[5])).tolist() == [5, 5, 5]
    assert drawn(exact, known=InputRange(values=[5])).flags.writeable


def test_ranges_of_the_user_override_the_graph() -> None:
    known = InputRange(low=0, high=99)
    assert set(drawn(IDS, known=known, ranges={"ids": {"choices": [3, 7]}}).ravel()) == {3, 7}
    found = drawn(IDS, known=known, ranges={"ids": [200, 201]})
    assert set(found.ravel()) == {200, 201}


def test_a_scalar_is_the_same_in_all_items() -> None:
    gain = TensorInfo("gain", "float32", ())
    assert drawn(gain, 0).shape == ()
    assert drawn(gain, 0) == drawn(gain, 1)
    x = TensorInfo("x", "float32", (1, 8))
    assert not np.array_equal(drawn(x, 0), drawn(x, 1))


@pytest.mark.parametrize("shape", [(1, 3, 64, 48), (1, 64, 48, 3), (2, 1, 64, 48)])
@pytest.mark.parametrize(("dtype", "most"), [("float32", 1), ("float16", 1), ("uint8", 255)])
def test_images_are_smooth_pictures(shape: tuple[int, ...], dtype: str, most: int) -> None:
    info = TensorInfo("image", dtype, shape)
    found = drawn(info)
    assert (found.shape, found.dtype) == (shape, np.dtype(dtype))
    values = found.astype(np.float64) / most
    assert 0 <= values.min() < 0.4
    assert 0.6 < values.max() <= 1
    axes = (2, 3) if shape[1] in (1, 3) else (1, 2)
    steps = [np.abs(np.diff(values, axis=axis)).mean() for axis in axes]
    assert max(steps) < 0.1 * (values.max() - values.min())
    assert not np.array_equal(found, drawn(info, 1))


def test_a_picture_is_scaled_to_its_range() -> None:
    found = drawn(TensorInfo("image", "float32", (1, 3, 32, 32)), ranges={"image": [-1, 1]})
    assert found.min() < -0.2 < 0.2 < found.max()
    assert np.abs(found).max() <= 1


@pytest.mark.parametrize("shape", [(1, 64), (1, 16, 32, 32), (1, 3, 4, 4), (3, 32, 32)])
def test_floats_without_an_image_shape_are_standard_normal(shape: tuple[int, ...]) -> None:
    found = drawn(TensorInfo("x", "float32", shape))
    assert found.min() < 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ([3, 1], r"needs \[low, high\]"),
        ({"choices": []}, r"needs \[low, high\]"),
        ({"values": [1]}, r"needs \[low, high\]"),
        ([0, 0.5], r"'ids' is int64, which has no 0\.5"),
        ([0, float("nan")], r"needs \[low, high\]"),
    ],
)
def test_a_range_that_cannot_be_is_refused(limits: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        drawn(IDS, ranges={"ids": limits})
    with pytest.raises(UsageError, match="uint8, which has no 300"):
        drawn(TensorInfo("ids", "uint8", (1,)), ranges={"ids": [0, 300]})


# Options


def test_ranges_are_read() -> None:
    read = parse_ranges(["ids=0,30521", "k=1|2|4", "a=b:0=-0.5,1e3", "n=7"])
    assert read == {
        "ids": [0, 30521], "k": {"choices": [1, 2, 4]}, "a=b:0": [-0.5, 1000.0], "n": {"choices": [7]},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["ids"], "names no input"),
        (["=1,2"], "names no input"),
        (["k=2,1"], "not a low and a high end"),
        (["k=1,2,3"], "not a low and a high end"),
        (["k=a,2"], "'a' is not a number"),
        (["k="], "'' is not a number"),
        (["k=nan,2"], "'nan' is not a finite number"),
        (["k=1|1e999"], "'1e999' is not a finite number"),
        (["k=1,2", "k=1,3"], "gives 'k' twice"),
    ],
)
def test_ranges_that_make_no_sense_are_refused(items: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_ranges(items)


def test_other_inputs_are_other_work(tmp_path: Path) -> None:
    file, samples = tmp_path / "m.onnx", tmp_path / "in.npz"
    file.write_bytes(b"model")
    np.savez(samples, x=np.ones(3))
    plain = workload_for_model(file, {})
    ranged = workload_for_model(file, {}, inputs=OwnInputs(ranges={"x": [0, 1]}))
    own = workload_for_model(file, {}, inputs=OwnInputs(file=samples))
    assert len({plain.name, ranged.name, own.name}) == 3
    assert own.data["inputs"].sha256 not in (plain.model.sha256, "")
    with pytest.raises(UsageError, match="apply to generated inputs"):
        workload_for_model(file, {}, task="generate", inputs=OwnInputs(file=samples))
    with pytest.raises(UsageError, match="--inputs gives every value"):
        workload_for_model(file, {}, inputs=OwnInputs(file=samples, ranges={"x": [0, 1]}))


@pytest.mark.parametrize(
    ("shapes", "ranges", "own", "said", "fix"),
    [
        ({"idz": [1, 4]}, {}, (), "--shape: .* no input 'idz'; did you mean 'ids'", "ids, gain$"),
        ({}, {"idz": [0, 9]}, (), "--range: .* no input 'idz'; did you mean 'ids'", "ids, gain$"),
        ({"table": [4, 2]}, {}, (), "no input 'table'; known: gain, ids", "ids, gain$"),
        ({}, {}, ("idz", "gain"), "in.npz: .* no input 'idz'", "ids, gain$"),
        ({}, {}, ("gain",), "in.npz: no entry for 'ids'", "savez.file, ids="),
    ],
)
def test_a_name_that_is_no_input_is_refused_before_anything_is_measured(
    tmp_path: Path, shapes: Any, ranges: Any, own: Any, said: str, fix: str
) -> None:
    """`table` is a weight, though the file lists it among its inputs, as old exporters do."""
    inputs = {"ids": (INT, [1, 4]), "gain": (FLOAT, []), "table": (FLOAT, [9, 2])}
    nodes = [node("Gather", "table ids", "rows"), node("Mul", "rows gain")]
    path, samples = tmp_path / "m.onnx", tmp_path / "in.npz"
    onnx.save(model(nodes, inputs, {"table": np.ones((9, 2), np.float32)}), path)
    np.savez(samples, **dict.fromkeys(own, np.ones(4)))  # type: ignore[arg-type]
    given = OwnInputs(ranges=ranges, file=samples if own else None)
    with pytest.raises(UsageError, match=said) as refused:
        workload_for_model(path, shapes, inputs=given)
    assert re.search(fix, refused.value.fix)


def test_an_inputs_file_that_is_no_npz_is_refused(tmp_path: Path) -> None:
    path, samples = tmp_path / "m.onnx", tmp_path / "in.npy"
    path.touch()
    np.save(samples, np.ones(3))
    with pytest.raises(UsageError, match=r"no \.npz file of inputs by name"):
        workload_for_model(path, {}, inputs=OwnInputs(file=samples))


# A user's own inputs


INPUTS = [TensorInfo("ids", "int64", (1, 4)), TensorInfo("gain", "float32", ())]
GAIN = np.array(2, np.float32)


def own(folder: Path, **arrays: Any) -> Any:
    np.savez(folder / "in.npz", **arrays)
    context = TaskContext(inputs=INPUTS, data={"inputs": folder / "in.npz"})
    return load_task("seeded_inputs", context)


@pytest.mark.parametrize(
    ("shape", "count"), [((1, 4), 1), ((5, 4), 5), ((5, 1, 4), 5), ((1, 1, 4), 1)]
)
def test_an_entry_is_one_sample_or_several(
    shape: tuple[int, ...], count: int, tmp_path: Path
) -> None:
    values = np.arange(np.prod(shape)).reshape(shape)
    task = own(tmp_path, ids=values, gain=GAIN)
    assert len(task) == count
    made = [task.preprocess(task.raw(number)) for number in range(count)]
    assert np.array_equal(np.concatenate([each["ids"] for each in made]), values.reshape(-1, 4))
    assert all(each["gain"].shape == () and each["gain"] == 2 for each in made)


def test_scalars_may_have_a_value_for_each_sample(tmp_path: Path) -> None:
    task = own(tmp_path, ids=np.zeros((2, 4), int), gain=np.array([1, 2], np.float32))
    assert [float(task.preprocess(number)["gain"]) for number in range(2)] == [1, 2]


def test_text_is_given_as_files_of_arrays_hold_it(tmp_path: Path) -> None:
    """Of a pipeline of scikit-learn: the error for seeded inputs names the option, which must then take it."""
    colour = [TensorInfo("colour", "object", (1, 1))]
    seeded = load_task("seeded_inputs", TaskContext(inputs=colour))
    with pytest.raises(UnsupportedError) as refused:
        seeded.preprocess(0)
    assert "--inputs FILE.npz" in refused.value.fix
    np.savez(tmp_path / "in.npz", colour=np.array([["red"], ["green"]]))
    context = TaskContext(inputs=colour, data={"inputs": tmp_path / "in.npz"})
    task = load_task("seeded_inputs", context)
    made = [task.preprocess(number)["colour"] for number in range(2)]
    assert [array.tolist() for array in made] == [[["red"]], [["green"]]]
    assert made[0].dtype == object


@pytest.mark.parametrize(
    ("arrays", "message", "fix"),
    [
        ({"ids": np.zeros((1, 4), int)}, r"no entry for 'gain' \(float32 \[\]\)", "gain="),
        ({"ids": np.zeros((5, 3), int), "gain": GAIN}, r"'ids' has the shape \[5, 3\]", r"[1, 4]"),
        ({"ids": np.zeros((0, 4), int), "gain": GAIN}, r"'ids' has the shape \[0, 4\]", "one sample"),
        ({"ids": np.zeros((1, 4)), "gain": GAIN}, "'ids' is float64 and the model takes int64", "astype"),
        ({"idz": np.zeros((1, 4), int), "gain": GAIN}, "no input 'idz'.*did you mean", ""),
        (
            {"ids": np.zeros((3, 4), int), "gain": np.ones(2, np.float32)},
            "'gain' has 2 samples, another entry 3",
            "as many samples",
        ),
    ],
)  # fmt: skip
def test_an_entry_that_does_not_fit_is_named_with_its_fix(
    arrays: dict[str, Any], message: str, fix: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message) as refused:
        own(tmp_path, **arrays)
    assert fix in refused.value.fix
    assert "in.npz" in refused.value.message


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut"])
def test_a_file_that_is_no_npz_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "in.npz").write_bytes(content)
    context = TaskContext(inputs=INPUTS, data={"inputs": tmp_path / "in.npz"})
    with pytest.raises(UsageError, match=r"not an \.npz file of plain arrays"):
        load_task("seeded_inputs", context)


def test_a_single_array_and_objects_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.ones(4))
    (tmp_path / "in.npy").rename(tmp_path / "in.npz")
    context = TaskContext(inputs=INPUTS, data={"inputs": tmp_path / "in.npz"})
    with pytest.raises(UsageError, match="one array"):
        load_task("seeded_inputs", context)
    np.savez(tmp_path / "in.npz", ids=np.array([{}], object))
    with pytest.raises(UsageError, match=r"not an \.npz file of plain arrays"):
        load_task("seeded_inputs", context)


# A model's preparation


def job(folder: Path, made: Any, **more: Any) -> PrepareJob:
    (folder / "m.onnx").write_bytes(made.SerializeToString())
    return PrepareJob(
        task="seeded_inputs", source=str(folder / "m.onnx"), source_sha256="0" * 64,
        cache=str(folder / "cache"), **more,
    )  # fmt: skip


def test_a_vocabulary_is_used_and_its_outputs_differ(tmp_path: Path) -> None:
    table = np.arange(400, dtype=np.float32).reshape(50, 8)
    made = model([node("Gather", "table i")], {"i": (INT, (1, 4))}, {"table": table})
    found = prepare(job(tmp_path, made))
    assert (found.input_ranges["i"].low, found.input_ranges["i"].high) == (0, 49)
    assert not found.reference.constant


def test_where_the_runtime_fails_on_drawn_inputs_their_ranges_are_told(tmp_path: Path) -> None:

    made = model(
        [node("Squeeze", "i axes", "k"), node("Gather", "table i")],
        {"i": (INT, (1, 4))},
        {"table": TABLE, "axes": np.array([0])},
    )
    with pytest.raises(
        UnsupportedError, match=r"'i' \(int64\) from 60 to 70 \(asked for\)"
    ) as error:
        prepare(job(tmp_path, made, options={"ranges": {"i": [60, 70]}}))
    assert "--range NAME=low,high" in error.value.fix


@pytest.mark.parametrize(("factor", "constant"), [(1.0, False), (0.0, True)])
def test_one_sample_tells_whether_outputs_follow_the_input(
    factor: float, constant: bool, tmp_path: Path
) -> None:
    made = model([node("Mul", "x f")], {"x": (FLOAT, (1, 4))}, {"f": np.array(factor, np.float32)})
    np.savez(tmp_path / "in.npz", x=np.ones((1, 4), np.float32))
    found = prepare(job(tmp_path, made, data={"inputs": str(tmp_path / "in.npz")}))
    assert found.reference.constant is constant


def test_a_pipe_in_the_place_of_inputs_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path, pipe = tmp_path / "m.onnx", tmp_path / "in.npz"
    onnx.save(model([node("Relu", "x")], {"x": (FLOAT, [1, 4])}, {}), path)
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match=r"no \.npz file of inputs"):
        workload_for_model(path, {}, inputs=OwnInputs(ranges={}, file=pipe))
