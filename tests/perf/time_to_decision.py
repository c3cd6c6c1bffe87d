"""How soon `edgebench run --suite quick` tells one deployment from another.

    python -m tests.perf.time_to_decision                 measures, 105 s
    python -m tests.perf.time_to_decision RESULT.jsonl    reads what was measured before

What a replicate takes beside its window, how many rounds there were, how well ratios of two cells of a
workload are known, and how many pairs of cells are in an order that is known with 95 %.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

from edgebench.analysis import stats
from edgebench.record import Record, Replicate
from edgebench.store import iter_records

BUDGET = "105s"
P50 = 500  # permille


class Pair(NamedTuple):
    """The ratio of two cells of a workload."""

    half_width: float
    decided: bool


def beside_window_s(replicate: Replicate) -> float | None:
    if replicate.wall_s is None or replicate.window_ns is None:
        return None
    return replicate.wall_s - replicate.window_ns / 1e9


def measured(record: Record) -> list[Replicate]:
    return [
        replicate
        for replicate in record.replicates
        if replicate.status == "ok" and replicate.superseded_by is None
    ]


def p50s(record: Record) -> dict[int, float]:
    """The p50 of each round, in ns. A file of before rounds were kept has the numbers of its replicates."""
    return {
        replicate.index
        if (number := getattr(replicate, "round", None)) is None
        else number: stats.percentile(sorted(replicate.samples_ns), P50)
        for replicate in measured(record)
        if replicate.samples_ns
    }


def by_round(first: Mapping[int, float], second: Mapping[int, float]) -> Pair | None:
    """Rounds as blocks, pair by pair. Here the engine's own interval of a ratio has its place, which
    pools the residuals of all cells of a round."""
    shared = sorted(first.keys() & second.keys())
    return _pair(stats.log_interval([first[number] / second[number] for number in shared]))


def as_independent(first: Mapping[int, float], second: Mapping[int, float]) -> Pair | None:
    """The same, as if the two had not been measured in the same rounds."""
    return _pair(stats.ratio_interval([*first.values()], [*second.values()]))


def _pair(interval: stats.Interval | None) -> Pair | None:
    if interval is None:
        return None
    return Pair(interval.half_width, not interval.low <= 1 <= interval.high)


def pairs(
    records: Iterable[Record],
    ratio: Callable[[Mapping[int, float], Mapping[int, float]], Pair | None],
) -> list[Pair]:
    """All pairs of cells within a workload."""
    cells: dict[str, list[dict[int, float]]] = defaultdict(list)
    for record in records:
        cells[record.cell.workload].append(p50s(record))
    found = (ratio(a, b) for of in cells.values() for a, b in combinations(of, 2))
    return [pair for pair in found if pair is not None]


def describe(records: Sequence[Record]) -> list[str]:
    lines = []
    workloads: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        workloads[record.cell.workload].append(record)
    for workload, cells in [*workloads.items(), ("all", list(records))]:
        each = [[beside_window_s(r) for r in measured(record)] for record in cells]
        firsts = [of[0] for of in each if of and of[0] is not None]
        later = [seconds for of in each for seconds in of[1:] if seconds is not None]
        lines.append(
            f"{workload:<24} beside the window: first {_mean(firsts)} s, "
            f"later {_mean(later)} s (<= 0.9)"
        )
    rounds = [len(measured(record)) for record in records]
    lines.append(
        f"rounds of all cells {min(rounds, default=0)} (>= 7), most {max(rounds, default=0)}"
    )
    for name, ratio in (("by round", by_round), ("as independent", as_independent)):
        found = pairs(records, ratio)
        width = f"{median(pair.half_width for pair in found):.1%}" if found else "-"
        decided = f"{mean(pair.decided for pair in found):.0%}" if found else "-"
        lines.append(
            f"ratios {name:<15} half-width {width:>7} (<= 2 %), decided {decided:>5} "
            f"of {len(found)} pairs"
        )
    return lines


def _mean(seconds: Sequence[float]) -> str:
    return f"{mean(seconds):5.2f}" if seconds else "    -"


def main(arguments: Sequence[str] = ()) -> None:
    files = [Path(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as folder:
        if not files:
            command = [sys.executable, "-m", "edgebench", "run", "--suite", "quick"]
            options = ["--budget", BUDGET, "--out", folder]
            subprocess.run([*command, *options], check=False, stdout=subprocess.DEVNULL)
            files = sorted(Path(folder).rglob("*.jsonl"))
        records = [record for file in files for record in iter_records(file)]
    print("\n".join(describe(records)))


if __name__ == "__main__":
    main(sys.argv[1:])
