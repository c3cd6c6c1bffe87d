"""ONNX to .tflite without TensorFlow: the graph is walked once and written with LiteRT's own schema."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.onnx_file import describe, graph_inputs, load_model

from .graph import Graph
from .operators import OPERATORS, gelu
from .tensor_layouts import Values, refusal

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto, NodeProto


def convert(source: Path, target: Path) -> None:
    """Writes `target` from an ONNX file with fixed shapes; inputs and outputs keep names and forms.

    Raises UnsupportedError with the node and the operator that LiteRT cannot have.
    """
    try:
        model = load_model(source)
        describe(model)  # refuses what is no tensor
    except EdgebenchError as error:
        raise UnsupportedError(error.message, error.fix) from None
    graph = Graph()
    values = Values(model, graph)
    fed = [values.new_plain(value.name) for value in graph_inputs(model)]
    fused = _gelus(model, values)
    for node in model.graph.node:
        _convert_node(values, node, fused)
    written = [_output(values, value.name, set(fed)) for value in model.graph.output]
    graph.save(target, fed, written)


def _convert_node(values: Values, node: NodeProto, fused: dict[str, str | None]) -> None:
    if node.output[0] in fused:
        source = fused[node.output[0]]
        if source is not None:
            gelu(values, source, node.output[0])
        return
    if node.op_type == "Constant":
        values.constants[node.output[0]] = _constant(node)
        return
    if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
        domain = f" of {node.domain}" if node.domain not in ("", "ai.onnx") else ""
        raise refusal(node, f"there is no conversion of this operator{domain}")
    OPERATORS[node.op_type](values, node)


def _constant(node: NodeProto) -> NDArray[Any]:
    from onnx import numpy_helper

    if not node.attribute or not node.attribute[0].HasField("t"):
        raise refusal(node, "not a tensor")
    array: NDArray[Any] = numpy_helper.to_array(node.attribute[0].t)
    return array


def _output(values: Values, name: str, fed: set[int]) -> int:
    """The tensor of a graph output, under its name and in ONNX's order of axes.

    Two outputs of one value are one tensor, which has the last name: its place tells what it is.
    """
    if not values.is_known(name):
        raise UnsupportedError(
            f"output {name!r} is not converted: LiteRT's operator does not give it"
        )
    tensor = values.plain(name)
    if tensor in fed or values.graph.is_constant(tensor):
        return _copied(values.graph, tensor, name)
    values.graph.rename(tensor, name)
    return tensor


def _copied(graph: Graph, tensor: int, name: str) -> int:
    """An output that is an input or a weight as it came: LiteRT wants an operator that writes it."""
    shape = graph.shape(tensor)
    copy = graph.tensor(name, shape, graph.dtype(tensor))
    inputs = [tensor, graph.integers(shape)]
    graph.operator("RESHAPE", inputs, copy, "ReshapeOptions", newShape=list(shape))
    return copy


def _gelus(model: ModelProto, values: Values) -> dict[str, str | None]:
    """Output name -> x, for the last node of x * (1 + erf(x / sqrt(2))) * 0.5; None for those before.

    LiteRT has no error function of its own, but has this use of it as one operator.
    """
    users: dict[str, list[NodeProto]] = {}
    makers = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    gelus: dict[str, str | None] = {}
    for node in model.graph.node:
        scaled = makers.get(node.input[0]) if node.op_type == "Erf" else None
        if scaled is None:
            continue
        chain = [scaled, node]
        for operator in ("Add", "Mul", "Mul"):
            following = users.get(chain[-1].output[0], [])
            if len(following) != 1 or following[0].op_type != operator:
                break
            chain.append(following[0])
        source = scaled.input[0]
        if len(chain) == 5 and _is_gelu(chain, source, values):
            gelus.update({each.output[0]: None for each in chain[:-1]})
            gelus[chain[-1].output[0]] = source
    return gelus


def _is_gelu(chain: list[NodeProto], source: str, values: Values) -> bool:
    divide, _, add, gate, half = chain

    def other(node: NodeProto, mine: str) -> str:
        return next((name for name in node.input if name != mine), "")

    def is_number(name: str, number: float) -> bool:
        array = values.constants.get(name)
        return (
            array is not None
            and array.size == 1
            and math.isclose(float(array.reshape(())), number, rel_tol=1e-5)
        )

    factor = {"Div": math.sqrt(2), "Mul": math.sqrt(0.5)}.get(divide.op_type)
    return (
        factor is not None
        and is_number(divide.input[1], factor)
        and is_number(other(add, chain[1].output[0]), 1)
        and other(gate, add.output[0]) == source
        and is_number(other(half, gate.output[0]), 0.5)
    )
