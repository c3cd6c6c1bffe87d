"""Finds reasons to distrust an arm's times, by the same rules as for the rows of a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

import msgspec

from edgebench.ab_test.ab_report_types import CellCase
from edgebench.ab_test.pair_record import Pair, Side
from edgebench.analysis.per_row.answer_cache import CACHING, DEFERRED, caches
from edgebench.analysis.per_row.plausibility import (
    Claim,
    of_most,
    shown_falsely,
    stated_falsely,
    unlike_asked,
)
from edgebench.backend import computes_itself
from edgebench.record import Reason, Replicate
from edgebench.words.reason_words import reason

#: What times and counts of single processes show must be seen in so many pairs, or be in most of them: a
#: busy machine strikes no honest arm.
MIN_DOUBTED_PAIRS = 3


def fault_of(case: CellCase, pairs: Sequence[Pair], side: Side) -> Reason | None:
    """The reason why a side's times may not be compared, worded as in a run, or None."""
    if not pairs:
        return None
    reason = next(_faults(case, pairs, side), None)
    if reason is None:
        return None
    return msgspec.structs.replace(reason, message=f"{side}: {reason.message}")


def _faults(case: CellCase, pairs: Sequence[Pair], side: Side) -> Iterator[Reason]:
    # Wrong answers speak for themselves, and of their times nothing is asked.
    replicates = [
        pair.replicate(side)
        for pair in pairs
        if pair.disturbed is None and pair.arm(side).output_check.passed
    ]
    claim = _claim(case, pairs, replicates, side)
    yield from _device_untold(pairs, side)
    yield from unlike_asked(claim.variant, claim.effective)
    yield from stated_falsely(claim, replicates)
    if len(replicates) >= MIN_DOUBTED_PAIRS:
        yield from _shown(claim, replicates)


def _shown(claim: Claim, replicates: Sequence[Replicate]) -> Iterator[Reason]:
    looked = [replicate for replicate in replicates if replicate.completion is not None]
    told = (of_most(looked, claim, _deferred), of_most(replicates, claim, _clock))
    yield from (fault for fault in told if fault is not None)
    if caches(replicates):
        yield CACHING
    yield from shown_falsely(claim, replicates)


def _deferred(replicate: Replicate, claim: Claim) -> Reason | None:
    completed = replicate.completion
    return DEFERRED if completed is not None and completed.incomplete else None


def _clock(replicate: Replicate, claim: Claim) -> Reason | None:
    """Returns what the parent saw of it."""
    return next(iter(replicate.reasons), None)


def _claim(
    case: CellCase, pairs: Sequence[Pair], replicates: Sequence[Replicate], side: Side
) -> Claim:
    asked = case.asked.get(side)
    medians = [median(each.samples_ns) for each in replicates if each.samples_ns]
    return Claim(
        query_ns=median(medians) if medians else None,
        variant=asked.variant if asked else {},
        effective=next((e for pair in pairs if (e := pair.arm(side).effective)), None),
        work=asked.work if asked else None,
        machine=case.machine,
        calibration=case.calibration,
    )


def _device_untold(pairs: Sequence[Pair], side: Side) -> Iterator[Reason]:
    """Yields a fault of the gate alone, which judges CPU time where no device was told."""
    for pair in pairs:
        told = pair.arm(side).effective
        if told is not None and not pair.device and not computes_itself(told.device):
            yield reason("device_untold", device=told.device)
