"""Predicts what a model would take if some of its operators were left in the other precision.

The time of a network is (nearly) the sum of its operators and a price for each element that changes its type or
its layout between them. The operators' times are measured in both precisions; the prices are what the
conversions of the two profiles took, over the elements that crossed there. Which operators to leave is found by
changing one after the other while the sum falls.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from edgebench.explain.explanation import Prediction
from edgebench.explain.graph_facts import NodeFacts
from edgebench.explain.node_groups import CONVERTING, Group
from edgebench.explain.profile_runs import Measured
from edgebench.explain.turn_statistics import figure
from edgebench.operator_times import OperatorTime

#: Nodes that pass a value on in whatever type it has: runtimes move conversions across them.
_PASSING = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Slice"}
)
#: Operators that a runtime adds to change the order of data in memory.
LAYOUTS = frozenset({"ReorderInput", "ReorderOutput", "Transpose", "Reorder"})
#: ns per element that crosses, where a profile has nothing to measure them by, and their bounds.
DEFAULT_PRICE_NS, MAX_PRICE_NS = 0.6, 5.0
#: A mix is worth a word where it takes this much less than the deployment as it is.
MIN_GAIN = 0.01
_MAX_ROUNDS = 20
#: A profiler whose clock steps by this much tells nothing of operators that take no longer.
CLOCK_NS, MAX_CLOCK_SHARE = 1000, 0.1
#: Of the time of a run, whatever its operators lose.
MIN_SHARE = 0.05


@dataclass(frozen=True)
class _Unit:
    """A group that may run in either precision."""

    group: Group
    ours_ns: float  # in the first deployment
    theirs_ns: float  # in the one that is explained
    in_blocks: bool  # whether its kernel in the first deployment may want a layout of its own


def predict(
    groups: Sequence[Group],
    against: Measured,
    subject: Measured,
    names: Mapping[str, str],
) -> Prediction | None:
    """The best mix found; None where none is predicted to gain, or nothing may be changed."""
    model = _Model(groups, against, subject, names)
    kept = model.best()
    if not kept:
        return None
    share = model.share(kept)
    if 1 / share < 1 + MIN_GAIN:
        return None
    ours, theirs = against.compared_by_turn, subject.compared_by_turn
    return Prediction(
        kept=[unit.group.main.name for place, unit in model.units.items() if place in kept],
        run_ns=figure([share * turn for turn in theirs]),
        speedup=figure([a / (share * b) for a, b in zip(ours, theirs, strict=False)]),
        gain=1 / share,
    )


def too_coarse(measured: Measured) -> bool:
    """Whether the profiler's clock, of a microsecond, is a large part of what operators take."""
    operators = measured.profile.operators
    return len(operators) * CLOCK_NS / 2 > MAX_CLOCK_SHARE * _sum_ns(operators)


class _Model:
    """The sum that is predicted, and what it is made of."""

    def __init__(
        self,
        groups: Sequence[Group],
        against: Measured,
        subject: Measured,
        names: Mapping[str, str],
    ) -> None:
        self._subject = subject
        quantised = _quantised(subject.nodes, names)
        self.units = {
            place: _unit(group)
            for place, group in enumerate(groups)
            if any(_may_change(node, quantised) for node in group.nodes) and all(group.operators)
        }
        self._crossings = _crossings(groups, against.nodes)
        everything = frozenset(self.units)
        blocks = any(o.kind.startswith("Reorder") for o in against.profile.operators)
        self._blocks = frozenset(p for p, u in self.units.items() if u.in_blocks and blocks)
        changed = _sum_ns([o for o in subject.profile.operators if is_conversion(o)])
        moved = _sum_ns([o for o in against.profile.operators if is_conversion(o)])
        self._type_price = _price(changed, self._changed(everything), DEFAULT_PRICE_NS)
        self._layout_price = _price(moved, self._moved(frozenset()), 0.0) if blocks else 0.0

    def best(self) -> frozenset[int]:
        """The groups to leave in the other precision, so that the sum is least."""
        slower = frozenset(p for p, u in self.units.items() if u.theirs_ns > u.ours_ns)
        starts = (slower, frozenset[int](), frozenset(self.units))
        return min((self._improved(start) for start in starts), key=self._change_ns)

    def _improved(self, kept: frozenset[int]) -> frozenset[int]:
        for _ in range(_MAX_ROUNDS):
            before = self._change_ns(kept)
            for place in self.units:
                other = kept ^ {place}
                if self._change_ns(other) < self._change_ns(kept):
                    kept = other
            if self._change_ns(kept) >= before:
                break
        return kept

    def _change_ns(self, kept: frozenset[int]) -> float:
        """What leaving these groups adds to the time of the deployment that is explained."""
        kernels = sum(self.units[p].ours_ns - self.units[p].theirs_ns for p in kept)
        return kernels + self._conversions_ns(kept)

    def _conversions_ns(self, kept: frozenset[int]) -> float:
        everything = frozenset(self.units)
        changed = self._changed(everything - kept) - self._changed(everything)
        moved = self._moved(everything - kept) - self._moved(everything)
        return self._type_price * changed + self._layout_price * moved

    def _changed(self, quantised: frozenset[int]) -> float:
        """Elements that are turned into integers or back by an operator of its own."""
        total = 0.0
        for crossing in self._crossings:
            inside = [reader in quantised for reader in crossing.readers]
            writer = crossing.writer in quantised
            if writer or any(inside):
                total += crossing.elements * ((not writer) + inside.count(False))
        return total

    def _moved(self, quantised: frozenset[int]) -> float:
        """Elements that go from the layout of a float kernel to the plain one, or back."""
        blocks = self._blocks - quantised
        total = 0.0
        for crossing in self._crossings:
            inside = {reader in blocks for reader in crossing.readers}
            writer = crossing.writer in blocks
            total += crossing.elements * (writer and False in inside)
            total += crossing.elements * (not writer and True in inside)
        return total

    def share(self, kept: frozenset[int]) -> float:
        """What of the time is left: operators change their sum by a share, and the run by the same."""
        total = _sum_ns(self._subject.profile.operators)
        return max(1 + self._change_ns(kept) / total, MIN_SHARE)


