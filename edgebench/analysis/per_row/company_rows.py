"""Derives what company costs a model, from blocks alone and in company that took turns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median_low

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Company


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
        p99_ns=stats.percentile(crowded, 990) if len(crowded) >= stats.min_samples(990) else None,
        ratio=ratio,
        ratio_low=None if interval is None else min(interval.low, ratio),
        ratio_high=None if interval is None else max(interval.high, ratio),
        blocks=sum(map(len, each)),
        total_bytes=max(totals, default=None),
        waited_share=waited,
        cpu_ratio=cpu,
        contested=_contested(ratio, waited, cpu),
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


#: Below this, company adds nothing that a cause could be told of.
MIN_ADDED = 1.05
#: A cause that explains so much of what is added is named.
MIN_EXPLAINED = 0.3


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


def _contested(ratio: float, waited: float | None, cpu: float | None) -> str:
    """What they fight for. Counters of caches and of the memory's bandwidth are not read: a query that takes its core
    longer is told as such."""
    if ratio < MIN_ADDED:
        return ""
    if waited is None or cpu is None:
        return "unknown: the system counts no waits"
    found = []
    if waited >= MIN_EXPLAINED:
        found.append(f"cores ({waited:.0%} of what is added is a wait for one)")
    if cpu - 1 >= MIN_EXPLAINED * (ratio - 1):
        found.append(f"memory, caches or the clock (a query takes {cpu:.2f}x the CPU time)")
    return " and ".join(found) or "unknown: neither waits nor CPU time explain it"


def _ratios(part: rec.Company) -> list[float]:
    """Mean in company over mean alone, of each pair of blocks. A mean, since who waits for a core waits long and
    seldom: a median of short queries would not see it."""
    pairs = zip(part.company_mean_ns, part.alone_mean_ns, strict=True)
    return [crowded / alone for crowded, alone in pairs]
