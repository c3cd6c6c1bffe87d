"""Work of a model: operations, and the bytes that must move between memory and the processor.

A layer is an operator with the elementwise operators fused to it (those that read what only they
read). Its bytes are its inputs, weights and outputs, each once, of what is looked up only what is
taken: what a layer whose tensors all come from memory must move. Caches may do better, and a runtime
that fuses less does worse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import TYPE_CHECKING

from edgebench.models.onnx_file import constant_tensors
from edgebench.models.operation_count import ELEMENTWISE, FREE, PICKING, Shapes, operations
from edgebench.record import Layer, Work

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...] | None  # None: open
    item_bytes: float


@dataclass
class _Group:
    """A layer in the making."""

    kind: str
    flops: int | None = 0
    nodes: list[NodeProto] = field(default_factory=list)


def work_of(model: ModelProto) -> Work:
    """Counts a model whose shapes are fixed. Operators that are not known are listed."""
    import onnx

    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    except Exception:  # noqa: BLE001 - inference fails in ways of its own; then shapes are open
        inferred = model
    graph = inferred.graph
    tensors = _narrowed(graph, _tensors(graph))
    groups = _groups(graph, tensors)
    layers, uncounted = [], Counter[str]()
    readers = _readers(graph)
    bytes_of = [_bytes(group, readers, tensors) for group in groups]
    for group, moved in zip(groups, bytes_of, strict=True):
        if group.flops is None or moved is None:
            uncounted[group.kind] += 1
        else:
            layers.append(Layer(op=group.kind, flops=group.flops, moved_bytes=round(moved)))
    known = sum(layer.moved_bytes for layer in layers)
    open_shapes = any(moved is None for moved in bytes_of)
    total = round(sum(moved for moved in bytes_of if moved is not None))
    return Work(
        flops=sum(layer.flops for layer in layers),
        moved_bytes=known,
        layers=layers,
        uncounted=dict(uncounted),
        uncounted_share=None
        if open_shapes
        else (max(0.0, 1 - known / total) if uncounted else 0.0),
    )


def _tensors(graph: GraphProto) -> dict[str, _Tensor]:
    tensors = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        axes = kind.shape.dim if kind.HasField("shape") else None
        fixed = axes is not None and all(axis.HasField("dim_value") for axis in axes)
        shape = tuple(axis.dim_value for axis in axes) if fixed and axes is not None else None
        tensors[value.name] = _Tensor(shape, _width(kind.elem_type))
    for name, tensor in constant_tensors(graph):
        tensors[name] = _Tensor(tuple(tensor.dims), _width(tensor.data_type))
    return tensors


def _width(element: int) -> float:
    """Bytes of an element; packed types take a share of one."""
    import onnx

    packed = {"INT4": 0.5, "UINT4": 0.5, "FLOAT4E2M1": 0.5}
    name = onnx.TensorProto.DataType.Name(element) if element else "UNDEFINED"
    if name in packed:
        return packed[name]
    try:
        return float(onnx.helper.tensor_dtype_to_np_dtype(element).itemsize)
    except (KeyError, TypeError, ValueError):
        return 0.0


def _narrowed(graph: GraphProto, tensors: dict[str, _Tensor]) -> dict[str, _Tensor]:
    """Values beside Q/DQ pairs at the width in which they are kept."""
    readers: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    done = dict(tensors)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in tensors:
            wide, narrow = node.output[0], tensors[node.input[0]]
            shape = tensors[wide].shape if wide in tensors else narrow.shape
            done[wide] = _Tensor(shape or narrow.shape, narrow.item_bytes)
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and node.output[0] in tensors:
            wide = node.input[0]
            if wide in done and all(r.op_type == "QuantizeLinear" for r in readers[wide]):
                done[wide] = _Tensor(done[wide].shape, tensors[node.output[0]].item_bytes)
    return done


def _groups(graph: GraphProto, tensors: Mapping[str, _Tensor]) -> list[_Group]:
    """Layers in the order of the graph, elementwise operators joined to what they read."""
    constants = {tensor.name for tensor in graph.initializer}
    uses = Counter(name for node in graph.node for name in node.input)
    kept = {value.name for value in graph.output}
    alias: dict[str, str] = {}  # output of a view -> what it shows
    producer: dict[str, _Group] = {}
    groups: list[_Group] = []
    for node in _needed(graph):
        inputs = [alias.get(name, name) for name in node.input if name]
        if all(name in constants for name in inputs):
            constants.update(node.output)  # follows from no input: done once, when loading
            continue
        if node.op_type in FREE:
            alias.update((name, inputs[0]) for name in node.output[:1])
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                alias.pop(node.output[0])
                if inputs[0] in producer and uses[node.input[0]] == 1:
                    producer[node.output[0]] = producer[inputs[0]]
            continue
        flops = _operations(node, tensors)
        group = None
        if node.op_type in ELEMENTWISE and flops is not None:
            sole = (n for n in inputs if n in producer and uses[n] == 1 and n not in kept)
            group = next((producer[name] for name in sole), None)
        if group is None or group.flops is None or flops is None:
            group = _Group(node.op_type, flops)
            groups.append(group)
        else:
            group.flops = (group.flops or 0) + flops
        group.nodes.append(node)
        producer.update((name, group) for name in node.output)
    return groups


def _needed(graph: GraphProto) -> list[NodeProto]:
    """Nodes on which an output depends: a runtime leaves out the others. A node with a graph of its own may
    read any value of this one."""
    names = {value.name for value in graph.output}
    nodes: list[NodeProto] = []
    for node in reversed(graph.node):  # a graph is sorted: whoever reads comes later
        if names.isdisjoint(node.output):
            continue
        nodes.append(node)
        names.update(node.input)
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                names.update(name for each in inner.node for name in each.input)
    return nodes[::-1]


def _operations(node: NodeProto, tensors: Mapping[str, _Tensor]) -> int | None:
    inputs, outputs = _shapes(node.input, tensors), _shapes(node.output, tensors)
    named = [*zip(node.input, inputs, strict=True), *zip(node.output[:1], outputs, strict=False)]
    if any(name and shape is None for name, shape in named):
        return None
    try:
        return operations(node, inputs, outputs)
    except (AssertionError, IndexError, ValueError):
        return None  # not the shapes that this operator has


def _shapes(names: Sequence[str], tensors: Mapping[str, _Tensor]) -> Shapes:
    return [tensors[name].shape if name in tensors else None for name in names]


def _readers(graph: GraphProto) -> dict[str, set[int]]:
    """Tensor -> the nodes that read it; whoever takes the graph's outputs counts as one."""
    readers: dict[str, set[int]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(id(node))
    for value in graph.output:
        readers.setdefault(value.name, set()).add(id(value))
    return readers


def _bytes(
    group: _Group, readers: Mapping[str, set[int]], tensors: Mapping[str, _Tensor]
) -> float | None:
    """Returns what the layer reads from outside itself and what others read of it, each once."""
    inner = {name for node in group.nodes for name in node.output}
    members = {id(node) for node in group.nodes}
    read = {name for node in group.nodes for name in node.input if name and name not in inner}
    written = {name for name in inner if readers.get(name, set()) - members}
    first, *fused = group.nodes
    taken = {first.input[0]: first.output[0]} if first.op_type in PICKING else {}
    if any(name in node.input for node in fused for name in taken):
        taken = {}  # whole, after all
    total = 0.0
    for name in read | written:
        tensor, part = tensors.get(name), tensors.get(taken.get(name, name))
        if tensor is None or tensor.shape is None or part is None or part.shape is None:
            return None
        total += min(prod(tensor.shape), prod(part.shape)) * tensor.item_bytes
    return total
