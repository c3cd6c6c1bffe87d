"""Networks of which one layer is wrong on purpose: another scale, or weights of two channels that changed places."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgebench.models.onnx_file import load_model, save_model
from edgebench.models.quantize import quantize_static

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

Fault = Literal["scale", "swapped", "activation"]
CHANNELS, SIZE, DEPTH = 8, 12, 8


def feeds(seed: int) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((1, CHANNELS, SIZE, SIZE)).astype(np.float32)}


def network(path: Path, seed: int) -> Path:
    """Convolutions with a ReLU after each, every second one with a shortcut."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    nodes, weights, value = [], [], "x"
    for place in range(DEPTH):
        kernel = rng.standard_normal((CHANNELS, CHANNELS, 3, 3)) * np.sqrt(2 / (9 * CHANNELS))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{place}"))
        nodes.append(
            helper.make_node(
                "Conv", [value, f"w{place}"], [f"c{place}"], f"conv{place}", pads=[1] * 4
            )
        )
        nodes.append(helper.make_node("Relu", [f"c{place}"], [f"r{place}"], f"relu{place}"))
        if place % 2:
            nodes.append(
                helper.make_node("Add", [f"r{place}", value], [f"a{place}"], f"add{place}")
            )
        value = f"a{place}" if place % 2 else f"r{place}"
    nodes.append(helper.make_node("GlobalAveragePool", [value], ["y"], "pool"))
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CHANNELS, 1, 1])],
        weights,
    )
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    return path


def quantised(source: Path, path: Path) -> Path:
    model = quantize_static(load_model(source), [feeds(seed) for seed in range(8)], batch=1)
    save_model(model, path, keep_opset=True)
    return path


def planted(source: Path, path: Path, fault: Fault, seed: int) -> str:
    """Writes the model with one layer wrong, and returns the node's name."""
    model = load_model(source)
    rng = np.random.default_rng(seed)
    node = f"conv{rng.integers(DEPTH)}"
    if fault == "activation":
        _change(model, _scale_behind(model, node), lambda scale: scale * rng.choice([0.3, 40.0]))
    elif fault == "scale":
        name = _weight(model, node)
        factor = float(rng.choice([0.5, 1.6]))
        _change(model, name, lambda values: values * factor)
    else:
        first, second = rng.choice(CHANNELS, 2, replace=False)
        _change(model, _weight(model, node, scaled=False), lambda v: _swapped(v, first, second))
    save_model(model, path, keep_opset=True)
    return node


def _swapped(values: NDArray[Any], first: int, second: int) -> NDArray[Any]:
    moved = values.copy()
    moved[[first, second]] = values[[second, first]]
    return moved


def _weight(model: ModelProto, node: str, scaled: bool = True) -> str:
    """The constant that holds a layer's weights, or of an integer one their scale."""
    conv = next(each for each in model.graph.node if each.name == node)
    constants = {tensor.name for tensor in model.graph.initializer}
    if conv.input[1] in constants:
        return str(conv.input[1])
    writer = next(each for each in model.graph.node if conv.input[1] in each.output)
    return str(writer.input[1 if scaled else 0])


def _scale_behind(model: ModelProto, node: str) -> str:
    """The scale of the pair behind a layer."""
    conv = next(each for each in model.graph.node if each.name == node)
    reader = next(
        each
        for each in model.graph.node
        if each.op_type == "QuantizeLinear" and each.input[0] == conv.output[0]
    )
    return str(reader.input[1])


def _change(model: ModelProto, name: str, change: Any) -> None:
    from onnx import numpy_helper

    tensor: TensorProto = next(each for each in model.graph.initializer if each.name == name)
    values = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(change(values), values.dtype), name))
