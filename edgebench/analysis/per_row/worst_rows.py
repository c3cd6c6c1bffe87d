"""Derives the slowest input that was found, and the one that takes most energy, over the processes that searched."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low
from typing import Any

import msgspec

from edgebench import record as rec
from edgebench.analysis.table_types import WorstCase
from edgebench.words import unknown_words


def worst_of(good: Sequence[rec.Replicate]) -> WorstCase | None:
    """The worst of all processes; None where none searched."""
    parts = _searched(good)
    if not parts:
        return None
    worst = max(parts, key=lambda part: median_low(part.worst_ns))
    median_ns = median_low(worst.median_ns)
    worst_ns = median_low(worst.worst_ns)
    found = WorstCase(
        worst_ns=worst_ns,
        median_ns=median_ns,
        amplification=worst_ns / median_ns if median_ns else None,
        run_share=sum(worst.worst_run_ns) / sum(worst.worst_ns) if sum(worst.worst_ns) else None,
        seed=worst.seed,
        kind=worst.kind,
        tried=sum(part.tried for part in parts),
        by=["latency"],
        tokens=worst.worst_tokens,
        median_tokens=worst.median_tokens,
        failed=sum(part.failed for part in parts),
        failure=next((part.failure for part in parts if part.failure), ""),
    )
    return msgspec.structs.replace(found, **_energy(parts))


def why_no_energy(good: Sequence[rec.Replicate]) -> str:
    """Why no input was sought that takes most energy."""
    parts = _searched(good)
    needed_s = [part.energy_needed_s for part in parts if part.energy_needed_s is not None]
    if needed_s:
        return unknown_words.search_too_short(needed_s=max(needed_s))
    whys = [window.why for part in parts for window in part.energy_windows if window.why]
    return whys[0] if whys else unknown_words.NO_METER_READ


def _searched(good: Sequence[rec.Replicate]) -> list[rec.WorstCase]:
    parts = [replicate.worst_case for replicate in good if replicate.worst_case is not None]
    return [part for part in parts if part.worst_ns and part.median_ns]


def _energy(parts: Sequence[rec.WorstCase]) -> dict[str, Any]:
    """The fields of energy, from the process whose worst input takes most; none where no window has an energy."""
    found = [
        (window, part.energy_windows[0])
        for part in parts
        for window in part.energy_windows
        if window.j_per_inference is not None
    ]
    if not found:
        return {}
    worst, typical = max(found, key=lambda pair: pair[0].j_per_inference or 0.0)
    joules, median_j = worst.j_per_inference or 0.0, typical.j_per_inference
    return {
        "by": ["latency", "energy"],
        "energy_j": joules,
        "energy_uncertainty_j": worst.uncertainty_j,
        "energy_median_j": median_j,
        "energy_amplification": joules / median_j if median_j else None,
        "energy_seed": worst.seed,
        "energy_kind": worst.kind,
    }
