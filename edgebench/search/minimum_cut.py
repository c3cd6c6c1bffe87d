"""Computes the minimum cut of a small graph by its maximum flow (Dinic's algorithm), and reads it as a choice.

Each item takes one of two options. Its own costs add up, and a pair of items that differ pays a price. Then the
cheapest choice of all is a minimum cut between a source (option A) and a sink (option B), exact and in
milliseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Residual capacities below this share of the largest one are rounding.
_ROUNDING = 1e-12


class FlowGraph:
    """Nodes by number; arcs with capacities in both directions."""

    def __init__(self, nodes: int) -> None:
        self._first: list[list[int]] = [[] for _ in range(nodes)]
        self._target: list[int] = []
        self._capacity: list[float] = []

    def add(self, source: int, target: int, forth: float, back: float = 0.0) -> None:
        for start, end, capacity in ((source, target, forth), (target, source, back)):
            self._first[start].append(len(self._target))
            self._target.append(end)
            self._capacity.append(capacity)

    def source_side(self, source: int, sink: int) -> set[int]:
        """The nodes on the source's side of a minimum cut: the smallest such set."""
        least = _ROUNDING * max(self._capacity, default=0.0)
        while sink in (levels := self._levels(source, least)):
            self._block(source, sink, levels, least)
        return set(levels)

    def _levels(self, source: int, least: float) -> dict[int, int]:
        """Distance from the source of each node that still can be reached."""
        levels, queue = {source: 0}, deque([source])
        while queue:
            node = queue.popleft()
            for arc in self._first[node]:
                target = self._target[arc]
                if self._capacity[arc] > least and target not in levels:
                    levels[target] = levels[node] + 1
                    queue.append(target)
        return levels

    def _block(self, source: int, sink: int, levels: Mapping[int, int], least: float) -> None:
        """Sends flow along shortest paths until none is left."""
        tried = [0] * len(self._first)
        path: list[int] = []  # arcs
        node = source
        while True:
            if node == sink:
                self._send(path)
                path, node = [], source
                continue
            arc = self._open_arc(node, tried, levels, least)
            if arc is not None:
                path.append(arc)
                node = self._target[arc]
            elif not path:
                return
            else:  # a dead end: one step back
                node = self._target[path.pop() ^ 1]
                tried[node] += 1

    def _open_arc(
        self, node: int, tried: list[int], levels: Mapping[int, int], least: float
    ) -> int | None:
        arcs = self._first[node]
        while tried[node] < len(arcs):
            arc = arcs[tried[node]]
            deeper = levels.get(self._target[arc], -1) == levels[node] + 1
            if deeper and self._capacity[arc] > least:
                return arc
            tried[node] += 1
        return None

    def _send(self, path: Sequence[int]) -> None:
        amount = min(self._capacity[arc] for arc in path)
        for arc in path:
            self._capacity[arc] -= amount
            self._capacity[arc ^ 1] += amount


@dataclass(frozen=True)
class Difference:
    """What two items pay where they take different options."""

    first: str
    second: str
    price: float


def cheapest_choice(
    cost_a: Mapping[str, float], cost_b: Mapping[str, float], differences: Sequence[Difference]
) -> frozenset[str]:
    """The items that take option A; of equally cheap choices the one with fewest."""
    place = {name: number for number, name in enumerate(cost_a, start=2)}
    graph = FlowGraph(len(place) + 2)
    for name, number in place.items():
        common = min(cost_a[name], cost_b[name])  # both pay it: capacities must not be negative
        graph.add(0, number, cost_b[name] - common)
        graph.add(number, 1, cost_a[name] - common)
    for each in differences:
        graph.add(place[each.first], place[each.second], each.price, each.price)
    side = graph.source_side(0, 1)
    return frozenset(name for name, number in place.items() if number in side)
