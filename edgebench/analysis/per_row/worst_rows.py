"""Derives the slowest input that was found, over the processes that searched for one."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from edgebench import record as rec
from edgebench.analysis.table_types import WorstCase


def worst_of(good: Sequence[rec.Replicate]) -> WorstCase | None:
    """The worst of all processes; None where none searched."""
    parts = [replicate.worst_case for replicate in good if replicate.worst_case is not None]
    parts = [part for part in parts if part.worst_ns and part.median_ns]
    if not parts:
        return None
    worst = max(parts, key=lambda part: median_low(part.worst_ns))
    median_ns = median_low(worst.median_ns)
    worst_ns = median_low(worst.worst_ns)
    return WorstCase(
        worst_ns=worst_ns,
        median_ns=median_ns,
        amplification=worst_ns / median_ns if median_ns else None,
        run_share=sum(worst.worst_run_ns) / sum(worst.worst_ns) if sum(worst.worst_ns) else None,
        seed=worst.seed,
        kind=worst.kind,
        tried=sum(part.tried for part in parts),
        failed=sum(part.failed for part in parts),
        failure=next((part.failure for part in parts if part.failure), ""),
    )
