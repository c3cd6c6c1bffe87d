"""What other tools would say of the same pairs: their rules, with their own code where it installs.

    pip install pyperf scipy && python -m tests.perf.gate.peers

Each decision is made on 8 processes per arm. The other tools pool the values of all processes, as they
do; ours gets the same 8 pairs.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator, Sequence
from statistics import mean, median
from typing import Any

from edgebench.ab_test.pair_statistics import change, cpu_ns, undisturbed_ns
from edgebench.ab_test.verdict import Rules, Tolerance, judge
from tests.exact_shares import clopper_pearson
from tests.perf.gate import data
from tests.perf.gate.judge import FILES, named

PROCESSES = 8
RESAMPLED = 300
#: Every call counts for the others, as it would: but no more than this of a process, for speed.
VALUES = 60

Flag = Callable[[Sequence[data.Stored], bool], bool]


def main() -> None:
    print("\n".join(report()))


def report() -> Iterator[str]:
    yield "### Other tools' rules on the same pairs\n"
    yield (
        "Share of decisions that call the head slower, on 8 processes per arm. *In turns*: groups of 8 pairs "
        "that share none, as this gate measures. *One after the other*: the same base twice, 8 processes and "
        "then 8 more, as the other tools are used. *Resampled*: groups drawn with replacement, for power.\n"
    )
    collected = {name: data.read(data.FOLDER / file) for name, file in FILES}
    same = collected["A/A"]
    names = [name for name in ("+2 %", "+3 %", "+5 %") if collected[name]]
    head = ["rule", "clock", "A/A in turns", "A/A one after the other"]
    head += [f"{named(name, collected[name])}, resampled" for name in names]
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for rule, flag in RULES.items():
        for cpu in (False, True):
            cells = [rule, "CPU" if cpu else "wall"]
            cells += [
                _counted(groups, flag, cpu) for groups in (_in_turns(same), _sequential(same))
            ]
            cells += [_resampled(collected[name], flag, cpu) for name in names]
            yield f"| {' | '.join(cells)} |"
    yield ""


def _in_turns(pairs: Sequence[data.Stored]) -> list[list[data.Stored]]:
    return [group for cell in _by_cell(pairs).values() for group in _chunks(cell, PROCESSES)]


def _sequential(pairs: Sequence[data.Stored]) -> list[list[data.Stored]]:
    """Base arms of eight pairs as base, base arms of the next eight as head."""
    return [
        [
            dataclasses.replace(first, blocks={"A": first.blocks["A"], "B": second.blocks["A"]})
            for first, second in zip(group[:PROCESSES], group[PROCESSES:], strict=True)
        ]
        for cell in _by_cell(pairs).values()
        for group in _chunks(cell, 2 * PROCESSES)
    ]


def _chunks(cell: Sequence[data.Stored], size: int) -> list[list[data.Stored]]:
    return [list(cell[start : start + size]) for start in range(0, len(cell) - size + 1, size)]


def _counted(groups: Sequence[Sequence[data.Stored]], flag: Flag, cpu: bool) -> str:
    if not groups:
        return "-"
    flagged = sum(flag(group, cpu) for group in groups)
    low, high = clopper_pearson(flagged, len(groups))
    return f"{flagged}/{len(groups)} ({low:.0%} to {high:.0%})"


def _by_cell(pairs: Sequence[data.Stored]) -> dict[str, list[data.Stored]]:
    found: dict[str, list[data.Stored]] = {}
    for pair in pairs:
        found.setdefault(pair.cell, []).append(pair)
    return found


def _resampled(pairs: Sequence[data.Stored], flag: Flag, cpu: bool) -> str:
    source = random.Random(2)
    cells = list(_by_cell(pairs).values())
    flagged = sum(
        flag(source.choices(cells[number % len(cells)], k=PROCESSES), cpu)
        for number in range(RESAMPLED)
    )
    return f"{flagged / RESAMPLED:.0%}"


def _values(group: Sequence[data.Stored], cpu: bool) -> tuple[list[float], list[float]]:
    """All values of either arm, pooled over processes; equally many, as pyperf demands."""
    a, b = (
        [value for pair in group for value in pair.samples_ns(arm, cpu=cpu)[:VALUES]]
        for arm in ("A", "B")
    )
    count = min(len(a), len(b))
    return a[:count], b[:count]


# The rules


def pyperf(group: Sequence[data.Stored], cpu: bool) -> bool:
    """pyperf compare_to: its own `is_significant` (a t-test at 95 % on pooled values)."""
    from pyperf._utils import is_significant

    a, b = _values(group, cpu)
    significant, _ = is_significant(a, b)
    return bool(significant) and mean(b) > mean(a)


def google_benchmark(group: Sequence[data.Stored], cpu: bool) -> bool:
    """compare.py -a: Mann-Whitney U, two-sided, p < 0.05 (scipy, as compare.py uses it)."""
    from scipy.stats import mannwhitneyu

    a, b = _values(group, cpu)
    return bool(mannwhitneyu(a, b, alternative="two-sided").pvalue < 0.05 and median(b) > median(a))


def google_benchmark_processes(group: Sequence[data.Stored], cpu: bool) -> bool:
    """The same on the mean of each process: repetitions as compare.py's manual wants them."""
    from scipy.stats import mannwhitneyu

    a = [mean(pair.samples_ns("A", cpu=cpu)) for pair in group]
    b = [mean(pair.samples_ns("B", cpu=cpu)) for pair in group]
    return bool(mannwhitneyu(a, b, alternative="two-sided").pvalue < 0.05 and mean(b) > mean(a))


def hyperfine(group: Sequence[data.Stored], cpu: bool) -> bool:
    """scripts/welch_ttest.py: Welch's t-test, p < 0.05 (scipy, as the script uses it)."""
    from scipy.stats import ttest_ind

    a, b = _values(group, cpu)
    result: Any = ttest_ind(a, b, equal_var=False)
    return bool(result.pvalue < 0.05 and mean(b) > mean(a))


def five_per_cent(group: Sequence[data.Stored], cpu: bool) -> bool:
    """A bare threshold on means, as most CI actions have it."""
    a, b = _values(group, cpu)
    return mean(b) > 1.05 * mean(a)


def edgebench(group: Sequence[data.Stored], cpu: bool) -> bool:
    """This gate with 8 pairs, in a suite of 30 cells and without screening."""
    times = cpu_ns if cpu else undisturbed_ns
    changes = [c for pair in group if (c := change(pair.rounds(), times)) is not None]
    rules = Rules(tests=2, alpha=0.01 / 30)
    return judge(changes, Tolerance(), rules).verdict == "regress"


RULES: dict[str, Flag] = {
    "pyperf, t-test on pooled values": pyperf,
    "Google Benchmark, Mann-Whitney on pooled values": google_benchmark,
    "Google Benchmark, Mann-Whitney on process means": google_benchmark_processes,
    "hyperfine, Welch on pooled values": hyperfine,
    "mean above +5 %": five_per_cent,
    "edgebench, 1 % over 30 cells": edgebench,
}


if __name__ == "__main__":
    main()
