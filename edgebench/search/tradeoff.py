"""Chooses int8 or fp32 for every unit: what a choice costs, the front of choices, the best under a limit.

Cost (time) is a sum over units, and a price where neighbours differ; load (damage, or bytes) is a sum over units.
For a price of load the best choice is a minimum cut. All vertices of the front's lower convex hull follow from
chords: the cut at the price that makes two vertices equal either is a vertex between them, or there is none.
What lies above the hull is found by branch and bound with the same cuts as bounds.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

from edgebench.search.minimum_cut import Difference, cheapest_choice

Choice = frozenset[str]  # the units that take the first option (int8)

#: Vertices of a front that are looked for, and nodes of a branch and bound.
MAX_VERTICES = 64
MAX_BRANCHES = 4000
_EQUAL = 1e-9  # relative


@dataclass(frozen=True)
class Tradeoff:
    """Two options of each unit, with what they cost and what they load."""

    cost_a: Mapping[str, float]
    cost_b: Mapping[str, float]
    load_a: Mapping[str, float]
    load_b: Mapping[str, float]
    differences: Sequence[Difference] = ()

    def cost(self, choice: Collection[str]) -> float:
        paid = sum(d.price for d in self.differences if (d.first in choice) != (d.second in choice))
        return paid + _sum(self.cost_a, self.cost_b, choice)

    def load(self, choice: Collection[str]) -> float:
        return _sum(self.load_a, self.load_b, choice)

    def best_at(self, price: float, fixed: Mapping[str, bool] | None = None) -> Choice:
        """The choice with the least cost + price x load; `fixed` units have their option."""
        return self._cut(1.0, price, fixed or {})

    def least_load(self, fixed: Mapping[str, bool] | None = None) -> Choice:
        """The choice with the least load, and of those the cheapest, nearly."""
        loads = [*self.load_a.values(), *self.load_b.values()]
        weight = _EQUAL * max(loads, default=0.0) / max(self._most_cost(), 1e-300)
        return self._cut(weight, 1.0, fixed or {})

    def _cut(self, weight: float, price: float, fixed: Mapping[str, bool]) -> Choice:
        cost_a = {n: weight * c + price * self.load_a[n] for n, c in self.cost_a.items()}
        cost_b = {n: weight * c + price * self.load_b[n] for n, c in self.cost_b.items()}
        most = 1e3 * (weight * self._most_cost() + price * self._most_load()) + 1e-9
        for name, first in fixed.items():
            (cost_b if first else cost_a)[name] += most
        differences = [Difference(d.first, d.second, weight * d.price) for d in self.differences]
        return cheapest_choice(cost_a, cost_b, differences)

    def _most_cost(self) -> float:
        own = (abs(value) for costs in (self.cost_a, self.cost_b) for value in costs.values())
        return sum(own) + sum(d.price for d in self.differences)

    def _most_load(self) -> float:
        return sum(abs(v) for loads in (self.load_a, self.load_b) for v in loads.values())


def _sum(first: Mapping[str, float], second: Mapping[str, float], choice: Collection[str]) -> float:
    return sum(first[name] if name in choice else second[name] for name in first)


def hull(tradeoff: Tradeoff) -> list[Choice]:
    """The choices on the lower convex hull of cost over load, from the cheapest to the least load."""
    ends = [tradeoff.best_at(0.0), tradeoff.least_load()]
    vertices = {*ends}
    chords = [(ends[0], ends[1])]
    while chords and len(vertices) < MAX_VERTICES:
        cheap, light = chords.pop(0)
        found = _between(tradeoff, cheap, light)
        if found is not None and found not in vertices:
            vertices.add(found)
            chords += [(cheap, found), (found, light)]
    return sorted(vertices, key=tradeoff.load, reverse=True)


def _between(
    tradeoff: Tradeoff, cheap: Choice, light: Choice, fixed: Mapping[str, bool] | None = None
) -> Choice | None:
    """The choice furthest below the chord of two; None: nothing is below it."""
    more, less = tradeoff.load(cheap), tradeoff.load(light)
    if more - less <= _EQUAL * max(abs(more), 1e-300):
        return None
    price = max(0.0, (tradeoff.cost(light) - tradeoff.cost(cheap)) / (more - less))
    found = tradeoff.best_at(price, fixed)
    chord = tradeoff.cost(cheap) + price * more
    value = tradeoff.cost(found) + price * tradeoff.load(found)
    return found if value < chord - _EQUAL * max(abs(chord), 1e-300) else None


@dataclass(frozen=True)
class Best:
    """The cheapest choice within a limit of load, and whether nothing cheaper can exist."""

    choice: Choice
    exact: bool


@dataclass(frozen=True)
class _Bound:
    cost: float  # no choice within the limit is cheaper
    choice: Choice  # one within the limit
    beyond: Choice | None  # the hull's next one, beyond the limit; None: `choice` is the best


def best_within(tradeoff: Tradeoff, limit: float) -> Best | None:
    """The cheapest choice whose load is at most `limit`; None: there is no choice within it."""
    numbers = count()
    root = _bounded(tradeoff, limit, {})
    if root is None:
        return None
    best = root.choice
    queue: list[tuple[float, int, dict[str, bool], _Bound]] = [(root.cost, next(numbers), {}, root)]
    for _ in range(MAX_BRANCHES):
        if not queue:
            return Best(best, exact=True)
        cost, _number, fixed, bound = heapq.heappop(queue)
        if cost >= tradeoff.cost(best) - _EQUAL * abs(tradeoff.cost(best)):
            return Best(best, exact=True)
        for each in _branches(tradeoff, fixed, bound):
            found = _bounded(tradeoff, limit, each)
            if found is None:
                continue
            if tradeoff.cost(found.choice) < tradeoff.cost(best):
                best = found.choice
            if found.beyond is not None:
                heapq.heappush(queue, (found.cost, next(numbers), each, found))
    return Best(best, exact=False)


def _branches(
    tradeoff: Tradeoff, fixed: dict[str, bool], bound: _Bound
) -> Iterator[dict[str, bool]]:
    """Both options of the unit with the heaviest load that the two ends of the gap disagree about."""
    assert bound.beyond is not None
    open_units = sorted((bound.choice ^ bound.beyond) - fixed.keys())
    if not open_units:
        open_units = sorted(tradeoff.cost_a.keys() - fixed.keys())
    if open_units:
        name = max(open_units, key=lambda n: abs(tradeoff.load_a[n] - tradeoff.load_b[n]))
        yield from ({**fixed, name: first} for first in (True, False))


def _bounded(tradeoff: Tradeoff, limit: float, fixed: dict[str, bool]) -> _Bound | None:
    """A lower bound of the cost within the limit, by the best price of load."""
    room = limit + _EQUAL * max(abs(limit), 1e-300)
    cheap = tradeoff.best_at(0.0, fixed)
    if tradeoff.load(cheap) <= room:
        return _Bound(tradeoff.cost(cheap), cheap, None)
    light = tradeoff.least_load(fixed)
    if tradeoff.load(light) > room:
        return None
    while (found := _between(tradeoff, cheap, light, fixed)) is not None:
        if tradeoff.load(found) <= room:
            light = found
        else:
            cheap = found
    more, less = tradeoff.load(cheap), tradeoff.load(light)
    share = 0.0 if more == less else (limit - less) / (more - less)
    on_chord = tradeoff.cost(light) + share * (tradeoff.cost(cheap) - tradeoff.cost(light))
    return _Bound(on_chord, light, cheap)
