"""Judges the quality of head against base: each limit, and how much the quality fell."""

from __future__ import annotations

import msgspec

from edgebench import record
from edgebench.ab_test.verdict import RuleResult, judge_amounts
from edgebench.analysis import table_types
from edgebench.record import Limit
from edgebench.words import unknown_words, verdict_words

Quality = record.Quality | table_types.Quality


def lost(before: Quality | None, after: Quality) -> list[Limit]:
    """The limits that head misses and base held; every one that it misses, where there is no base."""
    known = set() if before is None else {limit.metric for limit in _missed(before)}
    return [limit for limit in _missed(after) if limit.metric not in known]


def missed_by_both(before: Quality, after: Quality) -> list[tuple[Limit, Limit]]:
    """Limits that tell the two not apart, as either has them."""
    known = {limit.metric: limit for limit in _missed(before)}
    return [(known[limit.metric], limit) for limit in _missed(after) if limit.metric in known]


def complaints(missed: list[Limit]) -> str:
    """One text per limit that is missed: "accuracy 0.8 < 0.85"."""
    return "; ".join(map(_complaint, missed))


def complaint_of(demanded: float, after: Quality) -> str:
    """Says how a quality misses what the policy requires; empty if it does not."""
    if after.value is None:
        return verdict_words.policy_unknown(metric=after.metric, demanded=demanded)
    if _worse_by(demanded, after.value, after.better) <= 0:
        return ""
    return verdict_words.policy_missed(metric=after.metric, value=after.value, demanded=demanded)


def judge_drop(before: Quality, after: Quality, tolerance: float) -> RuleResult:
    """Judges the drop of the main metric, in points, and of each metric whose limit both sides miss: there the limit
    says nothing of the change. Both sides know the main metric."""
    assert before.value is not None
    assert after.value is not None
    sign = -1.0 if after.better == "higher" else 1.0
    ruling = judge_amounts([sign * before.value], [sign * after.value], tolerance, relative=False)
    already = missed_by_both(before, after)
    if not already:
        return ruling
    why = verdict_words.base_misses_too(complaints=complaints([mine for _, mine in already]))
    fallen = [
        verdict_words.was(metric=mine.metric, value=theirs.value)
        for theirs, mine in already
        if theirs.value is not None
        and mine.metric != after.metric
        and _fell(theirs, mine, tolerance)
    ]
    verdict = "regress" if fallen else ruling.verdict
    return msgspec.structs.replace(ruling, verdict=verdict, reason=", ".join([why, *fallen]))


def _missed(quality: Quality) -> list[Limit]:
    """Every demand that does not hold, that on the main metric first."""
    main = Limit(
        metric=quality.metric,
        value=quality.value,
        limit=quality.floor,
        better=quality.better,
        passed=True,
    )
    others = [limit for limit in quality.also if not limit.passed]
    # What fails for none of its limits, as outputs that prove nothing, fails by the main metric.
    failed = not quality.passed and (not _holds(main) or not others)
    return [*([msgspec.structs.replace(main, passed=False)] if failed else []), *others]


def _holds(limit: Limit) -> bool:
    """Judges the value alone, without an interval."""
    if limit.value is None:
        return False
    return limit.limit is None or _worse_by(limit.limit, limit.value, limit.better) <= 0


def _complaint(limit: Limit) -> str:
    if limit.value is None:
        return unknown_words.unknown(name=limit.metric)
    if limit.limit is None or _holds(limit):
        return verdict_words.not_passed(metric=limit.metric)
    return verdict_words.beyond_limit(limit.metric, limit.value, limit.limit, limit.better)


def _fell(before: Limit, after: Limit, tolerance: float) -> bool:
    """From what is known: by more than the tolerance, or to what is unknown."""
    if before.value is None or after.value is None:
        return before.value is not None
    return _worse_by(before.value, after.value, after.better) > tolerance


def _worse_by(least: float, value: float, better: str) -> float:
    """Points by which a value is worse than another."""
    return least - value if better == "higher" else value - least
