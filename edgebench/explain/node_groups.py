"""Groups the operators of two profiles of one network by the nodes of the file that they stand for.

One runtime fuses what another runs apart: operators that share a node belong to one group, and groups are
what can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from edgebench.explain.graph_facts import NodeFacts
from edgebench.operator_times import OperatorTime

#: Nodes that only change the type of data: no group is held together by them.
CONVERTING = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})


@dataclass
class Group:
    """Nodes that are compared as one, and the operators of each profile that stand for them."""

    nodes: list[NodeFacts]  # of the first file, in its order
    operators: tuple[list[OperatorTime], list[OperatorTime]] = field(default=([], []))

    @property
    def main(self) -> NodeFacts:
        """The node that does most of the arithmetic."""
        return max(self.nodes, key=lambda node: node.flops or 0)

    def what(self) -> str:
        """The kind of its main node, with what sets its kernel apart."""
        return f"{self.main.detail} {self.main.kind}".strip()


def common_names(first: Sequence[NodeFacts], second: Sequence[NodeFacts]) -> dict[str, str]:
    """Name in the second file -> name in the first: the same name, or the same tensor that is written."""
    names = {node.name for node in first}
    writers = {output: node.name for node in first for output in node.outputs}
    found = {}
    for node in second:
        if node.kind in CONVERTING:
            continue
        if node.name in names:
            found[node.name] = node.name
        else:
            written = next((writers[name] for name in node.outputs if name in writers), None)
            if written is not None:
                found[node.name] = written
    return found


def grouped(
    nodes: Sequence[NodeFacts],
    first: Sequence[OperatorTime],
    second: Sequence[OperatorTime],
    names: Mapping[str, str],
) -> list[Group]:
    """The groups of two profiles, in the order of the first file. `names`: those of the second file's nodes in
    the first. Operators that stand for no node of it are in no group."""
    known = {node.name: place for place, node in enumerate(nodes) if node.kind not in CONVERTING}
    same = {name: name for name in known}
    ours = [(operator, _places(operator, known, same)) for operator in first]
    theirs = [(operator, _places(operator, known, names)) for operator in second]
    heads = _joined(len(nodes), [places for _, places in (*ours, *theirs)])
    groups: dict[int, Group] = {}
    for place, node in enumerate(nodes):
        if node.name in known and known[node.name] == place:
            groups.setdefault(heads[place], Group([], ([], []))).nodes.append(node)
    for side, operators in enumerate((ours, theirs)):
        for operator, places in operators:
            if places:
                groups[heads[places[0]]].operators[side].append(operator)
    return [group for group in groups.values() if any(group.operators)]


def _places(
    operator: OperatorTime, known: Mapping[str, int], names: Mapping[str, str]
) -> list[int]:
    translated = (names.get(node) for node in operator.nodes or ())
    return [known[name] for name in translated if name is not None and name in known]


def _joined(count: int, sets: Iterable[Sequence[int]]) -> list[int]:
    """The head of each place, where places of a set have one head (disjoint sets)."""
    parent = list(range(count))

    def head(place: int) -> int:
        while parent[place] != place:
            parent[place] = parent[parent[place]]
            place = parent[place]
        return place

    for places in sets:
        for place in places[1:]:
            parent[head(place)] = head(places[0])
    return [head(place) for place in range(count)]
