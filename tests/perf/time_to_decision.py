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
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from statistics import mean, median
from typing import NamedTuple

import numpy as np

from edgebench import stats
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.table import build_table
from edgebench.analysis.uncertainty import Ratio, ratio, uncertain
from edgebench.metrics import METRICS
from edgebench.record import Record, Replicate
from edgebench.store import iter_records

BUDGET = "105s"


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


def pairs(records: Sequence[Record]) -> dict[str, list[Pair]]:
    """All pairs of cells within a workload: as edgebench compares them, and as if the two had not been
    measured in the same rounds."""
    rows = [row for row in build_table(records).rows if row.latency_ns.p50 is not None]
    frame = RowFrame(rows)
    by_round = uncertain(frame, METRICS["latency.p50"])
    of: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        of[row.workload].append(index)
    both = [pair for members in of.values() for pair in combinations(members, 2)]
    if not both:
        return {}
    one, two = np.array(both, dtype=np.intp).T
    return {
        name: _pairs(ratio(each.take(one), each.take(two)))
        for name, each in (
            ("by round", by_round),
            ("as independent", replace(by_round, blocks=None)),
        )
    }


def _pairs(found: Ratio) -> list[Pair]:
    low, high = found.bounds(stats.CONFIDENCE)
    apart = found.told_apart(stats.CONFIDENCE)
    return [
        Pair(float(np.sqrt(high[place] / low[place]) - 1), bool(apart[place]))
        for place in np.flatnonzero(~np.isnan(found.error))
    ]


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
    for name, found in pairs(records).items():
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
