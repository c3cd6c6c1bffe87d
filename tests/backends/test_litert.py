"""LiteRT: every converted operator against ONNX Runtime, what is refused, and what is read back."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.models.onnx_file import save_model
from edgebench.testing.models import convolution

pytest.importorskip("ai_edge_litert")

#: By name: to the type checker the package is `backends`, which may not be imported so.
GRAPH: Any = importlib.import_module("edgebench.backends.litert.graph")
RNG = np.random.default_rng(0)
IMAGE, ROWS = (1, 4, 6, 8), (2, 5, 8)


def f32(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def ints(*values: int) -> Any:
    return np.array(values, np.int64)


def positive(*shape: int) -> Any:
    return np.abs(f32(*shape)) + np.float32(0.5)


#: operator, shape of the input x, further (constant) inputs, attributes
CASES: list[tuple[str, tuple[int, ...], list[Any], dict[str, Any]]] = [
    ("Abs", ROWS, [], {}),
    ("Add", IMAGE, [f32(4, 1, 1)], {}),
    ("AveragePool", IMAGE, [], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ("BatchNormalization", IMAGE, [f32(4), f32(4), f32(4), positive(4)], {"epsilon": 1e-3}),
    ("BatchNormalization", (2, 4), [f32(4), f32(4), f32(4), positive(4)], {}),
    ("Clip", ROWS, [np.float32(0), np.float32(6)], {}),
    ("Clip", ROWS, [np.float32(-0.3), np.float32(0.4)], {}),
    ("Concat", ROWS, [f32(2, 3, 8)], {"axis": 1}),
    ("Conv", IMAGE, [f32(3, 4, 3, 3), f32(3)], {"pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, [f32(3, 4, 3, 3)], {"pads": [0, 1, 2, 1], "strides": [2, 1]}),
    ("Conv", IMAGE, [f32(3, 4, 3, 3)], {"pads": [1, 1, 1, 1], "strides": [2, 2]}),
    ("Conv", IMAGE, [f32(3, 4, 2, 3)], {"dilations": [2, 1]}),
    ("Conv", IMAGE, [f32(3, 4, 2, 3)], {"auto_pad": "SAME_LOWER"}),
    ("Conv", IMAGE, [f32(8, 1, 3, 3), f32(8)], {"group": 4, "pads": [1, 1, 1, 1]}),
    ("Conv", IMAGE, [f32(6, 2, 3, 3)], {"group": 2}),
    ("Conv", (2, 4, 9), [f32(3, 4, 3), f32(3)], {"pads": [1, 0], "strides": [2]}),
    ("ConvTranspose", IMAGE, [f32(4, 3, 2, 2), f32(3)], {"strides": [2, 2]}),
    ("Div", ROWS, [positive(8)], {}),
    ("Exp", ROWS, [], {}),
    ("Flatten", IMAGE, [], {}),
    ("Gather", ROWS, [ints(1, -1, 0)], {"axis": 1}),
    ("Gemm", (3, 8), [f32(5, 8), f32(1, 5)], {"transB": 1, "alpha": 0.5, "beta": 2.0}),
    ("Gemm", (3, 8), [f32(8, 5)], {}),
    ("GlobalAveragePool", IMAGE, [], {}),
    ("GlobalMaxPool", IMAGE, [], {}),
    ("HardSigmoid", IMAGE, [], {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", IMAGE, [], {}),
    ("Identity", ROWS, [], {}),
    ("LayerNormalization", ROWS, [f32(8), f32(8)], {"axis": -1, "epsilon": 1e-4}),
    ("MatMul", ROWS, [f32(8, 3)], {}),
    ("MatMul", (2, 3, 4, 5), [f32(2, 3, 5, 6)], {}),
    ("Max", ROWS, [f32(8)], {}),
    ("MaxPool", IMAGE, [], {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ("Min", ROWS, [f32(8)], {}),
    ("Neg", ROWS, [], {}),
    ("Pad", IMAGE, [ints(0, 1, 2, 0, 0, 0, 1, 3)], {}),
    ("Pad", ROWS, [ints(0, 1, 0, 0, 2, 1), np.float32(1.5)], {}),
    ("Pad", ROWS, [ints(0, 1, 2, 0, 2, 1)], {"mode": "reflect"}),
    ("Pow", ROWS, [np.float32(2)], {}),
    ("ReduceL2", ROWS, [], {"axes": [-1], "keepdims": 0}),
    ("ReduceMax", IMAGE, [], {"axes": [1], "keepdims": 1}),
    ("ReduceMean", IMAGE, [], {"axes": [2, 3], "keepdims": 0}),
    ("ReduceMean", IMAGE, [], {"axes": [1, 2], "keepdims": 0}),
    ("ReduceMin", ROWS, [], {"axes": [0], "keepdims": 0}),
    ("ReduceSum", ROWS, [ints(-1)], {"keepdims": 1}),
    ("Relu", ROWS, [], {}),
    ("Reshape", ROWS, [ints(10, 8)], {}),
    ("Resize", IMAGE, [np.array([], np.float32), np.array([1, 1, 2, 3], np.float32)], {
        "mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
    ("Resize", IMAGE, [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)], {
        "mode": "nearest"}),
    ("Resize", IMAGE, [np.array([], np.float32), np.array([1, 1, 2, 2], np.float32)], {
        "mode": "linear"}),
    ("Sigmoid", IMAGE, [], {}),
    ("Slice", ROWS, [ints(1, -6), ints(5, 100), ints(1, 2), ints(2, 3)], {}),
    ("Softmax", ROWS, [], {"axis": -1}),
    ("Squeeze", (1, 5, 1, 8), [ints(0, 2)], {}),
    ("Sub", ROWS, [f32(5, 1)], {}),
    ("Tanh", ROWS, [], {}),
    ("Transpose", ROWS, [], {"perm": [2, 0, 1]}),
    ("Unsqueeze", ROWS, [ints(1)], {}),
]  # fmt: skip


def build(
    nodes: list[Any], feeds: dict[str, Any], outputs: list[str], weights: dict[str, Any]
) -> Any:
    """An ONNX model whose output shapes are inferred."""
    import onnx
    from onnx import helper, numpy_helper

    def value(name: str, array: Any) -> Any:
        return helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )

    graph = helper.make_graph(
        nodes,
        "g",
        [value(name, array) for name, array in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in weights.items()],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def converted(model: Any, folder: Path, options: dict[str, Scalar] | None = None) -> Any:
    """A session of the converted model, and the ONNX file it came from."""
    path = folder / "m.onnx"
    save_model(model, path)
    return opened(path, folder, options or {}), path


def opened(path: Path, folder: Path, options: dict[str, Scalar]) -> Any:
    backend = registry.load("litert")
    file = ModelFile(path, "onnx", hashlib.sha256(path.read_bytes()).hexdigest(), "fp32")
    return backend.open(backend.convert(file, options, folder / "cache"), options)


def answers(session: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    prepared = session.prepare(feeds)
    found: dict[str, Any] = session.outputs_of(prepared, session.run(prepared))
    return found


def reference(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def assert_equal(model: Any, feeds: dict[str, Any], folder: Path) -> Any:
    session, path = converted(model, folder)
    found, wanted = answers(session, feeds), reference(path, feeds)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=2e-4, atol=2e-5)
    return session


#: Each case alone and, where x is an image, after a convolution, which leaves channels last.
SETTINGS = [
    pytest.param(*case, after, id=f"{number}-{case[0]}-{'image' if after else 'alone'}")
    for number, case in enumerate(CASES)
    for after in (False, True)
    if not after or len(case[1]) == 4
]


@pytest.mark.parametrize(
    ("operator", "shape", "constants", "attributes", "after_convolution"), SETTINGS
)
def test_operators_answer_like_onnx_runtime(
    operator: str,
    shape: tuple[int, ...],
    constants: list[Any],
    attributes: dict[str, Any],
    after_convolution: bool,
    tmp_path: Path,
) -> None:
    from onnx import helper

    weights = {f"c{index}": array for index, array in enumerate(constants)}
    feeds = {"x": f32(*shape)}
    source, before = "x", []
    if after_convolution:
        weights["filter"] = f32(shape[1], shape[1], 1, 1)
        before, source = [helper.make_node("Conv", ["x", "filter"], ["filtered"])], "filtered"
    names = [name if array.size else "" for name, array in weights.items() if name != "filter"]
    node = helper.make_node(operator, [source, *names], ["y"], **attributes)
    # Identity is nothing by itself, and a graph's output must be made by an operator.
    end = helper.make_node("Neg", ["y"], ["z"])
    weights = {name: array for name, array in weights.items() if array.size}
    assert_equal(
        build([*before, node, end], feeds, ["y", "z"][operator == "Identity" :], weights),
        feeds,
        tmp_path,
    )


def test_a_value_of_two_names_is_not_clipped_under_one(tmp_path: Path) -> None:
    """A convolution clips by itself where nobody else reads it, by whichever name."""
    from onnx import helper

    feeds, weights = {"x": f32(*IMAGE)}, {"filter": f32(4, 4, 1, 1)}
    nodes = [
        helper.make_node("Conv", ["x", "filter"], ["filtered"]),
        helper.make_node("Identity", ["filtered"], ["same"]),
        helper.make_node("Relu", ["same"], ["positive"]),
        helper.make_node("Sub", ["positive", "filtered"], ["y"]),
    ]
    assert_equal(build(nodes, feeds, ["y"], weights), feeds, tmp_path)


def test_integers_conditions_and_parts(tmp_path: Path) -> None:
    """Cast, Equal, Where, Split and Gather with computed indices, which are int64 in ONNX."""
    from onnx import helper

    feeds = {"ids": np.array([[1, 0, 3, 3]], np.int64)}
    weights = {"table": f32(4, 6), "three": np.array(3, np.int64), "low": np.float32(-1)}
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Equal", ["ids", "three"], ["hit"]),
        helper.make_node("Cast", ["hit"], ["mask"], to=1),
        helper.make_node("Unsqueeze", ["hit", "axis"], ["wide"]),
        helper.make_node("Where", ["wide", "low", "rows"], ["chosen"]),
        helper.make_node("Split", ["chosen", "sizes"], ["a", "b"], axis=2),
    ]
    weights |= {"axis": ints(2), "sizes": ints(2, 4)}
    session = assert_equal(build(nodes, feeds, ["mask", "a", "b"], weights), feeds, tmp_path)
    assert [info.dtype for info in session.inputs] == ["int64"]


def test_the_error_function_of_a_gelu_becomes_one_operator(tmp_path: Path) -> None:
    from onnx import helper

    weights = {"root": np.float32(np.sqrt(2)), "one": np.float32(1), "half": np.float32(0.5)}
    nodes = [
        helper.make_node("Div", ["x", "root"], ["scaled"]),
        helper.make_node("Erf", ["scaled"], ["e"]),
        helper.make_node("Add", ["e", "one"], ["gate"]),
        helper.make_node("Mul", ["x", "gate"], ["gated"]),
        helper.make_node("Mul", ["gated", "half"], ["y"]),
    ]
    feeds = {"x": f32(3, 8)}
    session = assert_equal(build(nodes, feeds, ["y"], weights), feeds, tmp_path)
    assert operators(session)["GELU"] == 1

    # The same chain with another factor is no GELU, and LiteRT has no error function.
    weights["half"] = np.float32(0.25)
    with pytest.raises(UnsupportedError, match="Erf"):
        converted(build(nodes, feeds, ["y"], weights), tmp_path)


def test_images_are_turned_once_on_the_way_in_and_out(tmp_path: Path) -> None:
    """Between convolutions nothing is transposed, and ReLU costs no operator of its own."""
    from onnx import helper

    feeds = {"x": f32(1, 3, 8, 8)}
    nodes, source = [], "x"
    weights: dict[str, Any] = {}
    for index in range(4):
        weights[f"w{index}"] = f32(3, 3, 3, 3)
        nodes += [
            helper.make_node("Conv", [source, f"w{index}"], [f"c{index}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{index}"], [f"r{index}"]),
            helper.make_node("Add", [f"r{index}", source], [f"s{index}"]),
        ]
        source = f"s{index}"
    session = assert_equal(build(nodes, feeds, [source], weights), feeds, tmp_path)
    found = operators(session)
    assert found["CONV_2D"] == 4
    assert found["TRANSPOSE"] == 2
    assert found["RELU"] == 0


def test_a_shared_result_is_not_clipped_for_everybody(tmp_path: Path) -> None:
    from onnx import helper

    feeds = {"x": f32(1, 2, 4, 4)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Add", ["c", "r"], ["y"]),
    ]
    assert_equal(build(nodes, feeds, ["y"], {"w": f32(2, 2, 1, 1)}), feeds, tmp_path)


def operators(session: Any) -> Counter[str]:
    return Counter(detail["op_name"] for detail in session._operators)


@pytest.mark.parametrize(
    ("operator", "attributes", "says"),
    [
        ("Selu", {}, "no conversion"),
        ("Softmax", {"axis": 1}, "another axis"),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [2, 2, 2, 2]}, "padding"),
        ("MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}, "ceil_mode"),
    ],
)
def test_a_node_that_cannot_be_converted_is_named_with_its_operator(
    operator: str, attributes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    from onnx import helper

    feeds = {"x": f32(*IMAGE)}
    node = helper.make_node(operator, ["x"], ["y"], name="culprit", **attributes)
    with pytest.raises(UnsupportedError, match=f"{operator}.*culprit.*{says}"):
        converted(build([node], feeds, ["y"], {}), tmp_path)


def test_weights_are_aligned_in_the_file(tmp_path: Path) -> None:
    """The schema demands 16 bytes; kernels on Arm read weights where they lie in the file."""
    marker = np.frombuffer(b"edgebench-marker" * 4, np.uint8).view(np.float32)
    graph = GRAPH.Graph()
    x = graph.tensor("x", [16], "float32")
    y = graph.tensor("y", [16], "float32")
    graph.constant(np.arange(3, dtype=np.int8))  # odd sizes before it
    graph.operator("ADD", [x, graph.constant(marker)], y, "AddOptions")
    graph.save(tmp_path / "m.tflite", [x], [y])
    content = (tmp_path / "m.tflite").read_bytes()
    assert content.index(b"edgebench-marker") % 16 == 0


def test_xnnpack_and_threads_are_read_back(tmp_path: Path) -> None:
    path = convolution(1).write(tmp_path).path
    with_it = opened(path, tmp_path, {"threads": 2}).effective()
    assert with_it.options["xnnpack"] is True
    assert with_it.threads == 2
    assert with_it.providers is not None
    assert with_it.providers["XNNPACK"] > 0
    assert with_it.precision == "fp32"
    without = opened(path, tmp_path, {"xnnpack": False}).effective()
    assert without.options["xnnpack"] is False
    assert without.providers is not None
    assert without.providers["XNNPACK"] == 0


def test_a_delegate_that_takes_nothing_is_refused_where_it_was_asked_for(tmp_path: Path) -> None:
    from onnx import helper

    feeds = {"ids": np.zeros((1, 4), np.int64)}
    node = helper.make_node("Gather", ["table", "ids"], ["y"])
    model = build([node], feeds, ["y"], {"table": f32(8, 3)})
    with pytest.raises(UnsupportedError, match="XNNPACK takes no operator"):
        converted(model, tmp_path, {"xnnpack": True})


def test_int8_is_not_claimed_for_a_float_model(tmp_path: Path) -> None:
    backend = registry.load("litert")
    file = convolution(1).write(tmp_path)
    made = backend.convert(file, {}, tmp_path / "cache")
    claimed = ModelFile(made.path, made.format, made.sha256, "int8-static")
    with pytest.raises(UnsupportedError, match="int8-static was asked for"):
        backend.open(claimed, {}).effective()


# --- files in LiteRT's own format -------------------------------------------------------------------

OPEN_BATCH = (
    Path(__file__).parents[1] / "data" / "models" / "open_batch.tflite"
)  # [-1, 16] -> [-1, 10]
INPUT = "serving_default_x:0"


def opened_tflite(**shapes: list[int]) -> Any:
    names = {"x": INPUT}
    return registry.load("litert").open(
        ModelFile(OPEN_BATCH, "tflite", "", names=names, shapes=shapes), {}
    )


@pytest.mark.parametrize(("shapes", "batch"), [({}, 1), ({"x": [4, 16]}, 4)])
def test_open_axes_of_a_tflite_file_are_fixed(shapes: dict[str, list[int]], batch: int) -> None:
    session = opened_tflite(**shapes)
    assert [info.shape for info in session.inputs] == [(batch, 16)]
    prepared = session.prepare({"x": np.ones((batch, 16), np.float32)})
    (output,) = session.outputs_of(prepared, session.run(prepared)).values()
    assert output.shape == (batch, 10)


@pytest.mark.parametrize(
    ("shapes", "complaint"),
    [
        ({"x": [4, 8]}, r"'x' is any,16 in the model, not 4,8\n  fix: --shape x=1,16"),
        ({"x": [4]}, "in the model, not"),
        ({"y": [4, 16]}, "no input 'y'"),
    ],
)
def test_shapes_that_a_tflite_file_contradicts_are_refused(
    shapes: dict[str, list[int]], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        opened_tflite(**shapes)


class OpenAxes:
    """An interpreter of a file with inputs [1, -1] and [], whose graph takes 512 values and no other number."""

    def __init__(self, takes: int = 512) -> None:
        self.takes, self.shape = takes, [1, 1]

    def get_input_details(self) -> list[dict[str, Any]]:
        wave = {"index": 0, "name": "wave", "shape": [1, 1], "shape_signature": [1, -1]}
        rate = {"index": 1, "name": "rate", "shape": [], "shape_signature": []}
        return [{**each, "dtype": np.float32} for each in (wave, rate)]

    def resize_tensor_input(self, index: int, shape: list[int], strict: bool) -> None:
        assert (index, strict) == (0, True)
        self.shape = shape

    def allocate_tensors(self) -> None:
        if self.shape != [1, self.takes]:
            raise RuntimeError("failed to reshape")

    def invoke(self) -> None:
        pass


def test_shapes_that_an_error_proposes_are_some_that_the_file_runs_with() -> None:
    litert = sys.modules[type(registry.load("litert")).__module__]
    with pytest.raises(UsageError, match=r"input 'wave' \[1, -1\]: axes are open") as caught:
        litert._fix_shapes(OpenAxes(), {}, (), {})
    fix = litert._shapes_that_run(OpenAxes, caught.value.shapes)  # type: ignore[attr-defined]
    assert fix.startswith("--shape wave=1,512 (it runs with these")
    fix = litert._shapes_that_run(lambda: OpenAxes(7919), caught.value.shapes)  # type: ignore[attr-defined]
    assert fix == "--shape wave=1,224 with sizes that the model was made for"


def test_a_damaged_tflite_file_is_no_unsupported_one(tmp_path: Path) -> None:
    path = tmp_path / "cut.tflite"
    path.write_bytes(OPEN_BATCH.read_bytes()[:900])
    with pytest.raises(EdgebenchError, match=r"cut\.tflite is damaged") as caught:
        registry.load("litert").open(ModelFile(path, "tflite", ""), {})
    assert not isinstance(caught.value, UnsupportedError)
