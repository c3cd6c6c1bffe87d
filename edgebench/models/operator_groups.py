"""Groups of operators that a runtime fuses: the units in which a precision is chosen.

A group is an operator with constant weights and what only follows it (activation, pooling). A joiner is a cheap
operator between groups: alone it gains nothing in int8, but it spares two conversions between int8 neighbours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from edgebench.models.products import BLOCK_SIZE, product_inputs
from edgebench.models.quantization_recipes import COMPUTE_OPS, FOLLOWERS, Recipe

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

#: Operators that compute from weights, or from two results as attention does.
_WITH_WEIGHTS = (*COMPUTE_OPS, "LSTM", "GRU", "RNN")


@dataclass(frozen=True)
class Unit:
    """What gets one precision: a group, or a joiner alone."""

    name: str  # of its first node
    op: str  # of its first node
    nodes: tuple[str, ...]
    joiner: bool = False


@dataclass(frozen=True)
class Edge:
    """Values that one unit gives another; None: what always stays in fp32."""

    source: str | None
    target: str | None
    elements: int


@dataclass(frozen=True)
class Units:
    """All units of a graph in its order, and what flows between them."""

    units: tuple[Unit, ...]
    edges: tuple[Edge, ...]
    recurrent: tuple[Unit, ...] = ()  # layers that become int8-dynamic or stay in fp32
    #: Matrix products with constant weights, each of its first node alone.
    products: tuple[Unit, ...] = ()
    in_blocks: tuple[Unit, ...] = ()  # those of them whose weights fit into blocks

    @property
    def dynamic(self) -> tuple[Unit, ...]:
        """What can be quantised at run time: matrix products and recurrent layers."""
        return (*self.products, *self.recurrent)

    @property
    def groups(self) -> tuple[Unit, ...]:
        return tuple(unit for unit in self.units if not unit.joiner)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(unit.name for unit in self.units)

    def nodes_of(self, names: Collection[str]) -> list[str]:
        """The nodes of some units, in the order of the graph."""
        return [node for unit in self.units if unit.name in names for node in unit.nodes]

    def joined(self, groups: Collection[str], ops: Collection[str]) -> frozenset[str]:
        """The groups, and the joiners of some operators whose every source is in int8: the usual placement."""
        chosen = set(groups)
        sources: dict[str, list[str | None]] = {}
        for edge in self.edges:
            if edge.target is not None:
                sources.setdefault(edge.target, []).append(edge.source)
        for unit in self.units:  # in the order of the graph
            before = sources.get(unit.name, [])
            if unit.joiner and unit.op in ops and before and chosen.issuperset(before):
                chosen.add(unit.name)
        return frozenset(chosen)


def units_of(model: ModelProto, recipe: Recipe, excluded: Collection[str] = ()) -> Units:
    """The units of a model whose nodes are named; `excluded` nodes stay in fp32."""
    units = _found_units(model.graph, recipe, excluded)
    inputs = product_inputs(model.graph)
    products = tuple(Unit(u.name, u.op, u.nodes[:1]) for u in units if u.name in inputs)
    in_blocks = tuple(unit for unit in products if inputs[unit.name] % BLOCK_SIZE == 0)
    return Units(units, _edges(model, units), _recurrent(model.graph), products, in_blocks)


def _recurrent(graph: GraphProto) -> tuple[Unit, ...]:
    constants = {tensor.name for tensor in graph.initializer}
    return tuple(
        Unit(node.name, node.op_type, (node.name,))
        for node in graph.node
        if node.op_type == "LSTM" and constants.issuperset(node.input[1:3])
    )


def _found_units(graph: GraphProto, recipe: Recipe, excluded: Collection[str]) -> tuple[Unit, ...]:
    constants = {tensor.name for tensor in graph.initializer}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(value.name for value in graph.output)
    writer: dict[str, NodeProto] = {out: node for node in graph.node for out in node.output}
    members: dict[str, list[str]] = {}
    owner: dict[str, str] = {}
    for node in graph.node:
        if node.op_type in COMPUTE_OPS and constants.intersection(node.input[1:2]):
            owner[node.name] = node.name
            members[node.name] = [node.name]
        elif node.op_type in recipe.joiners and node.name not in excluded:
            before = [writer.get(name) for name in node.input if name and name not in constants]
            leader = _leader(node, before, owner, members, readers)
            owner[node.name] = leader
            members.setdefault(leader, []).append(node.name)
    ops = {node.name: node.op_type for node in graph.node}
    return tuple(
        Unit(name, ops[name], tuple(nodes), joiner=ops[name] not in COMPUTE_OPS)
        for name, nodes in members.items()
    )


def _leader(
    node: NodeProto,
    before: Sequence[NodeProto | None],
    owner: Mapping[str, str],
    members: Mapping[str, Sequence[str]],
    readers: Mapping[str, int],
) -> str:
    """The unit that a node belongs to: of the only one whose result it alone reads, else its own."""
    source = before[0] if len(before) == 1 else None
    if source is None or node.op_type not in FOLLOWERS or source.name not in owner:
        return node.name
    alone = all(readers[output] == 1 for output in source.output if output in node.input)
    return owner[source.name] if alone else node.name


def _edges(model: ModelProto, units: Iterable[Unit]) -> tuple[Edge, ...]:
    """The elements between units, and between units and what stays in fp32."""
    unit_of = {node: unit.name for unit in units for node in unit.nodes}
    constants = {tensor.name for tensor in model.graph.initializer}
    sizes = _sizes(model)
    writer = {out: node.name for node in model.graph.node for out in node.output}
    carried: dict[tuple[str | None, str | None], int] = {}

    def carry(name: str, target: str | None) -> None:
        source = unit_of.get(writer.get(name, ""))
        if source != target:
            key = (source, target)
            carried[key] = carried.get(key, 0) + sizes.get(name, 0)

    for node in model.graph.node:
        for name in dict.fromkeys(node.input):
            if name and name not in constants:
                carry(name, unit_of.get(node.name))
    for value in model.graph.output:
        carry(value.name, None)
    return tuple(Edge(source, target, count) for (source, target), count in carried.items())


def _sizes(model: ModelProto) -> dict[str, int]:
    from onnx import shape_inference

    from edgebench.models.onnx_file import fits_inline

    graph = shape_inference.infer_shapes(model).graph if fits_inline(model) else model.graph
    return {
        value.name: prod(max(1, d.dim_value) for d in value.type.tensor_type.shape.dim)
        for value in (*graph.value_info, *graph.input, *graph.output)
    }


def light_ends(model: ModelProto, units: Units, most: float) -> frozenset[str]:
    """The groups that no other operator with weights follows, each with at most that share of all weights."""
    graph = model.graph
    sizes = {tensor.name: prod(tensor.dims) for tensor in graph.initializer}
    weights = {node.name: sum(sizes.get(name, 0) for name in node.input) for node in graph.node}
    limit = most * sum(sizes.values())
    heavy = _followed(graph)
    return frozenset(
        unit.name
        for unit in units.groups
        if unit.nodes[-1] not in heavy and sum(weights[node] for node in unit.nodes) <= limit
    )


def _followed(graph: GraphProto) -> set[str]:
    """The nodes from whose results an operator with weights computes, whatever lies between."""
    readers: dict[str, list[NodeProto]] = {}
    found: set[str] = set()
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for node in reversed(graph.node):
        after = [reader for name in node.output for reader in readers.get(name, ())]
        if any(each.op_type in _WITH_WEIGHTS or each.name in found for each in after):
            found.add(node.name)
    return found
