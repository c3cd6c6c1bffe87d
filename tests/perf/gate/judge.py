"""The gate's rules on the collected pairs: false alarms, power, time; independent pairs are what counts.

    python -m tests.perf.gate.judge

Suites of 30 cells are drawn from the collected pairs with replacement, which says how the rules work on
such noise; how often such noise occurs, the bound over independent pairs says.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import fsum, sqrt
from statistics import mean

from edgebench.analysis.gate import PRECEDENCE, Rules, Tolerance, judge, judge_canary
from edgebench.analysis.paired import Round, clopper_pearson, cpu_change, wall_change
from tests.perf.gate import data

CLOCKS: dict[str, Callable[[Sequence[Round]], float | None]] = {
    "CPU": cpu_change,
    "wall": wall_change,
}
SUITES = 2000
CELLS = 30
QUIET_LOAD = 5.0
TOLERANCE = Tolerance()
FILES = (
    ("A/A", "pairs-0.csv.gz"),
    ("+2 %", "pairs-2.csv.gz"),
    ("+3 %", "pairs-3.csv.gz"),
    ("+5 %", "pairs-5.csv.gz"),
    ("+5 %, 2 busy processes", "pairs-5-busy2.csv.gz"),
    ("A/A, 2 busy processes", "pairs-0-busy2.csv.gz"),
)

Changes = dict[str, list[dict[str, float | None]]]  # by cell: D of each clock, pair by pair


def main() -> None:
    print("\n".join(report()))


def report() -> Iterator[str]:
    collected = {name: data.read(data.FOLDER / file) for name, file in FILES}
    collected = {name: pairs for name, pairs in collected.items() if pairs}
    yield from _pairs_table(collected)
    same = changes_of(collected.get("A/A", []))
    if same:
        yield from _suites(same, seconds_of(collected["A/A"]))
        yield from _disjoint(same)
    quiet = {
        f"{name}, load up to {QUIET_LOAD:g}": [p for p in pairs if p.load_1m <= QUIET_LOAD]
        for name, pairs in collected.items()
        if "busy" not in name
    }
    shown = collected | {name: pairs for name, pairs in quiet.items() if len(pairs) >= 12}
    yield from _power(shown)


def changes_of(pairs: Sequence[data.Stored]) -> Changes:
    found: Changes = {}
    for pair in pairs:
        rounds = pair.rounds()
        found.setdefault(pair.cell, []).append(
            {name: change(rounds) for name, change in CLOCKS.items()}
        )
    return found


def seconds_of(pairs: Sequence[data.Stored]) -> dict[str, float]:
    """Mean seconds of a pair, by cell."""
    by_cell: dict[str, list[float]] = {}
    for pair in pairs:
        by_cell.setdefault(pair.cell, []).append(pair.seconds)
    return {cell: mean(seconds) for cell, seconds in by_cell.items()}


def _pairs_table(collected: dict[str, list[data.Stored]]) -> Iterator[str]:
    yield "### Pairs\n"
    yield "| truth | pairs | load | s a pair | CPU: mean, SD | wall: mean, SD | wall unknown |"
    yield "|---|--:|---|--:|---|---|--:|"
    for name, pairs in collected.items():
        changes = [change for cell in changes_of(pairs).values() for change in cell]
        loads = sorted(pair.load_1m for pair in pairs)
        cells = [
            name,
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
    middle = mean(known)
    spread = sqrt(fsum((value - middle) ** 2 for value in known) / (len(known) - 1))
    error = spread / sqrt(len(known))
    return f"{middle:+.2%} ± {1.96 * error:.2%}, {spread:.2%}"


def cell_verdict(
    draw: Callable[[], dict[str, float | None]], rules: Rules
) -> tuple[str, int, dict[str, str]]:
    """Verdict of a cell, the pairs it took, and the verdict of each clock: as the gate does it."""
    pairs: list[dict[str, float | None]] = []
    have = rules.least
    while True:
        pairs += [draw() for _ in range(have - len(pairs))]
        rulings = {
            clock: judge([c for p in pairs[:have] if (c := p[clock]) is not None], TOLERANCE, rules)
            for clock in CLOCKS
        }
        verdicts = {
            clock: "inconclusive" if ruling.verdict == "invalid" else ruling.verdict
            for clock, ruling in rulings.items()
        }
        wanted = [ruling.wanted for ruling in rulings.values() if not ruling.decided]
        if "regress" in verdicts.values() or not wanted or have >= rules.cap:
            worst = next(v for v in PRECEDENCE if v in verdicts.values())
            return worst, have, dict(verdicts)
        have = min(max(have + 1, *wanted), rules.cap)


def _suites(changes: Changes, seconds: dict[str, float]) -> Iterator[str]:
    """Suites of 30 cells of the same thing twice."""
    rules = Rules(tests=CELLS * len(CLOCKS))
    source = random.Random(0)
    names = list(changes)
    false, canaries, undecided, cells_open, times = 0, 0, 0, Counter[str](), []
    for _ in range(SUITES):
        verdicts, took = [], 0.0
        for number in range(CELLS):
            name = names[number % len(names)]
            verdict, pairs, clocks = cell_verdict(lambda p=changes[name]: source.choice(p), rules)  # type: ignore[misc]
            verdicts.append(verdict)
            took += pairs * seconds[name]
            cells_open.update(c for c, v in clocks.items() if v == "inconclusive")
        canary = [source.choice(changes[names[0]]) for _ in range(rules.cap)]
        canaries += any(
            judge_canary(
                [c for p in canary if (c := p[clock]) is not None], TOLERANCE, rules
            ).verdict
            == "invalid"
            for clock in CLOCKS
        )
        false += "regress" in verdicts
        undecided += "inconclusive" in verdicts
        times.append(took + 5 * seconds[names[0]])
    low, high = clopper_pearson(false, SUITES)
    yield f"### {SUITES} suites of {CELLS} cells, drawn from the A/A pairs with replacement\n"
    yield f"- false REGRESS: {false} suites ({low:.2%} to {high:.2%} if draws were independent; they are not)"
    yield f"- INCONCLUSIVE: {undecided} suites"
    for clock in CLOCKS:
        yield f"  - {clock} time: {cells_open[clock] / (SUITES * CELLS):.2%} of cells"
    yield f"- canary INVALID: {canaries} suites"
    ordered = sorted(times)
    yield (
        f"- time of a suite at the load of the collection: median {ordered[len(ordered) // 2]:.0f} s, "
        f"95th percentile {ordered[round(0.95 * len(ordered))]:.0f} s"
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


def _power(collected: dict[str, list[data.Stored]]) -> Iterator[str]:
    """Gates of one cell by what was injected; pairs of all cells where a cell has few."""
    yield "### Verdicts by truth (drawn with replacement, 1000 gates a row)\n"
    yield (
        "| truth | pairs | tests | REGRESS | of it within 30 s | PASS | INCONCLUSIVE | IMPROVE | s a cell, median "
        "| p95 |"
    )
    yield "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    source = random.Random(1)
    for name, stored in collected.items():
        drawn = [change for cell in changes_of(stored).values() for change in cell]
        each_s = mean(pair.seconds for pair in stored)
        for tests in (2, 60):
            rules = Rules(tests=tests)
            counts: Counter[str] = Counter()
            times, early = [], 0
            for _ in range(1000):
                verdict, pairs, _ = cell_verdict(lambda d=drawn: source.choice(d), rules)  # type: ignore[misc]
                counts[verdict] += 1
                times.append(pairs * each_s)
                early += verdict == "regress" and times[-1] <= 30
            times.sort()
            shares = [
                f"{counts[v] / 1000:.1%}" for v in ("regress", "pass", "inconclusive", "improve")
            ]
            shares.insert(1, f"{early / 1000:.1%}")
            yield (
                f"| {name} | {len(stored)} | {tests} | {' | '.join(shares)} | {times[500]:.1f} | {times[950]:.1f} |"
            )
    yield ""


if __name__ == "__main__":
    main()
