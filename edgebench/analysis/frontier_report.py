"""Fronts as typed objects, `edgebench.frontier/1`: what JSON, text and pages are made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np

from edgebench import stats
from edgebench.analysis.dominance import dominates, hypervolume, knee
from edgebench.analysis.frame import Frame, Indices
from edgebench.analysis.frontier import (
    COMPETES,
    MODELLED,
    OBJECTIVE,
    UNRANKED,
    VERDICTS,
    Competition,
    Frontier,
    Verdict,
    all_by_value,
)
from edgebench.analysis.more_time import MoreTime, one_more_minute
from edgebench.analysis.objectives import Objective
from edgebench.analysis.table_types import Competitors
from edgebench.analysis.uncertainty import known
from edgebench.backend import Scalar
from edgebench.metrics import Better
from edgebench.record import Part
from edgebench.words import note_words, unknown_words

SCHEMA: Final = "edgebench.frontier/1"
_MINUTES = 200  # groups whose next minute is looked into


class Value(Part, frozen=True, kw_only=True):
    """A metric of a row in its unit, with its 95 % interval."""

    value: float
    low: float | None = None  # None: nothing tells how far the value may be off
    high: float | None = None


def value_of(value: float, low: float, high: float) -> Value:
    """A known value, and the ends of its interval, which may be NaN."""
    return Value(value=float(value), low=known(low), high=known(high))


class Axis(Part, frozen=True, kw_only=True):
    metric: str
    unit: str
    better: Literal["lower", "higher"]


def axis_of(objective: Objective, better: Better | None) -> Axis:
    """`better` is that of the rows' quality."""
    metric, lower = objective.metric, objective.sign(better) > 0
    return Axis(metric=metric.name, unit=metric.unit, better="lower" if lower else "higher")


class FrontRow(Part, frozen=True, kw_only=True):
    id: str
    device: str
    run: str
    group: int  # index in `groups`
    row: int  # place among all rows that were read
    variant: dict[str, Scalar]
    front: Verdict
    probability: float | None  # None: rows without an interval leave it open
    by_value: bool  # on the front of the values as they stand
    values: dict[str, Value]
    dominated_by: str | None = None  # id of a row of the front by value that dominates this one's
    dominated_by_run: str | None = None
    dominated_by_device: str | None = None


class NotRanked(Part, frozen=True, kw_only=True):
    id: str
    device: str
    run: str
    row: int
    workload: str
    scenario: str
    code: Literal["not_ranked", "modelled", "unknown"]
    reason: str


class Volume(Part, frozen=True, kw_only=True):
    """Share of the box between the best of each objective and the reference that the front by value
    dominates."""

    share: float | None
    reference: dict[str, float]  # worst value of each objective, and a tenth of the range beyond
    reason: str = ""


class Group(Competitors, frozen=True, kw_only=True):
    objectives: list[Axis]
    energy: str = ""  # kind and scope, where energy is an objective
    rows: int
    counts: dict[str, int]  # verdict -> rows
    on_it_by_value: int  # rows
    by_value: bool  # no row has an interval: the front of the values as they stand is all there is
    draws: int
    hypervolume: Volume
    knee: str | None  # id of the row by value closest to the ideal
    knee_row: int | None
    more_time: MoreTime | None  # what one more minute would decide; None: nothing is undecided
    notes: list[str]


class FrontierReport(Part, frozen=True, kw_only=True):
    schema: Literal["edgebench.frontier/1"] = SCHEMA
    confidence: float  # of what is said to be sure; intervals are at 95 %
    seed: int
    rows: list[FrontRow]
    groups: list[Group]
    left_out: list[NotRanked]
    notes: list[str]


def report(result: Frontier) -> FrontierReport:
    """The whole result; of a million rows, a million objects."""
    groups: list[Group] = []
    rows: list[FrontRow] = []
    base = 0
    for competition in result.competitions:
        for group, places in enumerate(members_of(competition)):
            groups.append(group_of(result, competition, group, places, base + group < _MINUTES))
        for group, places in enumerate(members_of(competition)):
            rows += front_rows(result, competition, group, places, places, base)
        base += len(competition.groups.names)
    rows.sort(key=lambda row: row.row)
    return FrontierReport(
        confidence=result.confidence,
        seed=result.seed,
        rows=rows,
        groups=groups,
        left_out=left_out(result),
        notes=[],
    )


def members_of(competition: Competition) -> list[Indices]:
    """Returns for each group the places of its rows in the competition."""
    order = np.argsort(competition.groups.codes, kind="stable")
    ends = np.cumsum(np.bincount(competition.groups.codes))
    return np.split(order, ends[:-1])


