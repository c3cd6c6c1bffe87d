"""Maps the nodes of a graph that ONNX Runtime optimised back to the nodes of the file that it came from.

ONNX Runtime keeps names of nodes and tensors where it can, and appends to them where it makes new ones
(`conv_nchwc`, `conv_token_12`, `x_pre_q`, `y/MatMulAddFusion`). A node is found by a tensor that it writes or
by its name; a node of the file that is not found was fused into one of its neighbours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto

#: What ONNX Runtime appends to the name of a node or tensor; may stand several times.
_APPENDED = re.compile(
    r"(_nchwc|_token_\d+|_pre_q|_post_dq\d*|_q_to_dq\d*|_d?q\d*|_out\d+|_f16"
    r"|/duplicated|/\w*Fusion\w*/?|_InsertedPrecisionFreeCast_.*|_nhwc|_transposed|_gemm)$"
)
#: Operators that only change the form of data: ONNX Runtime puts them in and moves them.
CONVERSIONS = (
    *("QuantizeLinear", "DequantizeLinear", "Transpose", "Cast", "Reshape"),
    *("ReorderInput", "ReorderOutput", "MemcpyToHost", "MemcpyFromHost"),
)
#: Operators that a kernel computes as it writes its result.
_ACTIVATIONS = (
    *("Relu", "Clip", "LeakyRelu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish", "Elu"),
    *("Add", "Sum"),
)


def name_of(node: NodeProto) -> str:
    """The node's name; where it has none, its first output."""
    return node.name or next(filter(None, node.output), node.op_type)


def sources_of(optimised: GraphProto, source: GraphProto) -> dict[str, tuple[str, ...]]:
    """Name of an optimised node -> names of the file's nodes that it stands for, in the file's order.

    A node that ONNX Runtime put in stands for none.
    """
    mapping = _Mapping(_Source(source))
    for node in optimised.node:
        mapping.find(node)
    mapping.assign_rest()
    return mapping.names()


class _Source:
    """The file's nodes by what they are found by."""

    def __init__(self, graph: GraphProto) -> None:
        self.nodes: list[NodeProto] = list(graph.node)
        self.by_name = {node.name: place for place, node in enumerate(self.nodes) if node.name}
        self.writer = {
            name: place for place, node in enumerate(self.nodes) for name in node.output if name
        }
        self.readers: dict[str, list[int]] = {}
        for place, node in enumerate(self.nodes):
            for name in _read(node):
                self.readers.setdefault(name, []).append(place)

    def producers(self, place: int) -> list[int]:
        return [self.writer[name] for name in self.nodes[place].input if name in self.writer]

    def consumers(self, place: int) -> list[int]:
        names = self.nodes[place].output
        return [reader for name in names for reader in self.readers.get(name, ())]


def _read(node: NodeProto) -> Iterator[str]:
    """Tensors that a node reads, those of its subgraphs included."""
    yield from filter(None, node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _read(inner)


_Choose = Callable[[int], "str | None"]


@dataclass
class _Mapping:
    source: _Source
    #: Place of the file's node -> optimised node.
    owner: dict[int, str] = field(default_factory=dict)
    own: dict[str, set[int]] = field(default_factory=dict)  # optimised node -> places

    def find(self, node: NodeProto) -> None:
        """Anchors an optimised node at the file's node that writes its output or has its name."""
        places = self.own.setdefault(name_of(node), set())
        for place in _anchors(node, self.source):
            places.add(place)
            self.owner.setdefault(place, name_of(node))

    def assign_rest(self) -> None:
        """Gives every node that was not found to the optimised node beside it that it was fused into."""
        self._assign(reversed(range(len(self.source.nodes))), self._by_reader)
        self._assign(range(len(self.source.nodes)), self._by_writer)
        self._assign(reversed(range(len(self.source.nodes))), self._by_any_reader)

    def _assign(self, places: Iterable[int], choose: _Choose) -> None:
        for place in places:
            if place in self.owner or self.source.nodes[place].op_type == "Constant":
                continue
            owner = choose(place)
            if owner is not None:
                self.owner[place] = owner
                self.own[owner].add(place)

    def _by_reader(self, place: int) -> str | None:
        """The one optimised node that reads all it writes; not of what is computed with what wrote before."""
        node = self.source.nodes[place]
        if node.op_type == "QuantizeLinear" or self._follows(place):
            return None
        owners = {self.owner.get(reader) for reader in self.source.consumers(place)}
        return owners.pop() if len(owners) == 1 else None

    def _follows(self, place: int) -> bool:
        """Whether it is an activation of the one node before it, or of a sum."""
        node = self.source.nodes[place]
        if node.op_type not in _ACTIVATIONS:
            return False
        return any(
            len(self.source.readers.get(name, ())) == 1
            for name in node.input
            if name in self.source.writer
        )

    def _by_writer(self, place: int) -> str | None:
        """The optimised node of the last of those before it."""
        owners = [(before, self.owner.get(before)) for before in self.source.producers(place)]
        known = [(before, owner) for before, owner in owners if owner is not None]
        return max(known)[1] if known else None

    def _by_any_reader(self, place: int) -> str | None:
        return next(
            (self.owner[reader] for reader in self.source.consumers(place) if reader in self.owner),
            None,
        )

    def names(self) -> dict[str, tuple[str, ...]]:
        nodes = self.source.nodes
        return {
            name: tuple(name_of(nodes[place]) for place in sorted(places))
            for name, places in self.own.items()
        }


def _anchors(node: NodeProto, source: _Source) -> set[int]:
    """Places of the file's nodes that an optimised node certainly stands for."""
    found = set()
    for name in _shortened([*node.output]):
        found.add(source.writer.get(name, -1))
    for name in _shortened([node.name]):
        found.add(source.by_name.get(name, -1))
        found.add(source.writer.get(name, -1))
    return {place for place in found if place >= 0 and _fits(node, source.nodes[place])}


def _shortened(names: Sequence[str]) -> Iterator[str]:
    """The names, and what is left of them without what ONNX Runtime appended."""
    for name in filter(None, names):
        yield name
        short = name
        while (cut := _APPENDED.sub("", short)) not in ("", short):
            yield cut
            short = cut


def _fits(node: NodeProto, candidate: NodeProto) -> bool:
    """A conversion that is called after its neighbour does not stand for it."""
    if node.op_type in CONVERSIONS:
        return node.op_type == candidate.op_type
    return candidate.op_type not in ("QuantizeLinear", "DequantizeLinear") or _in_integers(node)


def _in_integers(node: NodeProto) -> bool:
    return node.op_type.startswith(("QLinear", "Q", "MatMulInteger", "NhwcQ", "ConvInteger"))
