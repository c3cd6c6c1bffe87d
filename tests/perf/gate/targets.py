"""The targets the project holds itself to, each with what the collected pairs say: met, missed, or not known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import inf
from statistics import mean
from typing import NamedTuple

from tests.perf.gate import data
from tests.perf.gate.judge import (
    CELLS,
    ENOUGH,
    GATES,
    SUITES,
    Collected,
    Power,
    Spread,
    Suites,
    calm,
    changes_of,
    power,
    truth_of,
)

#: Tests that share the error rate: both latencies of one cell, or of every cell of a suite.
GATES_OF = {"gate of one cell": 2, f"suite of {CELLS} cells": 2 * CELLS}
#: What was asked of heads without and with other work beside them.
ALONE = (
    "+2 %",
    "+3 %",
    "+5 %",
    "+1.6 %, another CPU",
    "+1.75 %, another CPU",
    "+2.5 %, another CPU",
)
BESIDE_BUSY = (
    "+5 %, 2 busy processes",
    "+2.5 %, another CPU, 2 busy processes",
    "+4 %, another CPU, 2 busy processes",
)
#: Slowdown, the highest load the target is meant for, and the share that must be REGRESS in time.
DETECTED = ((0.05, 5.0, 0.95), (0.03, 3.0, 0.90))
SUITE_S = 360.0


def report(collected: Collected, same: Suites) -> Iterator[str]:
    """A line per target."""
    yield "### Targets\n"
    yield (
        "A slower head is seen no later. A target is met where heads that are slower by no more than it says do as "
        "it says, and missed where heads that are slower by no less do not.\n"
    )
    yield "| target | figure | |"
    yield "|---|---|---|"
    for target, figure, met in [*_same(collected, same), *_slower(collected)]:
        yield f"| {target} | {figure} | {'not known' if met is None else 'met' if met else 'missed'} |"
    yield ""


Line = tuple[str, str, bool | None]


def _same(collected: Collected, same: Suites) -> Iterator[Line]:
    """Of the same thing twice."""
    if not same.times_s:
        yield "A/A", "no pairs", None
        return
    false, undecided = same.false / SUITES, same.open_share("CPU")
    yield "A/A suites with a false REGRESS: at most 1 %", f"{false:.2%}", false <= 0.01
    yield (
        "A/A INCONCLUSIVE on CPU time: at most 2 % of cells",
        f"{undecided:.2%}",
        undecided <= 0.02,
    )
    changes = [pair["CPU"] for cell in changes_of(collected["A/A"]).values() for pair in cell]
    known = [change for change in changes if change is not None]
    bias = mean(known)
    yield (
        "A/A bias over at least 200 pairs: within 0.3 %",
        f"{bias:+.2%} over {len(known)} pairs",
        abs(bias) <= 0.003 if len(known) >= 200 else None,
    )
    took = same.time_s(0.5)
    yield (
        f"a clean suite of {CELLS} cells: at most {SUITE_S / 60:g} min",
        f"median {took:.0f} s, without quality passes",
        took <= SUITE_S,
    )


class Heads(NamedTuple):
    """Pairs whose heads are slower by about the same."""

    truth: Spread
    pairs: Sequence[data.Stored]


class Demand(NamedTuple):
    """A share of gates that must come about where head is slower by `slowdown`, or must not."""

    slowdown: float
    share: Callable[[Power], float]
    least: float = 0.0
    most: float = 1.0

    def holds(self, found: Power) -> bool:
        return self.least <= self.share(found) <= self.most


def _slower(collected: Collected) -> Iterator[Line]:
    """Of injected slowdowns."""
    for slowdown, load, least in DETECTED:
        heads = _heads(collected, ALONE, load)
        demand = Demand(slowdown, lambda found: found.early / GATES, least=least)
        for name, tests in GATES_OF.items():
            target = (
                f"+{slowdown * 100:g} % detected within 30 s a cell at a load up to {load:g}, {name}: "
                f"{100 * least:.0f} %"
            )
            yield target, *_judged(demand, heads, tests)
    demand = Demand(0.05, lambda found: found.share("pass"), most=0.05)
    for asked, where in ((ALONE, ""), (BESIDE_BUSY, ", 2 busy processes")):
        heads = _heads(collected, asked, inf)
        for name, tests in GATES_OF.items():
            yield f"+5 %{where} called PASS, {name}: at most 5 %", *_judged(demand, heads, tests)


def _heads(collected: Collected, asked: Sequence[str], load: float) -> list[Heads]:
    """Those with enough pairs at such a load, the least slow ones first."""
    found = [calm(collected.get(name, []), load) for name in asked]
    heads = [Heads(truth_of(pairs), pairs) for pairs in found if len(pairs) >= ENOUGH]
    return sorted(heads, key=lambda each: each.truth.mean)


def _judged(demand: Demand, heads: Sequence[Heads], tests: int) -> tuple[str, bool | None]:
    """The figure of the heads next to the slowdown on either side, and what follows for it.

    A slower head is seen no later: what holds for heads that are slower by no more holds for the
    slowdown, and what fails for heads that are slower by no less fails for it.
    """
    below = [h for h in heads if h.truth.mean - h.truth.half_width <= demand.slowdown][-1:]
    above = [h for h in heads if h.truth.mean + h.truth.half_width >= demand.slowdown][:1]
    figures, met, missed = [], False, False
    for head in below if below == above else below + above:
        found = power(head.pairs, tests)
        holds = demand.holds(found)
        met, missed = met or (head in below and holds), missed or (head in above and not holds)
        figures.append(
            f"{demand.share(found):.1%} at {head.truth.mean:+.2%} (median {found.time_s(0.5):.1f} s, "
            f"p95 {found.time_s(0.95):.1f} s, {len(head.pairs)} pairs)"
        )
    return "; ".join(figures) or "too few pairs", False if missed else met or None
