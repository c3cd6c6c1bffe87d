"""Replicates that the machine spoilt, or that look as no honest one does: measured once more, and kept
as evidence.

A replicate is disturbed where nothing but the machine's state makes it invalid: it throttled, a setting
changed, the worker was stopped. It is in doubt where times alone speak against it: the same must be seen in
fresh processes before it is held against the backend. Either is run again, up to a limit per cell. Its
re-run names it (`rerun_of`), also in the journal; once a later one in that chain is sound, it is
superseded, and no longer judges the cell. So is one that lost its core for far longer than the others of its
cell, where the re-run did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

from edgebench.record import Reason, Replicate
from edgebench.words.reason_words import reason

#: How reasons begin that come from the machine's state (`device_thermal_throttle`, ...).
STATE_PREFIX = "device_"
#: Of reasons by which the budget cut a pass.
QUALITY_CUT = "quality_cut"
SCALING_CUT = "scaling_cut"
#: What is no fault of the replicate's own: what a machine that slows down brings about, what a budget cut.
_CONSEQUENCES = frozenset({"rate_not_sustained", QUALITY_CUT, SCALING_CUT})
#: Reasons that rest on times of one process.
DOUBTS = frozenset({"outputs_deferred", "clock_disagrees"})
#: Without a core for at least this share of its window, and for this many times what the others of its
#: cell were: a machine that is always that busy would be so the next time.
MIN_LOST_SHARE = 0.5
MIN_LOST_RATIO = 3


def disturbed(replicate: Replicate) -> bool:
    """Invalid for what need not come again: the machine's state, or a doubt that times alone raise."""
    codes = {reason.code for reason in replicate.reasons}
    passing = {code for code in codes if code.startswith(STATE_PREFIX) or code in DOUBTS}
    return replicate.status == "invalid" and bool(passing) and codes - passing <= _CONSEQUENCES


def lost_share(replicate: Replicate) -> float:
    """The share of the window in which its thread was ready to run but had no core."""
    counted = replicate.accounts
    if counted is None or counted.waited_ns is None or counted.wall_ns <= 0:
        return 0.0
    return counted.waited_ns / counted.wall_ns


def outlying(replicates: Sequence[Replicate]) -> list[Replicate]:
    """Sound replicates that lost their core for far longer than the others of their cell."""
    sound = [replicate for replicate in replicates if replicate.status == "ok"]
    shares = [lost_share(replicate) for replicate in sound]
    return [
        replicate
        for place, (replicate, share) in enumerate(zip(sound, shares, strict=True))
        if share > MIN_LOST_SHARE
        and (others := shares[:place] + shares[place + 1 :])
        and share > MIN_LOST_RATIO * median(others)
    ]


def due(replicates: Sequence[Replicate], limit: int) -> int | None:
    """Index of the replicate that is to be run again next; None: none is, or `limit` is reached."""
    rerun = {replicate.rerun_of for replicate in replicates}
    doubtful = [*filter(disturbed, replicates), *outlying(replicates)]
    waiting = sorted(replicate.index for replicate in doubtful if replicate.index not in rerun)
    used = sum(replicate.rerun_of is not None for replicate in replicates)
    return waiting[0] if waiting and used < limit else None


def marked(replicates: Sequence[Replicate]) -> list[Replicate]:
    """The replicates, with `superseded_by` on those whose re-run, or a re-run of it, is sound; one that
    was sound but for the core it lost says so."""
    by = _superseded(replicates)
    return [
        msgspec.structs.replace(
            replicate,
            status="invalid",
            reasons=[*replicate.reasons, *_descheduled(replicate)],
            superseded_by=by[replicate.index],
        )
        if replicate.index in by
        else replicate
        for replicate in replicates
    ]


def _descheduled(replicate: Replicate) -> list[Reason]:
    """Of one that a re-run replaced: what was wrong where it has no other fault."""
    if replicate.status != "ok":
        return []
    return [reason(f"{STATE_PREFIX}descheduled", share=lost_share(replicate))]


def valid_replicates(replicates: Sequence[Replicate]) -> list[Replicate]:
    """The replicates that judge the cell, because no re-run replaced them."""
    by = _superseded(replicates)
    return [replicate for replicate in replicates if replicate.index not in by]


def _superseded(replicates: Sequence[Replicate]) -> dict[int, int]:
    """Index of a spoilt replicate -> index of the sound one that took its place."""
    superseded: dict[int, int] = {}
    late = {replicate.index for replicate in outlying(replicates)}
    for replicate in reversed(replicates):  # a re-run comes after what it is run for
        if replicate.rerun_of is None:
            continue
        if replicate.status == "ok" and replicate.index not in late:
            superseded[replicate.rerun_of] = replicate.index
        elif replicate.index in superseded:
            superseded[replicate.rerun_of] = superseded[replicate.index]
    return superseded


def exhausted(replicates: Sequence[Replicate], limit: int) -> bool:
    """Whether a disturbed replicate stands and may not be run again."""
    left = any(disturbed(replicate) for replicate in valid_replicates(replicates))
    return left and due(replicates, limit) is None
