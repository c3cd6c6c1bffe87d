"""Adds to rows their place on the Pareto front, and says what to deploy in each group.

Fronts and choices are those of `frontier.py` and `pick.py`, in the form that tables and pages print.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edgebench.analysis import ties
from edgebench.analysis.competition import Group, groups
from edgebench.analysis.defaults import SURE
from edgebench.analysis.frame import GROUP_COLUMNS, RowFrame
from edgebench.analysis.frontier import (
    NO,
    OBJECTIVE,
    VERDICTS,
    YES,
    Competition,
    Frontier,
    all_by_value,
)
from edgebench.analysis.frontier import frontier as find_fronts
from edgebench.analysis.frontier_report import members_of
from edgebench.analysis.pick import pick
from edgebench.analysis.pick_report import Choice
from edgebench.analysis.table_types import Front, LeftOut, Pick, Row
from edgebench.analysis.uncertainty import known
from edgebench.record import StateCheck
from edgebench.words import note_words, unknown_words


def with_decisions(
    rows: Sequence[Row],
    states: Mapping[str, Sequence[StateCheck]],
    prefer: Sequence[str] = ties.DEFAULT,
    confidence: float = SURE,
) -> tuple[list[Row], list[Front], list[Pick]]:
    """Judges all rows; fronts and picks have one entry per group, in the same order.

    `states` are the checks of the machine before each run, by the run's id.
    """
    members = groups(rows)
    frame = RowFrame(rows)
    result = find_fronts(frame, confidence=confidence)
    placed = list(rows)
    front_of: dict[Group, Front] = {}
    for competition in result.competitions:
        for group, places in _groups_of(competition):
            front_of[group] = _front(result, competition, group, places)
            for place in places:
                index = int(competition.members[place])
                placed[index] = _placed(
                    rows[index], competition, int(place), front_of[group].by_value
                )
    for index in np.flatnonzero(result.left_out >= OBJECTIVE).tolist():
        placed[index] = _undecided(rows[index], result, index)
    choices = {
        Group(*(getattr(choice, column) for column in GROUP_COLUMNS)): choice
        for choice in pick(frame, [], confidence=confidence, prefer=prefer).picks
    }
    fronts = [
        front_of.get(group) or Front(**group._asdict(), objectives=[], left_out=[], rows=[])
        for group in members
    ]
    picks = [_pick(placed, group, some, choices[group], states) for group, some in members.items()]
    return placed, fronts, picks


def _groups_of(competition: Competition) -> Iterator[tuple[Group, Any]]:
    """Each group of a competition, and the places of its rows there."""
    for names, places in zip(competition.groups.names, members_of(competition), strict=True):
        yield Group(*(names[column] for column in GROUP_COLUMNS)), places


def _front(result: Frontier, competition: Competition, group: Group, places: Any) -> Front:
    by_value = all_by_value(competition, places)
    on_it = competition.by_value[places] if by_value else competition.verdict[places] != NO
    sure = competition.verdict[places] == YES
    return Front(
        **group._asdict(),
        objectives=[objective.metric.name for objective in competition.objectives],
        left_out=[LeftOut(objective=name, reason=why) for name, why in competition.omitted.items()],
        by_value=by_value,
        rows=competition.members[places[on_it]].tolist(),
        sure=competition.members[places[sure]].tolist(),
    )


def _placed(row: Row, competition: Competition, place: int, by_value: bool) -> Row:
    verdict, probability = int(competition.verdict[place]), known(competition.probability[place])
    on_it = bool(competition.by_value[place])
    unknown = dict(row.unknown)
    for name in _PLACE:
        unknown.pop(name, None)
    if probability is None:
        unknown["front_probability"] = unknown_words.OPEN_WITHOUT_INTERVALS
    return msgspec.structs.replace(
        row,
        front=VERDICTS[verdict],
        front_probability=probability,
        front_by_value=on_it,
        pareto=on_it if by_value else verdict != NO,
        unknown=unknown,
    )


_PLACE = ("front", "front_probability", "front_by_value", "pareto")


def _undecided(row: Row, result: Frontier, index: int) -> Row:
    """A ranked row that does not tell what the others are ranked by."""
    metric = result.objective_of[int(result.left_out[index]) - OBJECTIVE].metric
    why = unknown_words.not_in_ranking(metric=metric.name)
    return msgspec.structs.replace(row, unknown=row.unknown | dict.fromkeys(_PLACE, why))


def _pick(
    rows: Sequence[Row],
    group: Group,
    members: Sequence[int],
    choice: Choice,
    states: Mapping[str, Sequence[StateCheck]],
) -> Pick:
    competing = [rows[index] for index in members]
    busy = _busy(competing, states)
    margin = choice.margin
    chosen = choice.choice
    return Pick(
        **group._asdict(),
        row=None if chosen is None else chosen.row,
        id=None if chosen is None else chosen.id,
        runner_up=None if choice.runner_up is None else choice.runner_up.row,
        clear=choice.clear and not busy,
        rivals=choice.rivals,
        probability=choice.probability,
        speedup=None if margin is None else margin.ratio,
        speedup_low=None if margin is None else margin.low,
        speedup_high=None if margin is None else margin.high,
        faster_probability=None if margin is None else margin.confidence,
        decided_by=list(choice.decided_by) if choice.tied else [choice.objective.metric],
        runs=choice.runs,
        busy=busy,
        metric=choice.objective.metric,
        compared=choice.rows,
        tied=list(choice.tied),
    )


def _busy(rows: Sequence[Row], states: Mapping[str, Sequence[StateCheck]]) -> str:
    """Why the machine was too busy to believe these rows, in words; "" where it was not.

    What happened while a row was measured counts, and what there was before its run. The load average,
    which forgets slowly, counts only where the kernel does not tell the pressure.
    """
    for row in rows:
        if row.ranked and row.busy:
            return row.busy
    for run in dict.fromkeys(row.run for row in rows if row.ranked):
        levels = {check.name: check for check in states.get(run, ())}
        told = levels.get("cpu_pressure")
        names = ("cpu_pressure",) if told is not None and told.level != "unknown" else ("load",)
        for name in names:
            if name in levels and levels[name].level in ("warn", "invalid"):
                return note_words.before_the_run(
                    what=name.replace("_", " "), evidence=levels[name].evidence
                )
    return ""
