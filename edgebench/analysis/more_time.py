"""Estimates what one more minute of measurement would decide in a group with undecided rows."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench import stats
from edgebench.analysis.frame import Indices, Numbers
from edgebench.analysis.front_probability import SignedObjective, front_probability
from edgebench.analysis.frontier import UNDECIDED, Competition, Frontier
from edgebench.record import Part
from edgebench.words import note_words

MINUTE_S = 60.0
_MAX_ROWS = 256  # rows of a group that is looked into
_DRAWS = 1000


class MoreTime(Part, frozen=True, kw_only=True):
    """More replicates for the undecided rows and the rows that may dominate them, in turns."""

    undecided: int  # rows
    measured: int = 0  # rows that would get more replicates
    replicates: int = 0  # more of them, each
    #: What that takes; above 60 where a minute is not enough for one each.
    seconds: float | None = None
    half_width: float | None = None  # of the intervals afterwards, relative to now (the median row)
    #: Ids of undecided rows that this would decide, if the values stay.
    would_decide: list[str] = msgspec.field(default_factory=list)
    reason: str = ""  # why the rest is None


def one_more_minute(result: Frontier, competition: Competition, places: Indices) -> MoreTime | None:
    """None where no row of the group (at `places` in the competition) is undecided.

    The standard error s/sqrt(n) becomes s/sqrt(n + m) with n + m - 1 degrees of freedom, and the
    front is drawn again around the same values. The largest peak of memory and a meter's error stay.
    """
    undecided = places[competition.verdict[places] == UNDECIDED]
    if not len(undecided):
        return None
    columns = [
        SignedObjective(column.of.take(places), column.sign) for column in competition.columns
    ]
    unknown = np.isnan(np.stack([column.of.error for column in columns])).any()
    seconds = result.frame.numbers("replicate_wall_s")[competition.members[places]]
    if len(places) > _MAX_ROWS:
        return MoreTime(undecided=len(undecided), reason=note_words.MANY_ROWS)
    if unknown:
        return MoreTime(undecided=len(undecided), reason=note_words.ONE_REPLICATE)
    open_ = competition.verdict[places] == UNDECIDED
    measured = open_ | _rivals(columns, open_, result.confidence)
    if np.isnan(seconds[measured]).any():
        return MoreTime(undecided=len(undecided), reason=note_words.NO_DURATION)
    once = float(seconds[measured].sum())
    more = max(int(MINUTE_S // once), 1)
    then = [_after(column, measured, more) for column in columns]
    if all(new is old for new, old in zip(then, columns, strict=True)):
        return MoreTime(undecided=len(undecided), reason=note_words.NOTHING_NARROWS)
    odds = front_probability(
        then,
        np.zeros(len(places), dtype=np.intp),
        competition.keys[places],
        result.seed,
        _DRAWS,
        result.confidence,
    )
    decided = open_ & ((odds.share >= result.confidence) | odds.beaten)
    return MoreTime(
        undecided=len(undecided),
        measured=int(measured.sum()),
        replicates=more,
        seconds=more * once,
        half_width=_shrinkage(columns, then, measured),
        would_decide=[
            result.frame.identity(int(competition.members[place])).id for place in places[decided]
        ],
    )


def _rivals(
    columns: list[SignedObjective], open_: NDArray[np.bool_], confidence: float
) -> NDArray[np.bool_]:
    """Rows whose intervals leave open that they dominate an undecided row."""
    low, high = _bounds(columns, confidence)
    flags = np.zeros(len(open_), dtype=bool)
    for place in np.flatnonzero(open_):
        possible = (low <= high[place]).all(axis=1)
        possible[place] = False
        flags |= possible
    return flags


def _bounds(columns: list[SignedObjective], confidence: float) -> tuple[Numbers, Numbers]:
    ends = [column.of.bounds(confidence) for column in columns]
    turned = [
        (low, high) if column.sign > 0 else (-high, -low)
        for column, (low, high) in zip(columns, ends, strict=True)
    ]
    return np.stack([low for low, _ in turned], axis=1), np.stack([h for _, h in turned], axis=1)


def _after(column: SignedObjective, measured: NDArray[np.bool_], more: int) -> SignedObjective:
    """The column with that many more replicates of the measured rows: as it is, where its error is not
    that of a mean over replicates."""
    of = column.of
    if not of.metric.low_path:
        return column
    count = of.degrees + 1
    shrunk = np.where(measured, np.sqrt(count / (count + more)), 1.0)
    added = np.where(measured & (of.error > 0), more, 0)
    blocks = of.blocks
    if blocks is not None:
        blocks = replace(
            blocks,
            error=blocks.error * shrunk,
            degrees=blocks.degrees + added,
            common=blocks.common * shrunk,
        )
    after = replace(of, error=of.error * shrunk, degrees=of.degrees + added, blocks=blocks)
    return SignedObjective(after, column.sign)


def _shrinkage(
    before: list[SignedObjective], after: list[SignedObjective], measured: NDArray[np.bool_]
) -> float | None:
    ratios = []
    for old, new in zip(before, after, strict=True):
        if new is old:
            continue
        for place in np.flatnonzero(measured & (old.of.error > 0)):
            now = stats.t_quantile(0.975, int(old.of.degrees[place])) * old.of.error[place]
            then = stats.t_quantile(0.975, int(new.of.degrees[place])) * new.of.error[place]
            ratios.append(then / now)
    return float(np.median(ratios)) if ratios else None
