"""The gate's rules on the collected pairs: false alarms, power, time; independent pairs are what counts.

    python -m tests.perf.gate.judge

Suites of 30 cells are drawn from the collected pairs with replacement, which says how the rules work on
such noise; how often such noise occurs, the bound over independent pairs says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, sqrt
from statistics import mean, stdev
from typing import NamedTuple

from edgebench.ab_test.pair_statistics import (
    Times,
    as_share,
    change,
    cpu_ns,
    undisturbed_ns,
)
from edgebench.ab_test.verdict import (
    PRECEDENCE,
    Rules,
    Tolerance,
    judge,
    judge_canary,
    pairs_of_next_look,
)
from tests.exact_shares import clopper_pearson
from tests.perf.gate import data

CLOCKS: dict[str, Times] = {
    "CPU": cpu_ns,
    "wall": undisturbed_ns,
}
SUITES = 2000
CELLS = 30
GATES = 1000
SOON_S = 30.0
ENOUGH = 12  # pairs below which nothing is drawn from them
QUIET_LOAD = 5.0
TOLERANCE = Tolerance()
FILES = (
    ("A/A", "pairs-0.csv.gz"),
    ("+2 %", "pairs-2.csv.gz"),
    ("+3 %", "pairs-3.csv.gz"),
    ("+5 %", "pairs-5.csv.gz"),
    ("+5 %, 2 busy processes", "pairs-5-busy2.csv.gz"),
    ("A/A, 2 busy processes", "pairs-0-busy2.csv.gz"),
    ("A/A, another CPU", "pairs-0-another.csv.gz"),
    ("+1.6 %, another CPU", "pairs-1.6.csv.gz"),
    ("+1.75 %, another CPU", "pairs-1.75.csv.gz"),
    ("+2.5 %, another CPU", "pairs-2.5.csv.gz"),
    ("+2.5 %, another CPU, 2 busy processes", "pairs-2.5-busy2.csv.gz"),
    ("+4 %, another CPU, 2 busy processes", "pairs-4-busy2.csv.gz"),
)

Changes = dict[str, list[dict[str, float | None]]]  # by cell: D of each clock, pair by pair
Collected = dict[str, list[data.Stored]]  # by the extra work that was asked for


class Spread(NamedTuple):
    """The changes of pairs, as shares: their mean with the half-width of its 95 % interval, and their SD."""

    mean: float
    half_width: float
    deviation: float


@dataclass
class Suites:
    """What became of drawn suites in which nothing was slower."""

    false: int = 0  # with a REGRESS anywhere
    undecided: int = 0
    canaries: int = 0
    cells_open: Counter[str] = field(default_factory=Counter)  # by clock
    times_s: list[float] = field(default_factory=list)

    def time_s(self, share: float) -> float:
        return sorted(self.times_s)[round(share * (len(self.times_s) - 1))]

    def open_share(self, clock: str) -> float:
        return self.cells_open[clock] / (SUITES * CELLS)


@dataclass
class Power:
    """What became of drawn gates of one cell."""

    verdicts: Counter[str] = field(default_factory=Counter)
    early: int = 0  # REGRESS within SOON_S
    times_s: list[float] = field(default_factory=list)

    def share(self, verdict: str) -> float:
        return self.verdicts[verdict] / GATES

    def time_s(self, share: float) -> float:
        return sorted(self.times_s)[round(share * (len(self.times_s) - 1))]


def main() -> None:
    found = collected()
    print("\n".join(report(found, suites(found))))


def collected() -> Collected:
    read = {name: data.read(data.FOLDER / file) for name, file in FILES}
    return {name: pairs for name, pairs in read.items() if pairs}


def calm(pairs: Sequence[data.Stored], load: float) -> list[data.Stored]:
    """Those before which the load was no higher."""
    return [pair for pair in pairs if pair.load_1m <= load]


def report(collected: Collected, same: Suites) -> Iterator[str]:
    yield from _pairs_table(collected)
    if same.times_s:
        yield from _suites(same)
        yield from _disjoint(changes_of(collected["A/A"]))
    quiet = {
        f"{name}, load up to {QUIET_LOAD:g}": calm(pairs, QUIET_LOAD)
        for name, pairs in collected.items()
        if "busy" not in name
    }
    yield from _power(
        collected | {name: pairs for name, pairs in quiet.items() if len(pairs) >= ENOUGH}
    )


def changes_of(pairs: Sequence[data.Stored]) -> Changes:
    found: Changes = {}
    for pair in pairs:
        rounds = pair.rounds()
        found.setdefault(pair.cell, []).append(
            {name: change(rounds, times) for name, times in CLOCKS.items()}
        )
    return found


def spread_of(logs: Sequence[float]) -> Spread:
    """Of two changes or more."""
    scale = exp(mean(logs))
    deviation = scale * stdev(logs)
    return Spread(as_share(mean(logs)), 1.96 * deviation / sqrt(len(logs)), deviation)


def truth_of(pairs: Sequence[data.Stored]) -> Spread:
    """What the work that was asked for turned out to be, by CPU time."""
    changes = [pair["CPU"] for cell in changes_of(pairs).values() for pair in cell]
    return spread_of([change for change in changes if change is not None])


def named(asked: str, pairs: Sequence[data.Stored]) -> str:
    """Heads by how much slower they are, not by what they were asked to be."""
    return asked if asked.startswith("A/A") else f"{truth_of(pairs).mean:+.2%}, asked for {asked}"


def seconds_of(pairs: Sequence[data.Stored]) -> dict[str, float]:
    """Mean seconds of a pair, by cell."""
    by_cell: dict[str, list[float]] = {}
    for pair in pairs:
        by_cell.setdefault(pair.cell, []).append(pair.seconds)
    return {cell: mean(seconds) for cell, seconds in by_cell.items()}


def _pairs_table(collected: Collected) -> Iterator[str]:
    yield "### Pairs\n"
    yield "| truth | pairs | load | s a pair | CPU: mean, SD | wall: mean, SD | wall unknown |"
    yield "|---|--:|---|--:|---|---|--:|"
    for name, pairs in collected.items():
        changes = [change for cell in changes_of(pairs).values() for change in cell]
        loads = sorted(pair.load_1m for pair in pairs)
        cells = [
            named(name, pairs),
            str(len(pairs)),
            f"{loads[0]:.1f} to {loads[-1]:.1f}, median {loads[len(loads) // 2]:.1f}",
            f"{mean(pair.seconds for pair in pairs):.2f}",
            *(_mean_sd([c[clock] for c in changes]) for clock in CLOCKS),
            str(sum(c["wall"] is None for c in changes)),
        ]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _mean_sd(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return "-"
    spread = spread_of(known)
    return f"{spread.mean:+.2%} ± {spread.half_width:.2%}, {spread.deviation:.2%}"


def cell_verdict(
    draw: Callable[[], dict[str, float | None]], rules: Rules
) -> tuple[str, int, dict[str, str]]:
    """Verdict of a cell, the pairs it took, and the verdict of each clock: as the gate does it."""
    pairs: list[dict[str, float | None]] = []
    have = rules.least
    while True:
        pairs += [draw() for _ in range(have - len(pairs))]
        told = {clock: [c for p in pairs if (c := p[clock]) is not None] for clock in CLOCKS}
        rulings = {clock: judge(told[clock], TOLERANCE, rules) for clock in CLOCKS}
        verdicts = {
            clock: "inconclusive" if ruling.verdict == "invalid" else ruling.verdict
            for clock, ruling in rulings.items()
        }
        looks = [
            pairs_of_next_look(ruling, len(told[clock]), have)
            for clock, ruling in rulings.items()
            if not ruling.decided
        ]
        wanted = min(max([have, *looks]), rules.cap)
        if "regress" in verdicts.values() or wanted == have:
            worst = next(v for v in PRECEDENCE if v in verdicts.values())
            return worst, have, dict(verdicts)
        have = wanted


def suites(collected: Collected) -> Suites:
    """Suites of 30 cells of the same thing twice; none without A/A pairs."""
    found = Suites()
    changes = changes_of(collected.get("A/A", []))
    if not changes:
        return found
    seconds = seconds_of(collected["A/A"])
    rules = Rules(tests=CELLS * len(CLOCKS))
    source = random.Random(0)
    names = list(changes)
    for _ in range(SUITES):
        verdicts, took = [], 0.0
        for number in range(CELLS):
            name = names[number % len(names)]
            verdict, pairs, clocks = cell_verdict(lambda p=changes[name]: source.choice(p), rules)  # type: ignore[misc]
            verdicts.append(verdict)
            took += pairs * seconds[name]
            found.cells_open.update(c for c, v in clocks.items() if v == "inconclusive")
        canary = [source.choice(changes[names[0]]) for _ in range(rules.cap)]
        found.canaries += any(
            judge_canary(
                [c for p in canary if (c := p[clock]) is not None], TOLERANCE, rules
            ).verdict
            == "invalid"
            for clock in CLOCKS
        )
        found.false += "regress" in verdicts
        found.undecided += "inconclusive" in verdicts
        found.times_s.append(took + 5 * seconds[names[0]])
    return found


def _suites(found: Suites) -> Iterator[str]:
    low, high = clopper_pearson(found.false, SUITES)
    yield f"### {SUITES} suites of {CELLS} cells, drawn from the A/A pairs with replacement\n"
    yield f"- false REGRESS: {found.false} suites ({low:.2%} to {high:.2%} if draws were independent; they are not)"
    yield f"- INCONCLUSIVE: {found.undecided} suites"
    for clock in CLOCKS:
        yield f"  - {clock} time: {found.open_share(clock):.2%} of cells"
    yield f"- canary INVALID: {found.canaries} suites"
    yield (
        f"- time of a suite at the load of the collection, without quality passes: median "
        f"{found.time_s(0.5):.0f} s, 95th percentile {found.time_s(0.95):.0f} s"
    )
    yield ""


def _disjoint(changes: Changes) -> Iterator[str]:
    """Gates of one cell on pairs that no other gate uses: the only n that may be called n."""
    rules = Rules(tests=len(CLOCKS))
    counts: Counter[str] = Counter()
    for cell in changes.values():
        rest = list(cell)
        while len(rest) >= rules.least:
            queue = iter(rest)
            try:
                verdict, used, _ = cell_verdict(lambda q=queue: next(q), rules)  # type: ignore[misc]
            except (StopIteration, RuntimeError):
                verdict, used, _ = _short(rest, rules)
            counts[verdict] += 1
            rest = rest[used:]
    total = sum(counts.values())
    pairs = sum(map(len, changes.values()))
    outside = sum(
        change["CPU"] is not None and abs(change["CPU"]) > 0.01
        for cell in changes.values()
        for change in cell
    )
    low, high = clopper_pearson(counts["regress"], total)
    yield "### Independent A/A evidence\n"
    yield (
        f"- {total} gates of one cell on disjoint pairs: {counts['regress']} false REGRESS "
        f"(Clopper-Pearson 95 %: {low:.1%} to {high:.1%}), {counts['improve']} false IMPROVE, "
        f"{counts['inconclusive']} INCONCLUSIVE, {counts['pass']} PASS"
    )
    low, high = clopper_pearson(outside, pairs)
    yield (
        f"- {pairs} independent pairs: {outside} with |D| of CPU time above tau "
        f"(Clopper-Pearson 95 %: {low:.1%} to {high:.1%}); a false REGRESS needs five or more such "
        "pairs of one cell and one sign"
    )
    yield ""


def _short(
    rest: Sequence[dict[str, float | None]], rules: Rules
) -> tuple[str, int, dict[str, str]]:
    """The last pairs of a cell, which may end before a cap: judged as a budget would end them."""
    rulings = {
        clock: judge([c for p in rest if (c := p[clock]) is not None], TOLERANCE, rules)
        for clock in CLOCKS
    }
    verdicts = {
        c: "inconclusive" if r.verdict == "invalid" else r.verdict for c, r in rulings.items()
    }
    return next(v for v in PRECEDENCE if v in verdicts.values()), len(rest), dict(verdicts)


def power(stored: Sequence[data.Stored], tests: int) -> Power:
    """Gates of one cell among so many tests, drawn from pairs of all cells: a cell by itself has few."""
    drawn = [change for cell in changes_of(stored).values() for change in cell]
    each_s = mean(pair.seconds for pair in stored)
    rules, source, found = Rules(tests=tests), random.Random(1), Power()
    for _ in range(GATES):
        verdict, pairs, _ = cell_verdict(lambda: source.choice(drawn), rules)
        found.verdicts[verdict] += 1
        found.times_s.append(pairs * each_s)
        found.early += verdict == "regress" and pairs * each_s <= SOON_S
    return found


def _power(collected: Collected) -> Iterator[str]:
    """Gates of one cell by what was injected."""
    yield f"### Verdicts by truth (drawn with replacement, {GATES} gates a row)\n"
    yield (
        "| truth | pairs | tests | REGRESS | of it within 30 s | PASS | INCONCLUSIVE | IMPROVE | s a cell, median "
        "| p95 |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for name, stored in collected.items():
        for tests in (2, 60):
            found = power(stored, tests)
            shares = [
                f"{found.share(v):.1%}" for v in ("regress", "pass", "inconclusive", "improve")
            ]
            shares.insert(1, f"{found.early / GATES:.1%}")
            yield (
                f"| {named(name, stored)} | {len(stored)} | {tests} | {' | '.join(shares)} | "
                f"{found.time_s(0.5):.1f} | {found.time_s(0.95):.1f} |"
            )
    yield ""


if __name__ == "__main__":
    main()
