"""Holds what the steps of a replicate, of a decoder's and of an arm have in common, and their checks need too."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import TypeVar

from edgebench.backend import Session
from edgebench.generation import GenerationSession
from edgebench.measure.worker_messages import Job
from edgebench.probes import process_memory
from edgebench.record import Memory

T = TypeVar("T")

#: A never-seen input slower than this, beyond chance, is a sign of a cache.
CACHING_RATIO = 1.5
CACHING_PAIRS = 0.9


def precision_of(job: Job) -> str:
    """Returns what parity is judged by: a file in a runtime's own format may be of any precision."""
    return "unknown" if job.precision_unknown else job.precision


def timed(action: Callable[[], T]) -> tuple[T, int]:
    start = time.perf_counter_ns()
    result = action()
    return result, time.perf_counter_ns() - start


def looks_cached(pool_ns: list[int], unseen_ns: list[int], typical_ns: int) -> bool:
    """Whether never-seen inputs were slower in nearly every pair, and by far.

    `typical_ns` guards the other way round: a cache that lies about the pool may also be slow on it.
    """
    slower = sum(b > CACHING_RATIO * a for a, b in zip(pool_ns, unseen_ns, strict=True))
    reference = min(median(pool_ns), typical_ns)
    return slower >= CACHING_PAIRS * len(pool_ns) and median(unseen_ns) > CACHING_RATIO * reference


def peak_of(session: Session | GenerationSession, job: Job) -> Memory:
    """Peak of the process and, where the session uses one, of the device: together, or unknown; and what the
    process holds now."""
    peak_bytes, peak_source = process_memory.peak_rss()
    resident = process_memory.resident()
    device_bytes, device_source = session.device_memory()
    if device_source and device_bytes is None:
        peak_bytes, peak_source = None, device_source
    elif device_bytes is not None and peak_bytes is not None:
        peak_bytes, peak_source = peak_bytes + device_bytes, f"{peak_source} + {device_source}"
    return Memory(
        peak_bytes=peak_bytes,
        peak_source=peak_source,
        anonymous_bytes=resident.anonymous,
        file_bytes=resident.file_backed,
        pss_bytes=resident.proportional,
        device_peak_bytes=device_bytes,
        device_source=device_source,
        budget_bytes=job.memory_budget_bytes,
        budget_by=job.memory_budget_by,
    )
