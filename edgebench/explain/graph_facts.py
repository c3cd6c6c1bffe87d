"""Reads what the rules need to know of the nodes of an ONNX file: kinds, tensors, sizes, operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.files.number_bounds import Count

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

    from edgebench.models.operation_count import Shapes


class NodeFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One node of an ONNX file."""

    name: str  # of a node without one its first output
    kind: str
    inputs: list[str] = []  # tensors it reads, those that are no constants
    input_elements: list[Count | None] = []  # of each of `inputs`
    outputs: list[str] = []
    elements: Count | None = None  # of its first output
    flops: Count | None = None
    detail: str = ""  # what sets its kernel apart from others of its kind: "1-D", "depthwise", ...
    domain: str = ""  # empty: ONNX's own operators


def read_nodes(path: Path) -> list[NodeFacts]:
    """The nodes of a file in its order. Raises EdgebenchError where the file is none."""
    from edgebench.models.onnx_file import constant_tensors, inferred_graph, load_model

    graph = inferred_graph(load_model(path, weights=False))
    shapes = _shapes(graph)
    constants = {name for name, _ in constant_tensors(graph)}
    constants |= _derived(graph, constants)
    return [_facts(node, shapes, constants) for node in graph.node]


def _shapes(graph: GraphProto) -> dict[str, tuple[int, ...]]:
    """Sizes of tensors, where all of them are known."""
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape") and all(d.HasField("dim_value") for d in tensor.shape.dim):
            found[value.name] = tuple(d.dim_value for d in tensor.shape.dim)
    return found


def _derived(graph: GraphProto, constants: set[str]) -> set[str]:
    """What nodes make of constants alone, such as dequantised weights."""
    known = set(constants)
    for node in graph.node:
        if node.input and all(name in known or not name for name in node.input):
            known.update(node.output)
    return known


def _facts(
    node: NodeProto, shapes: Mapping[str, tuple[int, ...]], constants: set[str]
) -> NodeFacts:
    from edgebench.models.fused_nodes import name_of

    read = [name for name in node.input if name and name not in constants]
    return NodeFacts(
        name=name_of(node),
        kind=node.op_type,
        inputs=read,
        input_elements=[_elements(shapes.get(name)) for name in read],
        outputs=[name for name in node.output if name],
        elements=_elements(shapes.get(node.output[0])) if node.output else None,
        flops=_operations(node, shapes),
        detail=_detail(node, shapes),
        domain="" if node.domain == "ai.onnx" else node.domain,
    )


def _elements(shape: tuple[int, ...] | None) -> int | None:
    return None if shape is None else prod(shape)


def _operations(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int | None:
    from edgebench.models.operation_count import operations

    inputs: Shapes = [shapes.get(name) for name in node.input]
    outputs: Shapes = [shapes.get(name) for name in node.output]
    try:
        return operations(node, inputs, outputs)
    except (AssertionError, IndexError, KeyError, TypeError, ValueError):
        return None  # sizes that are not known, or not those of this operator


def _detail(node: NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Of a convolution what its kernel does: runtimes have kernels for some forms and not for others."""
    if node.op_type not in ("Conv", "ConvTranspose") or len(node.input) < 2:
        return ""
    weight = shapes.get(node.input[1])
    if weight is None or len(weight) < 3:
        return ""
    return " ".join(_form(node, weight)) or f"{len(weight) - 2}-D"


def _form(node: NodeProto, weight: Sequence[int]) -> list[str]:
    kernel, groups = weight[2:], _attribute(node, "group", 1)
    words = []
    if groups > 1:
        words.append("depthwise" if weight[1] == 1 else "grouped")
    elif prod(kernel) == 1:
        words.append("pointwise")
    long_axes = [size for size in kernel if size > 1]
    if len(long_axes) == 1 and (len(kernel) == 1 or prod(kernel) > 1):
        words.append("one-dimensional")
    return words


def _attribute(node: NodeProto, name: str, default: Any) -> Any:
    return next((a.i for a in node.attribute if a.name == name), default)
