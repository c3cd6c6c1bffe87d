"""Decides which measured rows may replace fp32, in which order they are chosen, and how each is labelled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.search.requirements import Reward, reward_of
from edgebench.search.search_messages import Candidate, Demand, Exploration, Verdict
from edgebench.search.search_report import Standing, quality_of

#: Of the maps that hold on tuning items so many of the fastest are measured whatever else is.
FIRST_MEASURED = 2
#: Rows whose quality is tested at most; the risk of offering one that does not hold is shared among them.
MAX_TESTED = 4


def measured_maps(exploration: Exploration, points: int) -> list[Candidate]:
    """The candidates that get records: the fastest that hold on tuning items, from which the choice is made; then
    those that nothing beats in time, damage and size, far apart in time; those that hold come first."""
    fitting = [each for each in exploration.candidates if each.holds]
    fitting.sort(key=_quick)
    front = _unbeaten(exploration.candidates)
    others = [each for each in exploration.candidates if each not in fitting]
    others.sort(key=lambda each: each.spare or 0.0, reverse=True)
    wanted = [
        *fitting[:FIRST_MEASURED],
        *_far_apart([each for each in front if each in fitting], points - FIRST_MEASURED),
        *(each for each in others if each in front),
        *fitting,
        *others,
    ]
    return list({each.map.precision: each for each in wanted}.values())[:points]


def _unbeaten(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that no other is at least as good as in time, damage and size, and better in one; the fastest first."""
    costs = {
        each.map.precision: (_quick(each), each.damage, each.size_bytes or 0) for each in candidates
    }

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(
            theirs != mine and all(a <= b for a, b in zip(theirs, mine, strict=True))
            for theirs in costs.values()
        )

    found = [each for each in candidates if not beaten(costs[each.map.precision])]
    return sorted(found, key=_quick)


def _far_apart(found: Sequence[Candidate], room: int) -> list[Candidate]:
    """Both ends, then always the one whose time is furthest from those that are there, by ratio."""
    chosen = list(dict.fromkeys([found[0].map.precision, found[-1].map.precision])) if found else []
    known = {each.map.precision: each for each in found}
    while len(chosen) < min(room, len(found)):
        times = [_quick(known[name]) for name in chosen]
        rest = [name for name in known if name not in chosen]
        chosen.append(
            max(rest, key=lambda name: min(abs(math.log(_quick(known[name]) / t)) for t in times))
        )
    return [known[name] for name in chosen][: max(0, room)]


def _quick(candidate: Candidate) -> float:
    return candidate.quick_ms if candidate.quick_ms is not None else candidate.predicted_ms


def deployable(
    rows: Sequence[Row],
    candidates: Mapping[Scalar, Candidate],
    fp32_quick_ms: float | None = None,
) -> list[Row]:
    """Rows that could replace fp32, the fastest first: measured, faster (for sure, where an interval tells), and
    not missed on tuning items."""
    found = []
    for row in rows:
        candidate = candidates.get(row.variant["precision"])
        share = share_of_fp32(row, candidate, fp32_quick_ms)
        low = None if row.baseline is None else row.baseline.speedup_low
        sure = low is None or low > 1
        tuned = candidate is None or candidate.holds
        if row.status == "ok" and share is not None and share < 1 and sure and tuned:
            found.append((share, row))
    return [row for _share, row in sorted(found, key=lambda each: each[0])]


def by_latency(order: Sequence[Row]) -> list[Row]:
    """The rows, the shortest first: rows of several settings or backends each have an fp32 of their own to be faster
    than."""
    return sorted(order, key=lambda row: row.latency_ns.p50 or math.inf)


def share_of_fp32(
    row: Row, candidate: Candidate | None, fp32_quick_ms: float | None
) -> float | None:
    """The time of a row as a share of fp32's. One process each says little on a busy machine: without an interval
    a map is placed by what it took in turns with fp32 in one process."""
    if row.baseline is None:
        return None
    quick = None if candidate is None else candidate.quick_ms
    if row.baseline.speedup_low is None and quick is not None and fp32_quick_ms:
        return quick / fp32_quick_ms
    return 1 / row.baseline.speedup


def by_reward(order: Sequence[Row], reward: Reward | None, fp32: Sequence[Row] = ()) -> list[Row]:
    """The rows, the best first: as they are (the fastest), or by the reward of their quality and latency; then without
    those that have no more of it than the row of fp32 of their backend."""
    if reward is None:
        return list(order)
    least: dict[str, float] = {}
    for row in fp32:  # of several settings the best
        least[row.backend] = max(reward_of(row, reward), least.get(row.backend, float("-inf")))
    better = [
        row for row in order if reward_of(row, reward) > least.get(row.backend, float("-inf"))
    ]
    return sorted(better, key=lambda row: reward_of(row, reward), reverse=True)


def holds(row: Row, demands: Sequence[Demand], items: int = 0) -> bool:
    """Whether a row's own quality meets the limits, or may: the budget left no time for all of so many items.
    Without labels, whether its outputs are near enough."""
    if row.quality is None:
        return False
    if demands and row.quality.items < items:
        return True  # the test goes through all of them
    values = quality_of(row)
    if not demands:
        return row.quality.passed
    return all(d.metric in values and d.spare(values[d.metric]) >= 0 for d in demands)


def worth_testing(order: Sequence[Row], candidates: Mapping[Scalar, Candidate]) -> list[Row]:
    """Of rows in the order of choice those with less damage than all before them, so that each is more likely
    to hold than the last; of the usual variants nobody knows it."""
    found: list[Row] = []
    least = float("inf")
    for row in order:
        candidate = candidates.get(row.variant["precision"])
        if candidate is None or candidate.damage < least:
            found.append(row)
            least = least if candidate is None else candidate.damage
    return found[:MAX_TESTED]


def standings_of(
    rows: Sequence[Row],
    candidates: Mapping[Scalar, Candidate],
    verdicts: Sequence[Verdict],
    demands: Sequence[Demand],
    items: int = 0,
) -> dict[str, Standing]:
    judged = {(verdict.backend, verdict.precision): verdict for verdict in verdicts}
    found: dict[str, Standing] = {}
    for row in rows:
        precision = row.variant["precision"]
        candidate, verdict = candidates.get(precision), judged.get((row.backend, str(precision)))
        if precision == "fp32":
            found[row.id] = "base"
        elif verdict is not None:
            found[row.id] = "safe" if verdict.safe else "held" if verdict.held else "missed"
        elif row.quality is not None and not holds(row, demands, items):
            found[row.id] = "missed"
        elif candidate is not None and not candidate.holds:
            found[row.id] = "tuning"
        else:
            found[row.id] = "untested"
    return found
