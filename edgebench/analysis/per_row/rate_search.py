"""Seeks the highest rate of random arrivals whose p99 keeps a bound, by bracketing and bisection.

A pure function of the replicates made so far: what to measure next follows from them alone, so that a run that goes
on seeks on. A rate keeps the bound where an upper confidence bound of its p99 does: the larger of MLPerf's
early-stopping estimate over all queries, and the upper end of the interval over its processes. One process over the
bound, or overloaded, ends a rate: the search errs towards lower rates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal, NamedTuple

from edgebench import stats
from edgebench.record import Paced, RateSearch, RateTrial, Reason, Replicate
from edgebench.words import unknown_words
from edgebench.words.reason_words import reason

#: Share of what the device serves one query after the other, at which a search begins.
FIRST_SHARE = 0.5
#: The next rate while none is over, and while none is kept.
UP, DOWN = 1.5, 0.5
#: A search is over when the lowest rate that fails is so close to the highest that does not.
RESOLUTION = 1.05
MAX_TRIALS = 16
#: Below this share of the first rate, waiting is so rare that a lower one would change nothing.
MIN_SHARE = 1 / 32
#: A rate that is neither kept nor over gets so many times the replicates that are asked for, at most.
MORE_REPLICATES = 2
#: Queries of a process that tell its p99.
MIN_QUERIES = 100
PERMILLE = 990


class Next(NamedTuple):
    """What to measure next: at a rate, or (None) at `FIRST_SHARE` of what a process finds that it serves."""

    rate_per_s: float | None


def rounded(rate_per_s: float) -> float:
    """A rate in three digits: the same number in every process and on the command line."""
    return float(f"{rate_per_s:.3g}")


def search_of(replicates: Sequence[Replicate], bound_ns: int, least: int) -> RateSearch:
    """Where a search stands; `least` replicates are made of a rate before it is said to keep the bound."""
    trials = _trials(replicates, bound_ns, least)
    kept, over = _bracket(trials)
    return RateSearch(
        bound_p99_ns=bound_ns,
        rate_per_s=kept,
        over_per_s=over,
        ended=_ended(trials, kept, over, _served_p99(replicates) > bound_ns),
        trials=trials,
    )


def next_step(search: RateSearch) -> Next | None:
    """What to measure next; None: the search has ended."""
    if search.ended != "cut":
        return None
    if not search.trials:
        return Next(None)
    last = search.trials[-1]
    if last.verdict == "open":
        return Next(last.rate_per_s)
    return Next(_next_rate(search.rate_per_s, search.over_per_s))


def _next_rate(kept: float | None, over: float | None) -> float:
    if kept is not None and over is not None:
        return rounded((kept * over) ** 0.5)
    if kept is not None:
        return rounded(kept * UP)
    assert over is not None
    return rounded(over * DOWN)


def overloaded(paced: Paced) -> str:
    """Why a load of random arrivals is beyond what the deployment serves; "" where it is not."""
    if paced.never_run:
        return unknown_words.given_up(waiting=paced.never_run)
    served_ns = sum(paced.service_ns) / paced.workers
    # So many queries come in as many times between two: the last one has its own.
    load = served_ns / (paced.due_ns[-1] + 1e9 / paced.rate_per_s) if paced.due_ns else 0.0
    return unknown_words.overloaded(load=load) if load >= 1 else ""


def _trials(replicates: Sequence[Replicate], bound_ns: int, least: int) -> list[RateTrial]:
    """One for each rate, in the order in which they were first measured."""
    rates: dict[float, list[Replicate]] = defaultdict(list)
    for replicate in replicates:
        if replicate.paced is not None and replicate.samples_ns:
            rates[replicate.paced.rate_per_s].append(replicate)
    return [_trial(rate, some, bound_ns, least) for rate, some in rates.items()]


def _trial(
    rate_per_s: float, replicates: Sequence[Replicate], bound_ns: int, least: int
) -> RateTrial:
    pooled = sorted(ns for replicate in replicates for ns in replicate.samples_ns)
    upper_ns = _upper_ns(replicates, pooled)
    verdict, why = _verdict(replicates, upper_ns, bound_ns, least)
    return RateTrial(
        rate_per_s=rate_per_s,
        replicates=[replicate.index for replicate in replicates],
        queries=len(pooled),
        p50_ns=stats.percentile(pooled, 500),
        p99_ns=stats.percentile(pooled, PERMILLE),
        upper_ns=upper_ns,
        verdict=verdict,
        why=why,
    )


def _upper_ns(replicates: Sequence[Replicate], pooled: Sequence[int]) -> int | None:
    """Upper confidence bound of p99; None where too few queries tell it."""
    of_queries = stats.early_stopping_estimate(pooled, PERMILLE)
    if of_queries is None:
        return None
    interval = stats.log_interval(_p99_each(replicates))
    return of_queries if interval is None else max(of_queries, round(interval.high))


def _p99_each(replicates: Sequence[Replicate]) -> list[int]:
    told = [each.samples_ns for each in replicates if len(each.samples_ns) >= MIN_QUERIES]
    return [stats.percentile(sorted(samples), PERMILLE) for samples in told]


Verdict = tuple[Literal["kept", "over", "open", "untold"], str]


def _verdict(
    replicates: Sequence[Replicate], upper_ns: int | None, bound_ns: int, least: int
) -> Verdict:
    for replicate in replicates:
        if replicate.paced is not None and (why := overloaded(replicate.paced)):
            return "over", why
    if any(p99_ns > bound_ns for p99_ns in _p99_each(replicates)):
        return "over", unknown_words.PROCESS_OVER_BOUND
    if len(replicates) < least:
        return "open", ""
    if upper_ns is None:
        return "untold", unknown_words.p99_needs(queries=stats.min_samples(PERMILLE))
    if upper_ns <= bound_ns:
        return "kept", ""
    if len(replicates) < MORE_REPLICATES * least:
        return "open", ""
    return "over", unknown_words.UPPER_OVER_BOUND


def _bracket(trials: Sequence[RateTrial]) -> tuple[float | None, float | None]:
    """The highest rate that keeps the bound below every one that does not, and the lowest that does not."""
    over = min((trial.rate_per_s for trial in trials if trial.verdict == "over"), default=None)
    kept = [
        trial.rate_per_s
        for trial in trials
        if trial.verdict == "kept" and (over is None or trial.rate_per_s < over)
    ]
    return max(kept, default=None), over


def _served_p99(replicates: Sequence[Replicate]) -> int:
    """p99 of the service alone, without any wait: no rate can do better. 0: too few queries tell."""
    served = sorted(ns for each in replicates if each.paced for ns in each.paced.service_ns)
    return stats.percentile(served, PERMILLE) if len(served) >= stats.min_samples(PERMILLE) else 0


def _ended(
    trials: Sequence[RateTrial], kept: float | None, over: float | None, hopeless: bool
) -> Literal["found", "none", "untold", "cut"]:
    if not trials or trials[-1].verdict == "open":
        return "cut"
    if trials[-1].verdict == "untold":
        return "untold" if kept is None else "found"
    if kept is not None and over is not None and over <= RESOLUTION * kept:
        return "found"
    if len(trials) >= MAX_TRIALS:
        return "none" if kept is None else "found"
    spent = over is not None and over <= MIN_SHARE * trials[0].rate_per_s
    if kept is None and over is not None and (hopeless or spent):
        return "none"
    return "cut"


def at_the_rate(replicates: Sequence[Replicate], search: RateSearch | None) -> list[Replicate]:
    """The replicates that tell of a row: of a search, those at the rate that was found, or at the lowest tried."""
    if search is None or not search.trials:
        return list(replicates)
    rate = search.rate_per_s or min(trial.rate_per_s for trial in search.trials)
    return [each for each in replicates if each.paced and each.paced.rate_per_s == rate]


def search_reasons(search: RateSearch | None) -> list[Reason]:
    """Why a search gave no rate; nothing where it gave one."""
    if search is None or not search.trials or search.rate_per_s is not None:
        return []
    lowest = min(search.trials, key=lambda trial: trial.rate_per_s)
    bound_ns, rate_per_s, p99_ns = search.bound_p99_ns, lowest.rate_per_s, lowest.p99_ns
    if search.ended == "none":
        return [reason("bound_not_kept", bound_ns=bound_ns, rate_per_s=rate_per_s, p99_ns=p99_ns)]
    if search.ended == "untold":
        at = {"rate_per_s": rate_per_s, "p99_ns": p99_ns}
        return [reason("bound_untold", bound_ns=bound_ns, why=lowest.why, **at)]
    return [reason("rate_search_cut", bound_ns=bound_ns)]
