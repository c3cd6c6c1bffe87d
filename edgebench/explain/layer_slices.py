"""Matches the layers of two ONNX files of one network, and cuts each layer of the second out as a model of its own.

A layer is what leads from tensors that both files have to the next one. The pair of conversions that quantises a
tensor belongs to the layer that writes it: whoever reads the tensor behind the pair reads it as that layer's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

_PAIR = ("QuantizeLinear", "DequantizeLinear")


@dataclass(frozen=True)
class Layer:
    """One layer of the second file."""

    tensor: str  # the common tensor that it writes, by its name in both files
    read_as: str  # the name under which others read it in the second file: behind its pair, where it has one
    node: str  # the last node of it that computes; of a pair at an input the input
    kind: str
    inputs: tuple[
        tuple[str, str], ...
    ]  # names in the second file that it reads -> the common tensor
    nodes: tuple[NodeProto, ...] = field(repr=False, default=())


class Network:
    """A file by its tensors."""

    def __init__(self, model: ModelProto) -> None:
        from edgebench.models.onnx_file import graph_inputs

        self.model, self.graph = model, model.graph
        self.writers = {name: node for node in self.graph.node for name in node.output if name}
        self.inputs = {value.name for value in graph_inputs(model)}
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self._readers: dict[str, list[NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def behind_pair(self, tensor: str) -> str:
        """The tensor as it is behind its pair of conversions; itself where it has none."""
        for first in self._readers.get(tensor, ()):
            if first.op_type == _PAIR[0]:
                for second in self._readers.get(first.output[0], ()):
                    if second.op_type == _PAIR[1]:
                        return str(second.output[0])
        return tensor


def common_layers(reference: Network, other: Network) -> list[Layer]:
    """The layers in the order of the second file."""
    shared = [
        name
        for name in (*reference.inputs, *reference.writers)
        if name in other.inputs or name in other.writers
    ]
    read_as = {name: other.behind_pair(name) for name in shared}
    common = {name: name for name in shared}
    common |= {behind: name for name, behind in read_as.items()}
    layers = [
        layer
        for name in shared
        if (layer := _layer(other, name, read_as[name], common)) is not None
    ]
    order = {name: place for place, name in enumerate(_tensors_written(other.graph))}
    return sorted(layers, key=lambda layer: order.get(layer.tensor, -1))


def _tensors_written(graph: GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from filter(None, node.output)


def _layer(other: Network, tensor: str, read_as: str, common: Mapping[str, str]) -> Layer | None:
    """The nodes between the tensor and the common ones before it; None of an input that stays as it is, and of
    what is constant."""
    nodes: dict[int, NodeProto] = {}
    inputs: dict[str, str] = {}
    pending = [read_as]
    while pending:
        name = pending.pop()
        met = common.get(name)
        if met is not None and (met != tensor or name in other.inputs):
            inputs[name] = met
            continue
        node = other.writers.get(name)
        if node is None or id(node) in nodes:
            continue  # a constant, or seen already
        nodes[id(node)] = node
        pending += [each for each in node.input if each]
    if not nodes or not inputs:
        return None
    ordered = tuple(node for node in other.graph.node if id(node) in nodes)
    main = next((n for n in reversed(ordered) if n.op_type not in _PAIR), None)
    node_name = tensor if main is None else (main.name or main.output[0])
    kind = "input" if main is None else main.op_type
    return Layer(tensor, read_as, node_name, kind, tuple(sorted(inputs.items())), ordered)


def model_of(layer: Layer, other: Network, shapes: Mapping[str, ValueInfoProto]) -> ModelProto:
    """A layer as a model that reads its inputs and writes `read_as`. `shapes`: types of common tensors by name."""
    from onnx import helper

    values = [_renamed(shapes[tensor], name) for name, tensor in layer.inputs]
    output = _renamed(shapes[layer.tensor], layer.read_as)
    fed = {name for name, _ in layer.inputs}
    read = {name for node in layer.nodes for name in node.input if name} - fed
    constants = [other.constants[name] for name in other.constants if name in read]
    graph = helper.make_graph(list(layer.nodes), "layer", values, [output], constants)
    return helper.make_model(
        graph, opset_imports=list(other.model.opset_import), ir_version=other.model.ir_version
    )


def _renamed(value: ValueInfoProto, name: str) -> ValueInfoProto:
    copy = type(value)()
    copy.CopyFrom(value)
    copy.name = name
    return copy
