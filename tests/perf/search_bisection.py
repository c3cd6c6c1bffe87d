"""The search beside the plain baseline of the literature: groups in the order of their damage, bisected.

    python -m tests.perf.search_bisection EXPLORATION.json

Reads what `edgebench search` kept below `results/search/`. The baseline's quality is judged as the search judges it
where the search measured that choice, and else by the sum of squares of damages against the most that held.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from edgebench.search.kept_search import read_exploration
from edgebench.search.search_messages import Candidate, Exploration
from edgebench.search.tradeoff import Choice


def bisected(damages: Mapping[str, float], holds: Callable[[Choice], bool]) -> tuple[Choice, int]:
    """The most groups of the least damage that hold, and how often quality was asked for."""
    order = sorted(damages, key=damages.__getitem__)
    if holds(frozenset(order)):
        return frozenset(order), 1
    low, high, asked = 0, len(order), 1
    while high - low > 1:
        middle = (low + high) // 2
        asked += 1
        low, high = (middle, high) if holds(frozenset(order[:middle])) else (low, middle)
    return frozenset(order[:low]), asked


def rank_correlation(first: list[float], second: list[float]) -> float:
    mine, theirs = (np.argsort(np.argsort(values)) for values in (first, second))
    return float(np.corrcoef(mine, theirs)[0, 1])


def told(found: Exploration) -> None:
    timed = [
        each
        for each in found.candidates
        if each.quick_ms is not None and not each.map.dynamic and not each.map.in_blocks
    ]  # no profile names the kernels of the others
    if len(timed) > 2:
        predicted, quick = zip(*((c.predicted_ms, c.quick_ms or 0.0) for c in timed), strict=True)
        print(
            f"predicted against measured latency: Spearman {rank_correlation([*predicted], [*quick]):.2f} of {len(timed)} maps"
        )
    damages = [c.damage for c in timed], [c.predicted_damage for c in timed]
    if len(timed) > 2:
        print(f"predicted against measured damage:  Spearman {rank_correlation(*damages):.2f}")
    holding = [c for c in found.candidates if c.spare is None or c.spare >= 0]
    limit = max((c.predicted_damage for c in holding), default=0.0)
    worst = max((u.damage or 0.0 for u in found.units if not u.joiner), default=0.0)
    groups = {
        u.name: worst if u.damage is None else u.damage for u in found.units if not u.joiner
    }  # of a group that nobody had time for: as bad as the worst, as the search takes it

    def holds(choice: Choice) -> bool:
        return sum(groups[name] ** 2 for name in choice) <= limit**2

    choice, asked = bisected(groups, holds)
    gain = sum(u.fp32_us - u.int8_us for u in found.units if u.name in choice)
    print(
        f"by damage order and bisection: {len(choice)} of {len(groups)} groups, kernels save {gain:.0f} us, {asked} evaluations"
    )
    if holding:
        best: Candidate = min(holding, key=lambda each: each.quick_ms or np.inf)
        mine = sum(u.fp32_us - u.int8_us for u in found.units if u.name in best.map.quantized)
        print(
            f"by cuts: {best.int8_groups} of {len(groups)} groups, kernels save {mine:.0f} us, "
            f"{len(found.candidates)} evaluations"
        )


def main(paths: list[str]) -> None:
    for path in paths:
        found = read_exploration(Path(path))
        print(path if found is not None else f"{path}: no exploration")
        if found is not None:
            told(found)


if __name__ == "__main__":
    main(sys.argv[1:])
