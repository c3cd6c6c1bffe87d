"""Whether the processes of a cell show that its backend answers from a cache or before its work is done; and
how one tells that began to cheat late."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgebench.record import Replicate
from edgebench.words.reason_words import reason

#: A replicate that looks so and is this many times as fast as those that do not was cheated in.
MIN_SPEEDUP = 1.5
CACHING = reason("caching")
DEFERRED = reason("outputs_deferred")


def caches(replicates: Sequence[Replicate]) -> bool | None:
    """True where at least half of the replicates answer never-seen inputs slower, or where those that do
    are far faster than the others: a backend may begin to cheat late. One replicate alone may have met a
    busy moment, which makes nothing faster. None where nobody looked.
    """
    looked = [(r, r.unseen.caching) for r in replicates if r.unseen is not None]
    if not looked:
        return None
    cached = [replicate for replicate, caching in looked if caching]
    honest = [replicate for replicate, caching in looked if not caching]
    return len(cached) >= len(honest) or far_faster(cached, honest)


def far_faster(doubted: Sequence[Replicate], others: Sequence[Replicate]) -> bool:
    """Whether one of the doubted replicates is far faster than all others, of which there is one at least."""
    if not doubted:  # hardly ever is any
        return False
    least_ns = min(map(_typical_ns, others))
    return any(MIN_SPEEDUP * _typical_ns(replicate) < least_ns for replicate in doubted)


def _typical_ns(replicate: Replicate) -> float:
    return median(replicate.samples_ns) if replicate.samples_ns else float("inf")
