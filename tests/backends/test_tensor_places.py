"""Inputs and outputs are places: names that repeat, that several places share or that are missing."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, TensorInfo, named_by_place
from edgebench.errors import UnsupportedError

SHAPE = (1, 4)


def tensors(*names: str) -> list[TensorInfo]:
    return [TensorInfo(name, "float32", SHAPE) for name in names]


def names(found: tuple[TensorInfo, ...]) -> list[str]:
    return [tensor.name for tensor in found]


def test_every_place_has_a_name_of_its_own() -> None:
    found = named_by_place(tensors("y", "y", "", "y#2"), kind="output")
    assert names(found) == ["y", "y#2", "output 2", "y#2#2"]


def test_the_models_own_names_go_before_the_runtimes() -> None:
    assert names(named_by_place(tensors("alias", "alias"), ("y", "z"))) == ["y", "z"]
    assert names(named_by_place(tensors("a", "b"), ("only one",))) == ["a", "b"]
    assert names(named_by_place(tensors("b", "a"), ("a", "b"))) == ["b", "a"]  # its own order


def onnx_file(folder: Path, outputs: list[str], nodes: list[Any]) -> ModelFile:
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in outputs],
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    save(model, str(folder / "m.onnx"))
    return ModelFile(folder / "m.onnx", "onnx", "0" * 64, inputs=("x",), outputs=tuple(outputs))


def answers(session: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    prepared = session.prepare(feeds)
    found: dict[str, Any] = session.outputs_of(prepared, session.run(prepared))
    return found


def test_one_output_named_twice_is_two_outputs(tmp_path: Path) -> None:
    from onnx import helper

    file = onnx_file(tmp_path, ["y", "y"], [helper.make_node("Relu", ["x"], ["y"])])
    session = registry.load("ort").open(file, {})
    assert list(answers(session, {"x": np.ones(SHAPE, np.float32)})) == ["y", "y#2"]
    with pytest.raises(UnsupportedError, match="io_binding goes by names"):
        registry.load("ort").open(file, {"io_binding": True})


def test_an_input_that_openvino_renames_is_fed_by_the_models_name(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from onnx import helper

    file = onnx_file(tmp_path, ["y"], [helper.make_node("Dropout", ["x"], ["y", "mask"])])
    session = registry.load("openvino").open(file, {})
    assert names(session.inputs) == ["x"]
    assert answers(session, {"x": np.ones(SHAPE, np.float32)})["y"].tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("node", "outputs"),
    [
        (("Identity", ["x"], ["y"]), {"y": 2.0}),
        (("Relu", ["x"], ["y"]), {"y": 2.0, "x": 2.0}),
        (("Relu", ["x"], ["y"]), {"y": 2.0, "w": 3.0}),
        (("Dropout", ["x"], ["y", "mask"]), {"y": 2.0, "mask": 1.0}),
    ],
)
def test_outputs_that_no_operator_makes_are_outputs_in_litert(
    node: Any, outputs: dict[str, float], tmp_path: Path
) -> None:
    """An input, a weight, or the mask of a Dropout that drops nothing."""
    pytest.importorskip("ai_edge_litert")
    from onnx import TensorProto, helper, numpy_helper, save

    file = onnx_file(tmp_path, list(outputs), [helper.make_node(*node)])
    import onnx

    model = onnx.load(str(file.path))
    model.graph.initializer.append(numpy_helper.from_array(np.full(SHAPE, 3, np.float32), "w"))
    for value in model.graph.output:
        if value.name == "mask":
            value.type.tensor_type.elem_type = TensorProto.BOOL
    save(model, str(file.path))
    backend = registry.load("litert")
    session = backend.open(backend.convert(file, {}, tmp_path / "cache"), {})
    found = answers(session, {"x": np.full(SHAPE, 2, np.float32)})
    assert {name: array.ravel().tolist() for name, array in found.items()} == {
        name: [value] * 4 for name, value in outputs.items()
    }


def tflite(folder: Path, signatures: dict[str, int] | None = None) -> ModelFile:
    """first - second, both inputs called "input"; `signatures`: name -> number of its graph."""
    pytest.importorskip("ai_edge_litert")
    module: Any = importlib.import_module("edgebench.backends.litert.graph")
    graph = module.Graph()
    first, second = graph.tensor("input", SHAPE, "float32"), graph.tensor("input", SHAPE, "float32")
    made = graph.tensor("out", SHAPE, "float32")
    graph.operator("SUB", [first, second], made, "SubOptions")
    path = folder / "m.tflite"
    graph.save(path, [first, second], [made])
    if signatures:
        path.write_bytes(with_signatures(path.read_bytes(), signatures, module.schema()))
    return ModelFile(path, "tflite", "0" * 64)


def with_signatures(content: bytes, signatures: dict[str, int], schema: Any) -> bytes:
    import flatbuffers

    model = schema.ModelT.InitFromPackedBuf(bytearray(content), 0)
    [graph] = model.subgraphs
    model.subgraphs = [graph] * (1 + max(signatures.values()))
    model.signatureDefs = []
    for name, number in signatures.items():
        made = schema.SignatureDefT()
        made.signatureKey, made.subgraphIndex = name.encode(), number
        made.inputs, made.outputs = [], []
        for target, index, key in ((made.inputs, 0, "a"), (made.inputs, 1, "b")):
            part = schema.TensorMapT()
            part.name, part.tensorIndex = key.encode(), index
            target.append(part)
        part = schema.TensorMapT()
        part.name, part.tensorIndex = b"y", 2
        made.outputs = [part]
        model.signatureDefs.append(made)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_two_inputs_of_one_name_get_data_of_their_own(tmp_path: Path) -> None:
    session = registry.load("litert").open(tflite(tmp_path), {})
    assert names(session.inputs) == ["input", "input#2"]
    feeds = {"input": np.full(SHAPE, 5, np.float32), "input#2": np.full(SHAPE, 2, np.float32)}
    assert answers(session, feeds)["out"].tolist() == [[3, 3, 3, 3]]


def test_of_several_signatures_one_must_be_chosen(tmp_path: Path) -> None:
    backend = registry.load("litert")
    file = tflite(tmp_path, {"encode": 0, "decode": 1})
    with pytest.raises(UnsupportedError, match="several signatures") as refused:
        backend.open(file, {})
    assert refused.value.fix == "--set signature=encode"
    with pytest.raises(UnsupportedError, match=r"'decode' of m\.tflite is not its first graph"):
        backend.open(file, {"signature": "decode"})
    with pytest.raises(UnsupportedError, match=r"no signature 'encod'.*did you mean"):
        backend.open(file, {"signature": "encod"})
    assert backend.open(file, {"signature": "encode"}).effective().options["signature"] == "encode"


def test_a_single_signature_is_the_one_that_is_measured(tmp_path: Path) -> None:
    session = registry.load("litert").open(tflite(tmp_path, {"serving_default": 0}), {})
    assert session.effective().options["signature"] == "serving_default"
