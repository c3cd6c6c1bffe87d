"""Minimum cuts, fronts and limits, held against all choices there are."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations, pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest

from edgebench.search.candidates import Draft, between, drafts, neighbours
from edgebench.search.minimum_cut import Difference, FlowGraph
from edgebench.search.tradeoff import Choice, Tradeoff, best_within, hull

HAWQ = json.loads((Path(__file__).parents[1] / "data" / "hawq-resnet18.json").read_bytes())


def drawn(seed: int, units: int) -> Tradeoff:
    rng = Random(seed)
    names = [f"u{number}" for number in range(units)]
    return Tradeoff(
        cost_a={name: 3 * rng.random() for name in names},
        cost_b={name: 4 * rng.random() for name in names},
        load_a={name: rng.random() ** 3 for name in names},
        load_b=dict.fromkeys(names, 0.0),
        differences=[
            Difference(first, second, rng.random())
            for first, second in combinations(names, 2)
            if rng.random() < 0.3
        ],
    )


def every_choice(tradeoff: Tradeoff) -> Iterator[Choice]:
    for size in range(len(tradeoff.cost_a) + 1):
        yield from map(frozenset, combinations(tradeoff.cost_a, size))


def test_flow_of_a_graph_known_by_hand() -> None:
    graph = FlowGraph(4)
    for source, target, capacity in (
        (0, 2, 3.0),
        (0, 3, 2.0),
        (2, 3, 1.0),
        (2, 1, 2.0),
        (3, 1, 3.0),
    ):
        graph.add(source, target, capacity)
    assert graph.source_side(0, 1) == {0}  # both arcs of the source are full: 5


@pytest.mark.parametrize("seed", range(12))
def test_a_cut_is_the_best_of_all_choices(seed: int) -> None:
    tradeoff = drawn(seed, 8)
    for price in (0.0, 0.3, 2.0, 50.0):
        found = tradeoff.best_at(price)
        best = min(
            tradeoff.cost(each) + price * tradeoff.load(each) for each in every_choice(tradeoff)
        )
        assert tradeoff.cost(found) + price * tradeoff.load(found) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_hull_has_every_best_choice_of_any_price(seed: int) -> None:
    tradeoff = drawn(seed, 8)
    vertices = hull(tradeoff)
    loads = [tradeoff.load(each) for each in vertices]
    assert loads == sorted(loads, reverse=True)
    assert len(set(vertices)) == len(vertices)
    for price in np.logspace(-2, 2, 40):
        best = min(
            tradeoff.cost(each) + price * tradeoff.load(each) for each in every_choice(tradeoff)
        )
        told = min(tradeoff.cost(each) + price * tradeoff.load(each) for each in vertices)
        assert told == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize("seed", range(12))
def test_the_best_within_a_limit_is_that_of_all_choices(seed: int) -> None:
    tradeoff = drawn(seed, 8)
    limit = sum(tradeoff.load_a.values()) * (seed + 1) / 14
    found = best_within(tradeoff, limit)
    assert found is not None
    assert found.exact
    assert tradeoff.load(found.choice) <= limit
    best = min(tradeoff.cost(c) for c in every_choice(tradeoff) if tradeoff.load(c) <= limit)
    assert tradeoff.cost(found.choice) == pytest.approx(best, abs=1e-9)


def test_a_limit_that_nothing_meets_is_told() -> None:
    tradeoff = Tradeoff({"a": 1.0}, {"a": 2.0}, {"a": 3.0}, {"a": 2.0})
    assert best_within(tradeoff, 1.0) is None


# HAWQ's published table for ResNet18


def hawq(resource_4: np.ndarray, resource_8: np.ndarray) -> tuple[Tradeoff, list[str]]:
    """4 bits is the first option; the sensitivity is what is to be least, the resource what is limited."""
    names = [f"layer {number:02}" for number in range(len(HAWQ["trace"]))]

    def by_name(values: np.ndarray) -> dict[str, float]:
        return dict(zip(names, values.tolist(), strict=True))

    trace = np.array(HAWQ["trace"])
    same = [Difference(names[first], names[second], 1e3) for first, second in HAWQ["same"]]
    return (
        Tradeoff(
            by_name(trace * HAWQ["error_4"]),
            by_name(trace * HAWQ["error_8"]),
            by_name(resource_4),
            by_name(resource_8),
            same,
        ),
        names,
    )


def resources() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    bits, bops = np.array(HAWQ["parameters"]) / 2**20, np.array(HAWQ["bops"]) / 1e6
    return {
        "size": (bits / 2, bits),
        "bops": (bops / 64, bops / 16),
        "latency": (np.array(HAWQ["latency_4"]), np.array(HAWQ["latency_8"])),
    }


@pytest.mark.parametrize("resource", ["size", "bops", "latency"])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_exhaustive_optimum_of_hawqs_table_is_found(resource: str, share: float) -> None:
    low, high = resources()[resource]
    tradeoff, names = hawq(low, high)
    limit = float(low.sum() + share * (high.sum() - low.sum()))
    found = best_within(tradeoff, limit)
    assert found is not None
    assert found.exact
    assert tradeoff.load(found.choice) <= limit * (1 + 1e-9)
    assert tradeoff.cost(found.choice) == pytest.approx(exhaustive(low, high, limit), rel=1e-9)
    for first, second in HAWQ["same"]:
        assert (names[first] in found.choice) == (names[second] in found.choice)


def exhaustive(low: np.ndarray, high: np.ndarray, limit: float) -> float:
    """The least sensitivity of all 2^16 choices that keep joined layers alike."""
    trace = np.array(HAWQ["trace"])
    sensitivity = np.stack([trace * HAWQ["error_8"], trace * HAWQ["error_4"]])
    resource = np.stack([high, low])
    followers = {second: first for first, second in HAWQ["same"]}
    free = [number for number in range(len(trace)) if number not in followers]
    picked = (np.arange(2 ** len(free))[:, None] >> np.arange(len(free))) & 1
    choices = np.zeros((len(picked), len(trace)), dtype=np.intp)
    choices[:, free] = picked
    for second, first in followers.items():
        choices[:, second] = choices[:, first]
    layers = np.arange(len(trace))
    within = resource[choices, layers].sum(axis=1) <= limit
    return float(sensitivity[choices, layers].sum(axis=1)[within].min())


# Networks whose maps are all known


class Simulated:
    """A chain of units whose true times and damages are not quite what the model of costs says."""

    def __init__(self, seed: int, units: int = 11) -> None:
        rng = Random(seed)
        self.names = [f"u{number}" for number in range(units)]
        fp32 = {name: 20 + 80 * rng.random() for name in self.names}
        int8 = {name: fp32[name] * (0.35 + 0.9 * rng.random() ** 2) for name in self.names}
        self.damages = {name: 0.01 * 10 ** (1.5 * rng.random()) for name in self.names}
        chain = pairwise(self.names)
        prices = [Difference(first, second, 15 * rng.random()) for first, second in chain]
        self.true = Tradeoff(fp32, int8, {}, {}, prices)
        self.model = Tradeoff(
            cost_a={name: int8[name] * (1 + 0.06 * rng.uniform(-1, 1)) for name in self.names},
            cost_b={name: fp32[name] * (1 + 0.06 * rng.uniform(-1, 1)) for name in self.names},
            load_a={name: damage**2 for name, damage in self.damages.items()},
            load_b=dict.fromkeys(self.names, 0.0),
            differences=[
                Difference(d.first, d.second, d.price * (1 + 0.1 * rng.uniform(-1, 1)))
                for d in prices
            ],
        )
        self.cost = Tradeoff(int8, fp32, self.model.load_a, self.model.load_b, prices).cost
        self.limit = 0.55 * self.damage(frozenset(self.names))

    def damage(self, choice: Choice) -> float:
        """In company damages are a little less than their squares' sum."""
        squares = [self.damages[name] ** 2 for name in sorted(choice)]
        crossed = sum(a * b for a, b in pairwise(squares)) ** 0.5
        return float((sum(squares) - 0.1 * crossed) ** 0.5)

    def spare(self, choice: Choice) -> float:
        return self.limit - self.damage(choice)


