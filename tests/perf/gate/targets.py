"""The targets the project holds itself to, each with what the collected pairs say: met, missed, or not known."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from tests.perf.gate.judge import (
    CELLS,
    ENOUGH,
    GATES,
    SUITES,
    Collected,
    Suites,
    calm,
    changes_of,
    power,
)

#: Tests that share the error rate: both latencies of one cell, or of every cell of a suite.
GATES_OF = {"gate of one cell": 2, f"suite of {CELLS} cells": 2 * CELLS}
#: Truth, the highest load the target is meant for, and the share that must be REGRESS in time.
DETECTED = (("+5 %", 5.0, 0.95), ("+3 %", 3.0, 0.90))
SUITE_S = 360.0


def report(collected: Collected, same: Suites) -> Iterator[str]:
    """A line per target."""
    yield "### Targets\n"
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


def _slower(collected: Collected) -> Iterator[Line]:
    """Of injected slowdowns."""
    for truth, load, least in DETECTED:
        pairs = calm(collected.get(truth, []), load)
        for name, tests in GATES_OF.items():
            target = f"{truth} detected within 30 s a cell at a load up to {load:g}, {name}: {100 * least:.0f} %"
            if len(pairs) < ENOUGH:
                yield target, f"{len(pairs)} pairs at such a load", None
                continue
            found = power(pairs, tests)
            early = found.early / GATES
            figure = (
                f"{early:.1%} (median {found.time_s(0.5):.1f} s, p95 {found.time_s(0.95):.1f} s)"
            )
            yield target, f"{figure}; {len(pairs)} pairs", early >= least
    for truth in ("+5 %", "+5 %, 2 busy processes"):
        for name, tests in GATES_OF.items():
            target = f"{truth} called PASS, {name}: at most 5 %"
            pairs = collected.get(truth, [])
            if len(pairs) < ENOUGH:
                yield target, f"{len(pairs)} pairs", None
                continue
            passed = power(pairs, tests).share("pass")
            yield target, f"{passed:.1%}; {len(pairs)} pairs", passed <= 0.05
