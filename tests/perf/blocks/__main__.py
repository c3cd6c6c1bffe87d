"""Calibration of rounds as blocks: `python -m tests.perf.blocks` writes results/blocks/summary.md.

All names of a run are one cell, so every true ratio is 1. Real runs are those of `collect`; simulated ones
add what no run here could be relied on to show. What counts is the run: of its pairs or rows, any wrong
statement makes it wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgebench import stats
from edgebench.analysis.defaults import SURE
from edgebench.analysis.round_blocks import fit
from edgebench.analysis.table import build_table
from edgebench.record import Record
from tests import records as make
from tests.analysis.test_round_blocks import KINDS, noise, ratio_of_cells
from tests.perf.blocks.data import FILE, FOLDER, runs

SIMULATED = 600
SHAPES = ((3, 3), (3, 7), (6, 5))

Logs = NDArray[np.float64]


class Line(NamedTuple):
    """What a set of runs comes to; widths are medians over pairs, in per cent."""

    name: str
    runs: int
    pairs: int
    held: float
    held_alone: float
    width: float
    width_alone: float
    sure_front: int  # runs with a row that is said to be off the front for sure
    sure_pick: int  # runs with a choice that is said to be the fastest for sure


def line(name: str, some: Sequence[Logs]) -> Line:
    """Judges runs by pairs of names, and by the table that `edgebench show` prints: one of all runs, each a
    workload of its own."""
    held, alone, width, width_alone = [], [], [], []
    found = fit(np.stack(some))
    for one, two in combinations(range(found.mean.shape[1]), 2):
        ratio = ratio_of_cells(found, one, two)
        held += (~ratio.told_apart(0.95)).tolist()
        low, high = ratio.bounds(0.95)
        width += (np.sqrt(high / low) - 1).tolist()
    for logs in some:
        for mine, other in combinations(np.exp(logs).tolist(), 2):
            welch = stats.ratio_interval(mine, other)
            assert welch is not None
            alone.append(welch.low <= 1 <= welch.high)
            width_alone.append(welch.half_width)
    table = build_table(each for number, logs in enumerate(some) for each in _records(number, logs))
    return Line(
        name=name,
        runs=len(some),
        pairs=len(held),
        held=float(np.mean(held)),
        held_alone=float(np.mean(alone)),
        width=100 * float(np.median(width)),
        width_alone=100 * float(np.median(width_alone)),
        sure_front=len({row.workload for row in table.rows if row.front == "no"}),
        sure_pick=sum(pick.clear for pick in table.picks),
    )


def _records(run: int, logs: Logs) -> Iterator[Record]:
    for name, values in enumerate(logs):
        replicates = [
            make.replicate(
                number, [round(5e6 * float(np.exp(value - logs.mean())))] * 10, round=number
            )
            for number, value in enumerate(values)
        ]
        yield make.record({"alias": name}, replicates=replicates, workload=f"run-{run}")


def _simulated() -> Iterator[Line]:
    for kind in KINDS:
        for cells, rounds in SHAPES:
            source = np.random.default_rng((len(kind), cells, rounds))
            some = [noise(kind, source, cells, rounds) for _ in range(SIMULATED)]
            yield line(f"simulated: {kind}, {cells} cells, {rounds} rounds", some)


def _real() -> Iterator[Line]:
    if not FILE.exists():
        return
    found = runs()
    for machine in sorted({run.machine for run in found}):
        some = [run for run in found if run.machine == machine]
        loads = sorted(run.load for run in some)
        words = f"real: {machine}, load {loads[0]:.1f} to {loads[-1]:.1f}"
        for rounds in (3, some[0].logs.shape[1]):
            yield line(f"{words}, {rounds} rounds", [run.logs[:, :rounds] for run in some])


def _at_most(wrong: int, count: int) -> float:
    """Clopper and Pearson's upper end of the 95 % interval of a share."""
    low, high = wrong / count, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if stats.binomial_cdf(wrong, count, middle) > 0.025 else (low, middle)
        )
    return high


def text(lines: Sequence[Line]) -> str:
    head = [
        "# Rounds as blocks: calibration",
        "",
        "Made by `make blocks` from runs.csv.gz and from simulated runs. All names of a run are one cell, so every true",
        "ratio is 1. *held*: share of pairs whose 95 % interval of the ratio holds 1, by rounds as blocks and, beside it, with",
        "rows taken as independent (Welch). *half-width*: median over pairs. *sure front*, *sure pick*: runs in which a row is",
        f"said to be beaten, or the choice to be the fastest, at {SURE:.0%}, all of which are wrong; in brackets the upper",
        "end of the 95 % interval of that share over independent runs (Clopper and Pearson).",
        "",
        "| runs | n | held | independent | half-width | independent | sure front | sure pick |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    return "\n".join([*head, *map(_row, lines), ""])


def _row(line: Line) -> str:
    def wrong(count: int) -> str:
        return f"{count} ({100 * _at_most(count, line.runs):.1f} %)"

    return (
        f"| {line.name} | {line.runs} | {100 * line.held:.1f} % | {100 * line.held_alone:.1f} % "
        f"| {line.width:.2f} % | {line.width_alone:.2f} % | {wrong(line.sure_front)} | {wrong(line.sure_pick)} |"
    )


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    summary = text([*_real(), *_simulated()])
    (FOLDER / "summary.md").write_text(summary, encoding="utf-8")
    sys.stdout.write(summary)


if __name__ == "__main__":
    main()
