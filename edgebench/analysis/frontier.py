"""Decides which rows are on the Pareto front: for sure, not at all, or undecided.

The one engine of fronts: `edgebench frontier`, the trade-off table, reports and exports ask here. A row
is on the front of a draw if no other row of its group dominates it there; its probability is the share of
such draws (`front_probability.py`). It is `yes` from the confidence on, and `no` where one particular row
dominates it for sure: of thirty equal rows each is rarely on the front, and yet none of them is beaten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.defaults import DRAWS, SURE
from edgebench.analysis.frame import GROUP_COLUMNS, Codes, Frame, Indices, Numbers
from edgebench.analysis.front_probability import SignedObjective, front_probability
from edgebench.analysis.objectives import Demands, Objective, default_demands
from edgebench.analysis.uncertainty import MEMORY_RESOLUTION, Uncertain, quantized, uncertain
from edgebench.errors import UsageError

Across = Literal["devices"]
Verdict = Literal["yes", "no", "undecided"]
VERDICTS: Final[tuple[Verdict, ...]] = ("no", "undecided", "yes")
NO, UNDECIDED, YES = range(3)

#: Why a row does not compete; from OBJECTIVE on, the number of the objective it lacks.
COMPETES, UNRANKED, MODELLED, OBJECTIVE = 0, 1, 2, 3
_TOO_MANY = 20_000  # rows of a group of which some have no interval, compared each with each


@dataclass(frozen=True)
class Competition:
    """Rows that compete by the same objectives, in groups."""

    objectives: list[Objective]
    stated: list[Uncertain]  # their values
    columns: list[SignedObjective]  # the same, made comparable
    members: Indices  # rows of the frame that compete
    groups: Codes  # of the members
    verdict: NDArray[np.int8]  # index in VERDICTS
    probability: Numbers  # NaN where rows without an interval leave it open
    by_value: NDArray[np.bool_]
    draws: Indices
    keys: NDArray[np.uint64]
    omitted: dict[str, str]  # usual objectives that are none here, and why


def all_by_value(competition: Competition, places: Indices) -> bool:
    """Whether no row of a group has an interval of its speed: then the values are all there is."""
    return bool(np.isnan(competition.stated[0].error[places]).all())


@dataclass(frozen=True)
class Frontier:
    frame: Frame
    competitions: list[Competition]
    left_out: NDArray[np.int16]  # per row: COMPETES or why it does not
    objective_of: list[Objective]  # left_out - OBJECTIVE -> objective
    confidence: float
    seed: int
    across: tuple[Across, ...] = ()


def frontier(
    frame: Frame,
    objectives: Sequence[Objective] | None = None,
    *,
    confidence: float = SURE,
    seed: int = 0,
    draws: int = DRAWS,
    across: Sequence[Across] = (),
) -> Frontier:
    """The fronts of a frame; without objectives, by speed, quality, memory and energy.

    Rows compete within one device (unless `across` says "devices"), workload, version, scenario and
    rate, and where energy or quality is an objective, one kind and scope of it, or metric.
    """
    result = unranked(frame, confidence, seed, across)
    for demands in _demands(frame, objectives, across):
        leave_out(result, demands.rows, demands.objectives)
        members = np.flatnonzero(demands.rows & (result.left_out == COMPETES))
        if len(members):
            result.competitions.append(_competition(result, members, demands, draws))
    return result


def unranked(frame: Frame, confidence: float, seed: int, across: Sequence[Across]) -> Frontier:
    """No front yet, and rows that are not ranked left out. Raises UsageError."""
    if not 0.5 < confidence < 1:
        raise UsageError(f"--confidence {confidence:g} is not between 0.5 and 1", "try 0.95")
    left_out = np.zeros(len(frame), dtype=np.int16)
    left_out[frame.numbers("ranked") != 1] = UNRANKED
    return Frontier(frame, [], left_out, [], confidence, seed, tuple(across))


def _demands(
    frame: Frame, objectives: Sequence[Objective] | None, across: Sequence[Across]
) -> list[Demands]:
    """All rows by the objectives given; by default each group by its own."""
    if objectives:
        return [Demands(np.ones(len(frame), dtype=bool), list(objectives), {})]
    return default_demands(frame, group_columns([], across))


def leave_out(result: Frontier, some: NDArray[np.bool_], objectives: list[Objective]) -> None:
    """Marks rows that lack an objective: unknown is never taken as 0."""
    frame, left_out = result.frame, result.left_out
    for objective in objectives:
        number = OBJECTIVE + len(result.objective_of)
        result.objective_of.append(objective)
        competing = some & (left_out == COMPETES)
        value = uncertain(frame, objective.metric).value
        left_out[competing & np.isnan(value)] = number
        if objective.metric.of_energy:
            left_out[competing & frame.energy_is_modelled()] = MODELLED


def group_columns(objectives: Sequence[Objective], across: Sequence[Across]) -> list[str]:
    """Returns what rows that compete have in common."""
    columns = list(GROUP_COLUMNS)
    if "devices" in across:
        columns.remove("device")
    if any(objective.metric.of_energy for objective in objectives):
        columns += ["energy.kind", "energy.scope"]
    if any(objective.metric.name.startswith("quality") for objective in objectives):
        columns += ["quality.metric", "quality.better"]
    return columns


def _competition(result: Frontier, members: Indices, demands: Demands, draws: int) -> Competition:
    frame, objectives = result.frame, demands.objectives
    columns = group_columns(objectives, result.across)
    grouped = frame.grouped(columns)
    used, codes = np.unique(grouped.codes[members], return_inverse=True)
    groups = Codes(
        codes.reshape(-1), [dict(zip(columns, grouped.names[i], strict=True)) for i in used]
    )
    stated = [uncertain(frame, objective.metric).take(members) for objective in objectives]
    turned = [
        _signed(objective, _shared(column, groups.codes), groups)
        for objective, column in zip(objectives, stated, strict=True)
    ]
    keys = frame.keys()[members]
    judged = _judge(turned, groups.codes, keys, result, draws)
    return Competition(objectives, stated, turned, members, groups, *judged, keys, demands.omitted)


def _signed(objective: Objective, column: Uncertain, groups: Codes) -> SignedObjective:
    if objective.metric.name == "memory.peak":
        column = _quantized(column, groups.codes)
    betters = {names.get("quality.better") for names in groups.names}
    if objective.better is None and objective.asked == "lower" and "higher" in betters:
        raise UsageError(
            f"--objective {objective.metric.name}:min would look for the lowest quality",
            f"higher values of this quality are better: {objective.metric.name}:max",
        )
    if objective.better is not None or len(betters) == 1:
        return SignedObjective(column, objective.sign(next(iter(betters), None)))
    # Some groups are judged by an error and others by a score: turn all into "lower is better".
    signs = np.array([objective.sign(names.get("quality.better")) for names in groups.names])
    return SignedObjective(column.signed(signs[groups.codes]), 1.0)


def _shared(column: Uncertain, groups: Indices) -> Uncertain:
    """Leaves out what all rows of every group have in common, if each group is a single block."""
    blocks = column.blocks
    if blocks is None:
        return column
    pairs = np.unique(np.stack([groups.astype(np.uint64), blocks.key]), axis=1)
    if pairs.shape[1] > len(np.unique(groups)) or (blocks.key == 0).any():
        return column
    return replace(column, blocks=replace(blocks, common=np.zeros(len(groups))))


def _quantized(column: Uncertain, groups: Indices) -> Uncertain:
    """Peaks of a group that differ by less than what counts as a difference, as equal."""
    value = column.value.copy()
    exact = np.flatnonzero(column.error == 0)
    order = exact[np.argsort(groups[exact], kind="stable")]
    starts = np.flatnonzero(np.concatenate([[True], np.diff(groups[order]) != 0]))
    for same in np.split(order, starts[1:]) if len(order) else []:
        value[same] = quantized(value[same], MEMORY_RESOLUTION)
    return replace(column, value=value)


def _judge(
    columns: list[SignedObjective],
    groups: Indices,
    keys: NDArray[np.uint64],
    result: Frontier,
    draws: int,
) -> tuple[NDArray[np.int8], Numbers, NDArray[np.bool_], Indices]:
    """Verdict, probability, by value, and draws of each row.

    Nothing tells how far a value without an interval is off. A row that has such a value is not
    drawn: it may be on the front, and whatever it may dominate is not on the front for sure.
    """
    unsure = np.asarray(np.isnan(np.stack([c.of.error for c in columns])).any(axis=0))
    limit = result.confidence
    odds = front_probability(
        columns, groups, keys, result.seed, 0 if unsure.any() else draws, limit
    )
    share, by_value, drawn, beaten = odds.share, odds.by_value, odds.draws, odds.beaten
    if unsure.any():
        sure = np.flatnonzero(~unsure)
        of_sure = [replace(column, of=column.of.take(sure)) for column in columns]
        odds = front_probability(of_sure, groups[sure], keys[sure], result.seed, draws, limit)
        share, drawn = np.ones(len(groups)), np.zeros(len(groups), dtype=np.intp)
        beaten = np.zeros(len(groups), dtype=bool)
        share[sure], drawn[sure], beaten[sure] = odds.share, odds.draws, odds.beaten
    threatened = _threatened(columns, groups, unsure)
    verdict = np.full(len(groups), UNDECIDED, dtype=np.int8)
    verdict[(share >= result.confidence) & ~threatened] = YES
    verdict[beaten] = NO
    probability = np.where(threatened & (share > 0), np.nan, share)
    return verdict, probability, by_value, drawn


def _threatened(
    columns: list[SignedObjective], groups: Indices, unsure: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Rows that a row may dominate where one of the two has a value without an interval.

    Only an objective that is exact for a whole group can exclude that.
    """
    flags = np.zeros(len(groups), dtype=bool)
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups)
    ends = np.cumsum(sizes)
    for group in np.unique(groups[unsure]):
        members = order[ends[group] - sizes[group] : ends[group]]
        exact = [
            column.values[members] for column in columns if (column.of.error[members] == 0).all()
        ]
        if not exact or len(members) > _TOO_MANY:
            flags[members] = len(members) > 1
            continue
        points = np.stack(exact, axis=1)
        open_ = unsure[members]
        for place in range(len(members)):
            rivals = (points <= points[place]).all(axis=1)
            rivals[place] = False
            flags[members[place]] = bool((rivals & (open_ | open_[place])).any())
    return flags
