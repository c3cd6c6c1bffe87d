"""Which measured rows may replace fp32, in which order they are chosen, and what is said of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgebench.analysis.table_types import Row
from edgebench.backend import Scalar
from edgebench.search.reward import Reward
from edgebench.search.search_messages import Candidate, Demand, Verdict
from edgebench.search.search_report import Standing, quality_of

#: Rows whose quality is tested at most; the risk of offering one that does not hold is shared among them.
MAX_TESTED = 4


def deployable(rows: Sequence[Row], candidates: Mapping[Scalar, Candidate]) -> list[Row]:
    """Rows that could replace fp32, the fastest first: measured, faster for sure, not missed on tuning items."""
    found = []
    for row in rows:
        gain = (
            row.baseline.speedup_low or row.baseline.speedup if row.baseline is not None else None
        )
        candidate = candidates.get(row.variant["precision"])
        tuned = candidate is None or candidate.spare is None or candidate.spare >= 0
        if row.status == "ok" and gain is not None and gain > 1 and tuned:
            found.append(row)
    return sorted(found, key=lambda row: row.latency_ns.p50 or float("inf"))


def by_reward(order: Sequence[Row], reward: Reward | None) -> list[Row]:
    """The rows, the best first: as they are (the fastest), or by the reward of their quality and latency."""
    if reward is None:
        return list(order)

    def value(row: Row) -> float:
        quality = row.quality.value if row.quality is not None else None
        if quality is None or row.latency_ns.p50 is None:
            return float("-inf")
        return reward.of(quality, row.latency_ns.p50)

    return sorted(order, key=value, reverse=True)


def holds(row: Row, demands: Sequence[Demand]) -> bool:
    """Whether a row's own quality meets the limits; without labels, whether its outputs are near enough."""
    if row.quality is None:
        return False
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
) -> dict[str, Standing]:
    judged = {verdict.precision: verdict for verdict in verdicts}
    found: dict[str, Standing] = {}
    for row in rows:
        precision = row.variant["precision"]
        candidate, verdict = candidates.get(precision), judged.get(str(precision))
        if precision == "fp32":
            found[row.id] = "base"
        elif verdict is not None:
            found[row.id] = "safe" if verdict.safe else "held" if verdict.held else "missed"
        elif row.quality is not None and not holds(row, demands):
            found[row.id] = "missed"
        elif candidate is not None and candidate.spare is not None and candidate.spare < 0:
            found[row.id] = "tuning"
        else:
            found[row.id] = "untested"
    return found
