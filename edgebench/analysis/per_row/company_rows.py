"""Derives what company costs a model, from blocks alone and in company that took turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median_low
from typing import NamedTuple

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Company, CompanyCounter
from edgebench.files.number_bounds import Value
from edgebench.words.reason_words import reason
from edgebench.words.unknown_words import NO_MISSES


class _Shares(NamedTuple):
    """What company makes of a query: its time over alone, the share of what is added that is a wait for a core, and its
    CPU time over alone."""

    ratio: float
    waited: float | None
    cpu: float | None


class _Amounts(NamedTuple):
    alone: float
    company: float

    @property
    def ratio(self) -> float:
        return self.company / self.alone if self.alone else math.inf if self.company else 1.0


def company_of(good: Sequence[rec.Replicate]) -> Company | None:
    """None where no replicate was measured in company."""
    parts = [replicate.company for replicate in good if replicate.company is not None]
    parts = [part for part in parts if part.alone_ns and part.company_ns]
    if not parts:
        return None
    each = [_ratios(part) for part in parts]
    means = [math.exp(fmean(map(math.log, ratios))) for ratios in each]
    interval = stats.log_interval(means if len(means) > 1 else each[0])
    ratio = math.exp(fmean(map(math.log, means)))
    low, high = stats.ends_around(ratio, interval)
    alone = sorted(ns for part in parts for block in part.alone_ns for ns in block)
    crowded = sorted(ns for part in parts for block in part.company_ns for ns in block)
    waited, cpu = _waited_share(parts), _cpu_ratio(parts)
    totals = [part.total_bytes for part in parts if part.total_bytes is not None]
    return Company(
        companions=parts[0].companions,
        alone_mean_ns=round(fmean(ns for part in parts for ns in part.alone_mean_ns)),
        mean_ns=round(fmean(ns for part in parts for ns in part.company_mean_ns)),
        alone_p50_ns=median_low(alone),
        p50_ns=median_low(crowded),
        p99_ns=stats.known_percentile(crowded, 990),
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        blocks=sum(map(len, each)),
        total_bytes=max(totals, default=None),
        waited_share=waited,
        cpu_ratio=cpu,
        contested=_contested(parts, _Shares(ratio, waited, cpu)),
        counters=_counters(parts),
        untold={name: why for part in parts for name, why in part.untold.items()},
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


#: Below this, company adds nothing that a cause could be told of.
MIN_ADDED = 1.05
#: A cause that explains so much of what is added is named.
MIN_EXPLAINED = 0.3
#: A counter of which company makes so much more is told, and a share of the time that grows by so much.
MIN_MORE, MIN_STALLED = 1.1, 0.05
MIN_FAULTS = 0.01  # pages a query


def _waited_share(parts: Sequence[rec.Company]) -> float | None:
    """How much of the time that company adds to a query is its wait for a core; None: the kernel does not tell."""
    told = [part for part in parts if part.company_waited_ns and part.alone_waited_ns]
    added = sum(sum(part.company_mean_ns) - sum(part.alone_mean_ns) for part in told)
    waited = sum(sum(part.company_waited_ns) - sum(part.alone_waited_ns) for part in told)
    return max(0.0, min(1.0, waited / added)) if told and added > 0 else None


def _cpu_ratio(parts: Sequence[rec.Company]) -> float | None:
    """CPU time of a query in company over alone: above 1, the same work takes the core longer."""
    told = [part for part in parts if part.company_cpu_ns and part.alone_cpu_ns]
    alone = sum(sum(part.alone_cpu_ns) for part in told)
    return sum(sum(part.company_cpu_ns) for part in told) / alone if alone else None


def _contested(parts: Sequence[rec.Company], shares: _Shares) -> list[rec.Reason]:
    """What they fight for. A counter of waits is a finding where company adds to it; a core that is taken longer is told
    apart as far as counters of caches and of the memory's bandwidth tell."""
    if shares.ratio < MIN_ADDED:
        return []
    found = [*_for_cores(parts, shares), *_for_core_time(parts, shares), *_for_room(parts)]
    if stall := _stalled(parts, "io"):
        found.append(reason("contested_io", **stall))
    if found:
        return found
    known = shares.waited is not None and shares.cpu is not None
    return [reason("contested_unknown" + (".unexplained" if known else ""))]


