"""Plans how many queries each check outside of the measured window takes in a replicate.

The first replicate of a cell checks everything, at length. Later ones do not repeat what it has
established: pipeline, device's part, quality, effective facts, the digest of the inputs. Of every
check that catches a cheat they keep a share, since a backend may begin to cheat at any time.

A first replicate of slow queries establishes as much, and checks for cheats in brief: what a check looks for is a share of
a query's own time, and of slow ones that share stands out from what a machine takes away from a program. Else a model of
four seconds a query spends three minutes on checks before it has a quality.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgebench.measure.worker_messages import Job

#: A tenth of such a query, the least that is called deferred work, outlasts a time slice of another program.
MIN_SLOW_QUERY_NS = 500_000_000


@dataclass(frozen=True)
class CheckPlan:
    """The lengths of a replicate's checks."""

    steady_window: int  # iterations that the end of the warm-up compares with as many before
    completion_pairs: int  # of queries: the outputs of one of each are read twice
    held_queries: int  # whose outputs are looked at once more after a while
    unseen_counts: tuple[int, int]  # pairs of a pool input and a never-seen one: at least, at most
    fresh_prompts: int  # of a decoder, given twice in a row
    unseen_share: float  # of the slice, for those pairs
    min_checked_items: int  # whose outputs are compared
    establishes: bool  # what one replicate of a cell establishes for all

    def checked_items(self, batch: int, most: int) -> int:
        """How many of the first items are compared: whole batches, which hold the same items in every
        replicate, or `most`."""
        return min(most, max(self.min_checked_items, batch))

    def for_queries_of(self, typical_ns: int) -> CheckPlan:
        """The plan once it is known how long a query takes."""
        if typical_ns < MIN_SLOW_QUERY_NS:
            return self
        return replace(
            self,
            completion_pairs=IN_BRIEF.completion_pairs,
            held_queries=IN_BRIEF.held_queries,
            unseen_counts=IN_BRIEF.unseen_counts,
        )


AT_LENGTH = CheckPlan(
    steady_window=5,
    completion_pairs=5,
    held_queries=4,
    unseen_counts=(6, 32),
    fresh_prompts=6,
    unseen_share=0.15,
    min_checked_items=4,
    establishes=True,
)
IN_BRIEF = CheckPlan(
    steady_window=3,
    completion_pairs=3,
    held_queries=2,
    unseen_counts=(3, 8),
    fresh_prompts=3,
    unseen_share=0.05,
    min_checked_items=2,
    establishes=False,
)


def check_plan(job: Job) -> CheckPlan:
    return AT_LENGTH if job.thorough else IN_BRIEF