def _unit(group: Group) -> _Unit:
    ours, theirs = group.operators
    return _Unit(group, _sum_ns(ours), _sum_ns(theirs), group.main.kind == "Conv")


def _sum_ns(operators: Sequence[OperatorTime]) -> float:
    return sum(median(operator.times_ns) for operator in operators)


def is_conversion(operator: OperatorTime) -> bool:
    """Whether it only changes type or layout, and stands for no other node of the file."""
    return operator.kind in CONVERTING or (operator.added and operator.kind in LAYOUTS)


def _price(time_ns: float, elements: float, default: float) -> float:
    if elements <= 0:
        return default
    return min(time_ns / elements, MAX_PRICE_NS)


def _quantised(nodes: Sequence[NodeFacts], names: Mapping[str, str]) -> set[str]:
    """Nodes of the first file that compute between integers in the second one: whatever they read was
    turned back from integers, or never changes."""
    writers = {output: node for node in nodes for output in node.outputs}
    found = set()
    for node in nodes:
        read = [writers[name].kind if name in writers else "" for name in node.inputs]
        if node.name in names and read and set(read) == {"DequantizeLinear"}:
            found.add(names[node.name])
    return found


def _may_change(node: NodeFacts, quantised: Collection[str]) -> bool:
    return node.name in quantised and node.kind not in _PASSING


@dataclass(frozen=True)
class _Crossing:
    """A value that goes from one group to others; -1: from outside, or to nobody."""

    writer: int
    readers: tuple[int, ...]
    elements: int


def _crossings(groups: Sequence[Group], nodes: Sequence[NodeFacts]) -> list[_Crossing]:
    place_of = {node.name: place for place, group in enumerate(groups) for node in group.nodes}
    shown: dict[str, str] = {}  # a value -> the one that it passes on
    for node in nodes:
        if node.kind in _PASSING and node.inputs:
            shown.update({out: shown.get(node.inputs[0], node.inputs[0]) for out in node.outputs})
    elements: dict[str, int] = {}
    writers: dict[str, int] = {}
    readers: dict[str, list[int]] = {}
    for node in nodes:
        if node.kind in _PASSING:
            continue
        place = place_of.get(node.name, -1)
        for output in node.outputs:
            writers[output] = place
            elements.setdefault(output, node.elements or 0)
        for name, size in zip(node.inputs, node.input_elements, strict=True):
            root = shown.get(name, name)
            readers.setdefault(root, []).append(place)
            elements.setdefault(root, size or 0)
    return [
        _Crossing(writers.get(name, -1), _others(writers.get(name, -1), readers.get(name)), size)
        for name, size in elements.items()
    ]


def _others(writer: int, readers: Sequence[int] | None) -> tuple[int, ...]:
    """Groups that read a value, beside the one that writes it; whoever takes the answer reads as well."""
    if readers is None:
        return (-1,)
    return tuple(sorted(set(readers) - ({writer} if writer >= 0 else set())))
