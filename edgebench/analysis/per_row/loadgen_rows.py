"""Derives how LoadGen's figures stand to the row's own, process by process."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import LoadGen


def loadgen_of(good: Sequence[rec.Replicate]) -> LoadGen | None:
    """None where LoadGen drove no replicate."""
    both = [(r, r.loadgen) for r in good if r.loadgen is not None]
    if not both:
        return None
    parts = [part for _, part in both]
    p90 = _over_ours([(r, part.p90_ns) for r, part in both], 900)
    p99 = _over_ours([(r, part.p99_ns) for r, part in both], 990)
    rates = [part.samples_per_s for part in parts if part.samples_per_s is not None]
    return LoadGen(
        version=parts[0].version,
        scenario=parts[0].scenario,
        replicates=len(parts),
        valid=sum(part.valid for part in parts),
        p50_ns=stats.known_median(part.p50_ns for part in parts),
        p90_ns=stats.known_median(part.p90_ns for part in parts),
        p99_ns=stats.known_median(part.p99_ns for part in parts),
        throughput_per_s=median(rates) if rates else None,
        p90_ratio=p90.value,
        p90_ratio_low=p90.low,
        p90_ratio_high=p90.high,
        p99_ratio=p99.value,
        p99_ratio_low=p99.low,
        p99_ratio_high=p99.high,
        throughput_ratio=_of_rates(both),
        p90_same_ratio=_same_ratio([(part, part.p90_ns) for part in parts], 900),
        p99_same_ratio=_same_ratio([(part, part.p99_ns) for part in parts], 990),
        overhead_ns=_overhead_ns(parts),
        why=next((part.why for part in parts if part.why), ""),
        logs=[part.logs for part in parts if part.logs],
    )


def _over_ours(each: Sequence[tuple[rec.Replicate, int | None]], permille: int) -> stats.Mean:
    """LoadGen's percentile over that of our own loop in the same process."""
    ratios = [
        theirs_ns / ours_ns
        for replicate, theirs_ns in each
        if theirs_ns is not None and replicate.samples_ns
        for ours_ns in [stats.percentile(sorted(replicate.samples_ns), permille)]
        if ours_ns and theirs_ns
    ]
    return stats.geometric_mean(ratios)


def _same_ratio(each: Sequence[tuple[rec.LoadGen, int | None]], permille: int) -> float | None:
    """LoadGen's percentile over that of its own queries by our clock: no difference of load or machine is in it."""
    ratios = [
        theirs_ns / ours_ns
        for part, theirs_ns in each
        if theirs_ns
        and (latencies := sorted(latencies_ns(part)))
        and (ours_ns := stats.percentile(latencies, permille))
    ]
    return stats.geometric_mean(ratios).value


def latencies_ns(part: rec.LoadGen) -> list[int]:
    """Latencies of LoadGen's queries by our clock, as our own loops count them; of a part of its queries none."""
    waits = part.wait_ns or [0] * len(part.service_ns)
    if len(part.service_ns) != part.queries or (part.scenario == "Server" and not part.wait_ns):
        return []
    return [wait + service for wait, service in zip(waits, part.service_ns, strict=True)]


def _of_rates(both: Sequence[tuple[rec.Replicate, rec.LoadGen]]) -> float | None:
    """Samples per second that LoadGen states of Offline over ours."""
    ratios = [
        part.samples_per_s / (ours.samples * 1e9 / ours.duration_ns)
        for replicate, part in both
        if part.samples_per_s and (ours := replicate.offline) is not None
    ]
    return stats.geometric_mean(ratios).value


def _overhead_ns(parts: Sequence[rec.LoadGen]) -> int | None:
    """Of loads without a queue alone: elsewhere LoadGen's latency holds the wait as well."""
    return stats.known_median(
        part.p50_ns - stats.percentile(sorted(part.service_ns), 500)
        for part in parts
        if part.scenario in ("SingleStream", "MultiStream") and part.p50_ns and part.service_ns
    )