@pytest.mark.parametrize("seed", range(20))
def test_few_evaluations_come_within_two_percent_of_the_best_map(seed: int) -> None:
    network = Simulated(seed)
    evaluations = len(network.names)  # the damage of each unit alone
    found = []
    for draft in drafts(network.model, frozenset(network.names), points=12):
        found.append((draft.choice, network.spare(draft.choice) >= 0))
    for _step in range(8):
        further = between(network.model, found)
        if further is None:
            break
        found.append((further.choice, network.spare(further.choice) >= 0))
    evaluations += len(found)
    maps = 2 ** len(network.names)
    assert evaluations <= 0.1 * maps
    best = min(network.cost(c) for c in every_choice(network.model) if network.spare(c) >= 0)
    holding = [network.cost(choice) for choice, holds in found if holds]
    assert min(holding, default=network.cost(frozenset())) <= 1.02 * best


def test_neighbours_differ_in_one_unit_and_the_likeliest_come_first() -> None:
    tradeoff = Tradeoff(
        cost_a={"a": 5.0, "b": 4.0, "c": 9.0},
        cost_b={"a": 10.0, "b": 4.2, "c": 3.0},
        load_a=dict.fromkeys("abc", 1.0),
        load_b=dict.fromkeys("abc", 0.0),
    )
    found = neighbours(tradeoff, Draft(frozenset("a"), "cut"), frozenset())
    assert [each.choice for each in found] == [frozenset("ab")]  # the others are clearly slower
    found = neighbours(tradeoff, Draft(frozenset("ab"), "cut", frozenset("c")), frozenset("bc"))
    assert [(each.choice, each.dynamic) for each in found] == [
        (
            frozenset("a"),
            frozenset("bc"),
        )  # what leaves int8 is quantised at run time, as others are
    ]