def front_rows(
    result: Frontier,
    competition: Competition,
    group: int,
    places: Indices,
    wanted: Indices | Sequence[int],
    base: int = 0,
) -> Iterator[FrontRow]:
    """The wanted ones of the rows of a group; `places` are all of them."""
    points = np.stack([column.values for column in competition.columns], axis=1)
    front = places[competition.by_value[places]]
    names = [objective.metric.name for objective in competition.objectives]
    frame = result.frame
    stated = [column.take(wanted) for column in competition.stated]
    bounds = [column.bounds(stats.CONFIDENCE) for column in stated]
    for number, place in enumerate(wanted):
        member = int(competition.members[place])
        identity = frame.identity(member)
        beaten = None
        if not competition.by_value[place]:
            by = front[dominates(points[front], points[place])]
            beaten = frame.identity(int(competition.members[by[0]])) if len(by) else None
        yield FrontRow(
            id=identity.id,
            device=identity.device,
            run=identity.run,
            group=base + group,
            row=member,
            variant=identity.variant,
            front=VERDICTS[competition.verdict[place]],
            probability=known(competition.probability[place]),
            by_value=bool(competition.by_value[place]),
            values={
                name: value_of(column.value[number], low[number], high[number])
                for name, column, (low, high) in zip(names, stated, bounds, strict=True)
            },
            dominated_by=beaten.id if beaten else None,
            dominated_by_run=beaten.run if beaten else None,
            dominated_by_device=beaten.device if beaten else None,
        )


def shared(names: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of `Competitors`, of the names that a competition gives its groups."""
    fields = {name: names[name] for name in Competitors.__struct_fields__ if name != "device"}
    return {
        "device": names.get("device"),
        **fields,
        "workload_version": int(names["workload_version"]),
    }


def group_of(
    result: Frontier, competition: Competition, group: int, places: Indices, look_ahead: bool = True
) -> Group:
    """Returns what is known of a group as a whole."""
    names: dict[str, Any] = competition.groups.names[group]
    points = np.stack([column.values[places] for column in competition.columns], axis=1)
    front = np.flatnonzero(competition.by_value[places])
    nearest = int(competition.members[places[front[knee(points[front])]]])
    counted = np.bincount(competition.verdict[places], minlength=len(VERDICTS))
    better = names.get("quality.better")
    energy = [names.get("energy.kind"), names.get("energy.scope")]
    return Group(
        **shared(names),
        objectives=[axis_of(objective, better) for objective in competition.objectives],
        energy=", ".join(word for word in energy if word),
        rows=len(places),
        counts={name: int(counted[code]) for code, name in enumerate(VERDICTS)},
        on_it_by_value=int(competition.by_value[places].sum()),
        by_value=all_by_value(competition, places),
        draws=int(competition.draws[places].max()),
        hypervolume=_volume(competition, points, better),
        knee=result.frame.identity(nearest).id,
        knee_row=nearest,
        more_time=one_more_minute(result, competition, places) if look_ahead else None,
        notes=_notes(result, competition, places, better),
    )


def _volume(competition: Competition, points: Any, better: Any) -> Volume:
    best, worst = points.min(axis=0), points.max(axis=0)
    span = worst - best
    reference = worst + span / 10
    signs = [objective.sign(better) for objective in competition.objectives]
    named = {
        objective.metric.name: sign * float(end)
        for objective, sign, end in zip(competition.objectives, signs, reference, strict=True)
    }
    differing = span > 0
    if not differing.any():
        return Volume(share=None, reference=named, reason=note_words.SAME_VALUES)
    scaled = (points - best)[:, differing] / span[differing]
    volume = hypervolume(scaled, np.full(scaled.shape[1], 1.1))
    if volume is None:
        return Volume(share=None, reference=named, reason=note_words.NEEDS_MOOCORE)
    return Volume(share=volume / 1.1 ** scaled.shape[1], reference=named)


def _notes(result: Frontier, competition: Competition, places: Indices, better: Any) -> list[str]:
    frame, members = result.frame, competition.members[places]
    notes = []
    if better == "lower" and any(o.asked == "higher" for o in competition.objectives):
        metric = frame.text("quality.metric", int(members[0]))
        notes.append(note_words.lower_is_better(metric=str(metric)))
    notes += [
        note_words.no_objective(metric=name, why=why) for name, why in competition.omitted.items()
    ]
    return notes + shared_notes(frame, members, across="devices" in result.across)


def shared_notes(frame: Frame, members: Indices, across: bool) -> list[str]:
    """Returns what to know of rows that compete, whatever they compete by."""
    notes = []
    runs = frame.codes("run").codes[members]
    if len(np.unique(runs)) > 1 and not across:
        notes.append(note_words.RUNS_COMPETE)
    inputs = frame.codes("inputs_sha256")
    hashes = {inputs.names[code] for code in np.unique(inputs.codes[members])} - {None, ""}
    if len(hashes) > 1:
        notes.append(note_words.other_inputs(hashes=len(hashes)))
    return notes


def left_out(result: Frontier) -> list[NotRanked]:
    return [not_ranked(result, int(row)) for row in np.flatnonzero(result.left_out != COMPETES)]


def not_ranked(result: Frontier, row: int) -> NotRanked:
    frame, code = result.frame, int(result.left_out[row])
    identity = frame.identity(row)
    if code == UNRANKED:
        status = str(frame.text("status", row))
        reason = note_words.state_of_row(status, frame.messages(row), unknown_words.NOT_RANKED)
    elif code == MODELLED:
        reason = note_words.ENERGY_MODELLED
    else:
        metric = result.objective_of[code - OBJECTIVE].metric
        reason = note_words.unknown_of_row(metric=metric.name, why=frame.reason(row, metric))
    return NotRanked(
        id=identity.id,
        device=identity.device,
        run=identity.run,
        row=row,
        workload=identity.workload,
        scenario=identity.scenario,
        code={UNRANKED: "not_ranked", MODELLED: "modelled"}.get(code, "unknown"),  # type: ignore[arg-type]
        reason=reason,
    )
