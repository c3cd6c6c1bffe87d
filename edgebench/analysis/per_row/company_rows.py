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
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _ratios(part: rec.Company) -> list[float]:
    """Mean in company over mean alone, of each pair of blocks. A mean, since who waits for a core waits long and
    seldom: a median of short queries would not see it."""
    pairs = zip(part.company_mean_ns, part.alone_mean_ns, strict=True)
    return [crowded / alone for crowded, alone in pairs]
