"""Picks for a terminal: the choice first, then the margin, the doubts, and what was left out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.pick_report import Candidate, Choice, Held, PickReport, Relaxation
from edgebench.render.console import BAD, DEPLOY, QUIET, TITLE, WARN, paint
from edgebench.render.left_out import left_out
from edgebench.render.number_format import change, quantity, with_width
from edgebench.render.wrapping import Line, listed, wrapped
from edgebench.text.plain_text import plain
from edgebench.units import format_probability, format_times

_PICKS = 40
_NAMES = 4


def render(report: PickReport, out: TextIO) -> None:
    """Writes a paragraph per group; JSON has everything."""
    paint(lambda width: _lines(report, width), out)


def _lines(report: PickReport, width: int) -> Iterator[Line]:
    if not report.picks:
        yield "nothing to pick from: no rows", BAD
        return
    if len(report.picks) > 1:
        chosen = sum(pick.choice is not None for pick in report.picks)
        surely = sum(pick.choice is not None and pick.choice.sure for pick in report.picks)
        summary = f"{chosen} of {len(report.picks)} picks meet the limits, {surely} of them surely"
        yield from wrapped(f"{summary} ({report.confidence * 100:g}%)", width, TITLE)
        yield "", None
    notes: dict[str, None] = {}
    for pick in report.picks[:_PICKS]:
        notes.update(dict.fromkeys(pick.notes))
        yield from _paragraph(report, pick, width)
        yield "", None
    if len(report.picks) > _PICKS:
        yield f"{len(report.picks) - _PICKS} more: --format json, or name a --workload", QUIET
    yield from left_out([out for pick in report.picks for out in pick.left_out], width)
    for note in notes:
        yield from wrapped(plain(note), width, QUIET)


def _paragraph(report: PickReport, pick: Choice, width: int) -> Iterator[Line]:
    where = plain(f"{pick.workload}@{pick.workload_version} {pick.scenario}")
    if pick.choice is None:
        yield from wrapped(f"{where}: nothing meets the limits", width, BAD)
        yield from _nothing(pick, width)
        return
    names = _names(pick)
    choice = pick.choice
    words = f"{where}: deploy {_full(choice)}{_doubt(choice)}"
    yield from wrapped(words, width, DEPLOY)
    yield from wrapped(f"{_objective(pick, choice)}; {_limits(choice)}", width, None, "  ")
    yield from wrapped(_runner_up(pick, names), width, None, "  ")
    if pick.safe_choice is not None:
        safe = pick.safe_choice
        words = (
            f"safe choice: {names[safe.row]}, {_objective(pick, safe)}: meets every limit surely"
        )
        yield from wrapped(words, width, WARN, "  ")
    if pick.not_surely:
        doubts = [f"{names[each.row]} ({_weakest(each)})" for each in pick.not_surely]
        words = "meet the limits by value, not surely: " + listed(doubts, _NAMES)
        yield from wrapped(words, width, WARN, "  ")
    rest = f"{pick.meet} of {pick.rows} rows meet the limits, {pick.surely_meet} surely"
    where = " · ".join(word for word in (pick.device or "several devices", rest) if word)
    yield from wrapped(plain(where), width, QUIET, "  ")


def _names(pick: Choice) -> dict[int, str]:
    """Short ones, with the backend."""
    shown = [pick.choice, pick.runner_up, pick.safe_choice, *pick.not_surely]
    rows = {each.row: each for each in shown if each is not None}
    return {
        row: plain(name if name.startswith(each.backend) else f"{each.backend} {name}")
        for (row, each), name in zip(rows.items(), labels(list(rows.values())), strict=True)
    }


def _full(candidate: Candidate) -> str:
    axes = {axis: value for axis, value in candidate.variant.items() if axis != "precision"}
    settings = [f"{axis}={value}" for axis, value in sorted(axes.items())]
    precision = [str(candidate.variant["precision"])] if "precision" in candidate.variant else []
    return plain(" ".join([candidate.backend, *precision, *settings]))


def _doubt(choice: Candidate) -> str:
    return "" if choice.sure or not choice.limits else f", but by value alone: {_weakest(choice)}"


def _weakest(candidate: Candidate) -> str:
    unsure = [held for held in candidate.limits if not held.sure]
    worst = min(unsure, key=lambda held: -1.0 if held.probability is None else held.probability)
    if worst.probability is None:
        return f"{worst.metric} has no interval"
    return f"{worst.limit} is {format_probability(worst.probability)} sure"


def _objective(pick: Choice, candidate: Candidate) -> str:
    return f"{pick.objective.metric} {with_width(candidate.value, pick.objective.unit)}"


def _limits(candidate: Candidate) -> str:
    if not candidate.limits:
        return "no limits"
    return "; ".join(_held(held) for held in candidate.limits)


def _held(held: Held) -> str:
    value = with_width(held.value, held.unit)
    bound = "" if held.bound is None else f"{held.op} {quantity(held.bound, held.unit)}"
    sure = (
        "no interval"
        if held.probability is None
        else f"{format_probability(held.probability)} sure"
    )
    return f"{held.metric} {value} {bound} ({sure})"


def _runner_up(pick: Choice, names: dict[int, str]) -> str:
    margin = pick.margin
    if pick.runner_up is None or margin is None:
        return "no runner-up: no other row meets the limits"
    words = f"runner-up: {names[pick.runner_up.row]}, {_objective(pick, pick.runner_up)}"
    if margin.ratio is not None:
        worse = "less" if pick.objective.better == "higher" else "more"
        ratio = f"{format_times(margin.ratio)} "
        if margin.low is not None and margin.high is not None and margin.low != margin.high:
            ratio += f"({format_times(margin.low)} to {format_times(margin.high)}) "
        words += f", {ratio}{worse}" if margin.ratio > 1 else ", the same"
    if margin.confidence is None:
        return f"{words}; how sure is unknown: {margin.reason}"
    words += f"; {format_probability(margin.confidence)} sure that the choice is better"
    return words + (f" ({margin.reason})" if margin.reason else "")


def _nothing(pick: Choice, width: int) -> Iterator[Line]:
    if not pick.rows:
        yield from wrapped("no row competes: see what is left out", width, None, "  ")
        return
    if not pick.binding:
        words = f"none of {pick.rows} rows tells all that the limits ask for"
        yield from wrapped("; ".join([words, *map(plain, pick.notes)]), width, WARN, "  ")
        return
    yield from wrapped(_binds(pick), width, WARN, "  ")
    if pick.closest is not None:
        words = f"closest: {_full(pick.closest)}: {_limits(pick.closest)}"
        yield from wrapped(plain(words), width, QUIET, "  ")


def _binds(pick: Choice) -> str:
    moves = [_move(each) for each in pick.binding]
    if pick.relax == "all":
        return "these bind together: " + " and ".join(moves)
    if len(moves) == 1:
        return f"what binds: {moves[0]}"
    return "what binds, any one of: " + ", or ".join(moves)


def _move(each: Relaxation) -> str:
    by = "" if each.by is None else f" ({change(each.by)})"
    return plain(f"{each.limit} would have to be {quantity(each.needed, each.unit)}{by}")
