"""Computes how far a map's quality lies from fp32's, with an interval over items, for any task that can score answers.

Metrics are whatever a task makes of its answers: shares, F1, areas, correlations. So nobody resamples them here:
answers are swapped. With the answers of fp32 in the place of a block's own, the metric moves by what that block
adds to the change; blocks are independent, so the spread of what they add is the uncertainty of their sum.
Further draws may show the same sources again (other crops of a photo, other noise over a recording), so draws are
averaged block by block: they make the parts of a block surer, and never the number of blocks greater.

Where no answer of no block changes a metric, its spread is unknown, not zero: of n items that count, none changed,
and then as much as ln(1/risk)/n of all items may change (the rule of three).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from edgebench import stats

#: Blocks of items; fewer where a task has fewer independent sources of items.
MAX_BLOCKS = 24
MIN_BLOCKS = 5
#: Items whose answers are made wrong, one by one, to see which share of all items a metric counts.
PROBES = 24
_STILL = 1e-12

Score = Callable[[Sequence[Any]], dict[str, float]]


@dataclass(frozen=True)
class Change:
    """The change of a metric from fp32 to a map on one draw of items."""

    change: float
    parts: tuple[float, ...]  # what each block of items adds to it
    items: int  # that count for it

    @property
    def still(self) -> bool:
        """Whether no answer that counts changed."""
        return all(abs(part) < _STILL for part in self.parts)


@dataclass(frozen=True)
class ChangeInterval:
    """The change over all draws, with one-sided limits at the confidence."""

    change: float
    low: float
    high: float
    items: int


def blocks_of(clusters: Sequence[int]) -> list[list[int]]:
    """Items in blocks: those of one source (a photo, a second of a stream) stay together."""
    kinds = sorted(set(clusters))
    count = min(MAX_BLOCKS, len(kinds))
    number = {kind: place % count for place, kind in enumerate(kinds)} if count else {}
    blocks: list[list[int]] = [[] for _ in range(count)]
    for item, kind in enumerate(clusters):
        blocks[number[kind]].append(item)
    return blocks


def changes(
    score: Score, base: Sequence[Any], mine: Sequence[Any], clusters: Sequence[int]
) -> dict[str, Change]:
    """The change of every metric, by swapping blocks of answers. Empty where there are too few blocks."""
    blocks = blocks_of(clusters)
    if len(blocks) < MIN_BLOCKS:
        return {}
    before, after = score(base), score(mine)
    added: dict[str, list[float]] = {name: [] for name in after}
    for block in blocks:
        swapped = list(mine)
        for item in block:
            swapped[item] = base[item]
        without = score(swapped)
        for name, value in after.items():
            added[name].append(value - without[name])
    return {
        name: _change(name, after[name] - before[name], parts, (score, base))
        for name, parts in added.items()
        if name in before
    }


def _change(
    name: str, change: float, parts: Sequence[float], scored: tuple[Score, Sequence[Any]]
) -> Change:
    found = Change(change, tuple(parts), len(scored[1]))
    return replace(found, items=counted_items(*scored, name)) if found.still else found


def counted_items(score: Score, answers: Sequence[Any], metric: str) -> int:
    """How many items a metric counts, about: it moves where one of these gets another item's answer."""
    count = len(answers)
    known = score(answers)[metric]
    probes = range(0, count, max(1, count // PROBES))

    def moves(probe: int, donor: int) -> bool:
        other = list(answers)
        other[probe] = answers[donor % count]
        return abs(score(other)[metric] - known) > _STILL

    steps = (count // 2 + 1, count // 3 + 1)  # the first donor may have the same answer
    moved = sum(any(moves(probe, probe + step) for step in steps) for probe in probes)
    return round(count * moved / max(1, len(probes)))


def interval(
    found: Sequence[Change], confidence: float, same_sources: bool = False
) -> ChangeInterval:
    """The mean change over draws of equally many items, with what it may be at worst and at best. That nothing
    changed counts once where the draws show the `same_sources`."""
    draws = len(found)
    change = sum(each.change for each in found) / draws
    items = sum(each.items for each in found)
    if all(each.still for each in found):
        seen = max(each.items for each in found) if same_sources else items
        may_change = unseen_change(seen, confidence)
        return ChangeInterval(change, change - may_change, change + may_change, items)
    blocks = zip_longest(*(each.parts for each in found), fillvalue=0.0)
    parts = [sum(block) / draws for block in blocks]
    mean = sum(parts) / len(parts)
    variance = len(parts) / (len(parts) - 1) * sum((part - mean) ** 2 for part in parts)
    width = stats.t_quantile(confidence, len(parts) - 1) * math.sqrt(variance)
    return ChangeInterval(change, change - width, change + width, items)


def unseen_change(items: int, confidence: float) -> float:
    """How much of all items may change though none of so many did: the rule of three."""
    return -math.log(1 - confidence) / items if items else 1.0
