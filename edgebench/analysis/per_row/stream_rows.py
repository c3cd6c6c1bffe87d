"""Derives what a row tells of a stream in real time from its replicates."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from edgebench import record as rec
from edgebench import stats
from edgebench.analysis.table_types import Stream


def stream_of(
    good: Sequence[rec.Replicate], p99_ns: int | None, energy: rec.Energy
) -> Stream | None:
    """None where no replicate was a stream."""
    each = [(r, r.stream, r.paced) for r in good]
    parts = [(r, stream, paced) for r, stream, paced in each if stream and paced]
    if not parts:
        return None
    _, first, _ = parts[0]
    service = sorted(ns for _, _, paced in parts for ns in paced.service_ns)
    recoveries = [stream.recovery_ns for _, stream, _ in parts]
    delay_ns = first.window_ns + first.lookahead_ns
    joules = energy.j_per_inference
    return Stream(
        hop_ns=first.hop_ns,
        hops=len(service),
        real_time_factor=sum(service) / (len(service) * first.hop_ns) if service else None,
        service_p50_ns=stats.percentile(service, 500) if service else None,
        service_p99_ns=stats.known_percentile(service, 990),
        misses=sum(paced.misses for _, _, paced in parts),
        backlog_max=max(
            (depth - 1 for _, _, paced in parts for depth in paced.depth), default=None
        ),
        late_run_ns=max(_longest_late_ns(r.samples_ns, first.hop_ns) for r, _, _ in parts),
        recovery_ns=None if None in recoveries else stats.known_median(recoveries),
        algorithmic_delay_ns=delay_ns,
        delay_p99_ns=None if p99_ns is None else delay_ns + p99_ns,
        warm_up_hops=first.warm_up_hops,
        state_bytes=first.state_bytes,
        cpu_share=_cpu_share([r for r, _, _ in parts]),
        j_per_s=None if joules is None else joules * 1e9 / first.hop_ns,
    )


def _longest_late_ns(latency_ns: Sequence[int], hop_ns: int) -> int:
    """The longest stretch of the stream in which every hop was done after the next one had arrived."""
    runs = [len(list(some)) for late, some in groupby(ns > hop_ns for ns in latency_ns) if late]
    return max(runs, default=0) * hop_ns


def _cpu_share(parts: Sequence[rec.Replicate]) -> float | None:
    """CPU time over wall time at the real rate, of one core; more than 1 where several compute."""
    counted = [(r.cpu_ns, r.window_ns) for r in parts if r.cpu_ns is not None and r.window_ns]
    wall_ns = sum(wall for _, wall in counted)
    return sum(cpu for cpu, _ in counted) / wall_ns if wall_ns else None
