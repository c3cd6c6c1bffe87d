"""Replicates that the machine spoilt: measured once more, and kept as evidence.

A replicate is disturbed where nothing but the machine's state makes it invalid: it throttled, or a
setting changed. It is run again, up to a limit per cell. Its re-run names it (`rerun_of`), also in the
journal; once a later one in that chain is sound, it is superseded, and no longer judges the cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgebench.record import Replicate

#: How reasons begin that come from the machine's state (`device_thermal_throttle`, ...).
STATE_PREFIX = "device_"
#: Of reasons by which the budget cut a pass.
QUALITY_CUT = "quality_cut"
SCALING_CUT = "scaling_cut"
#: What is no fault of the replicate's own: what a machine that slows down brings about, what a budget cut.
_CONSEQUENCES = frozenset({"rate_not_sustained", QUALITY_CUT, SCALING_CUT})


def disturbed(replicate: Replicate) -> bool:
    """Invalid because of the machine's state alone: its own faults would come again."""
    codes = {reason.code for reason in replicate.reasons}
    states = {code for code in codes if code.startswith(STATE_PREFIX)}
    return replicate.status == "invalid" and bool(states) and codes - states <= _CONSEQUENCES


def due(replicates: Sequence[Replicate], limit: int) -> int | None:
    """Index of the replicate that is to be run again next; None: none is, or `limit` is reached."""
    rerun = {replicate.rerun_of for replicate in replicates}
    waiting = [r.index for r in replicates if disturbed(r) and r.index not in rerun]
    used = sum(replicate.rerun_of is not None for replicate in replicates)
    return waiting[0] if waiting and used < limit else None


def marked(replicates: Sequence[Replicate]) -> list[Replicate]:
    """The replicates, with `superseded_by` on those whose re-run, or a re-run of it, is sound."""
    by = _superseded(replicates)
    return [
        msgspec.structs.replace(replicate, superseded_by=by[replicate.index])
        if replicate.index in by
        else replicate
        for replicate in replicates
    ]


def standing(replicates: Sequence[Replicate]) -> list[Replicate]:
    """Those that judge the cell: no re-run took their place."""
    by = _superseded(replicates)
    return [replicate for replicate in replicates if replicate.index not in by]


def _superseded(replicates: Sequence[Replicate]) -> dict[int, int]:
    """Index of a spoilt replicate -> index of the sound one that took its place."""
    found: dict[int, int] = {}
    for replicate in reversed(replicates):  # a re-run comes after what it is run for
        if replicate.rerun_of is None:
            continue
        if replicate.status == "ok":
            found[replicate.rerun_of] = replicate.index
        elif replicate.index in found:
            found[replicate.rerun_of] = found[replicate.index]
    return found


def exhausted(replicates: Sequence[Replicate], limit: int) -> bool:
    """Whether a disturbed replicate stands and may not be run again."""
    left = any(disturbed(replicate) for replicate in standing(replicates))
    return left and due(replicates, limit) is None