def _for_cores(parts: Sequence[rec.Company], shares: _Shares) -> list[rec.Reason]:
    if shares.waited is not None:
        enough = shares.waited >= MIN_EXPLAINED
        return [reason("contested_cores", share=shares.waited)] if enough else []
    stall = _stalled(parts, "cpu")
    return [reason("contested_cores.pressure", **stall)] if stall else []


def _for_core_time(parts: Sequence[rec.Company], shares: _Shares) -> list[rec.Reason]:
    """Why the same work takes its core longer."""
    if shares.cpu is None or shares.cpu - 1 < MIN_EXPLAINED * (shares.ratio - 1):
        return []
    misses = _amounts(parts, rec.CACHE_MISSES)
    moved = _a_second(parts, rec.MEMORY_BYTES)
    found = []
    if misses is not None and misses.ratio >= MIN_MORE:
        found.append(reason("contested_caches", cpu_ratio=shares.cpu, misses_ratio=misses.ratio))
    if moved is not None and moved.ratio >= MIN_MORE:
        facts = {"company_per_s": moved.company, "alone_per_s": moved.alone}
        found.append(reason("contested_bandwidth", cpu_ratio=shares.cpu, **facts))
    if found:
        return found
    if misses is not None:
        key = "contested_core_time.no_misses"
        return [reason(key, cpu_ratio=shares.cpu, misses_ratio=misses.ratio)]
    why = next((part.untold.get(rec.CACHE_MISSES, "") for part in parts), "")
    return [reason("contested_core_time", cpu_ratio=shares.cpu, why=why or NO_MISSES)]


def _for_room(parts: Sequence[rec.Company]) -> list[rec.Reason]:
    """Whether memory is short: tasks wait for it, or pages are read back from storage."""
    found = []
    if stall := _stalled(parts, "memory"):
        found.append(reason("contested_memory", **stall))
    faults = _amounts(parts, rec.MAJOR_FAULTS)
    if faults is not None and faults.company >= max(MIN_FAULTS, MIN_MORE * faults.alone):
        found.append(reason("contested_memory.faults", company=faults.company, alone=faults.alone))
    return found


def _stalled(parts: Sequence[rec.Company], waited_for: str) -> dict[str, Value] | None:
    """The shares of the time in which some task waited, where company adds to it; None: it does not, or none tells."""
    name = rec.STALLS[waited_for]
    stalls = _a_second(parts, name)
    if stalls is None or stalls.company - stalls.alone < MIN_STALLED * 1e9:
        return None
    source = next(each.source for part in parts for each in part.counters if each.name == name)
    return {
        "company": min(1.0, stalls.company / 1e9),
        "alone": min(1.0, stalls.alone / 1e9),
        "source": source,
    }


def _amounts(parts: Sequence[rec.Company], name: str) -> _Amounts | None:
    """The mean of a counter, a query; None: no process tells."""
    told = [each for part in parts for each in part.counters if each.name == name and each.alone]
    if not told:
        return None
    return _Amounts(
        fmean(amount for each in told for amount in each.alone),
        fmean(amount for each in told for amount in each.company),
    )


def _a_second(parts: Sequence[rec.Company], name: str) -> _Amounts | None:
    """The same over the time of a query: queries of a block come one after the other."""
    told = [part for part in parts if any(each.name == name for each in part.counters)]
    amounts = _amounts(told, name)
    if amounts is None:
        return None
    alone_ns = fmean(ns for part in told for ns in part.alone_mean_ns)
    company_ns = fmean(ns for part in told for ns in part.company_mean_ns)
    return _Amounts(amounts.alone * 1e9 / alone_ns, amounts.company * 1e9 / company_ns)


def _counters(parts: Sequence[rec.Company]) -> list[CompanyCounter]:
    sources = {each.name: each.source for part in parts for each in part.counters}
    return [
        CompanyCounter(name=name, source=source, alone=amounts.alone, company=amounts.company)
        for name, source in sources.items()
        if (amounts := _amounts(parts, name)) is not None
    ]


def _ratios(part: rec.Company) -> list[float]:
    """Mean in company over mean alone, of each pair of blocks. A mean, since who waits for a core waits long and
    seldom: a median of short queries would not see it."""
    pairs = zip(part.company_mean_ns, part.alone_mean_ns, strict=True)
    return [crowded / alone for crowded, alone in pairs]
