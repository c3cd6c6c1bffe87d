"""Test-time scaling in words and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table_types import Row
from edgebench.render.console import DEPLOY, GOOD, QUIET, TITLE, WARN, paint
from edgebench.render.number_format import told
from edgebench.render.text_grid import GridRow, columns, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.scaling.accuracy_curves import Choice, Point, Scaled, Scalings, time_of
from edgebench.scaling.cost_fit import Fit
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

HEAD = ("", "tokens", "votes", "accuracy", "95 %", "measured", "predicted", "tok/right", "J/right")
_LEGEND = (
    "* on the front of time and accuracy; tokens: budget of a sample, cut hard; accuracy: of the "
    "vote, Wilson interval over problems; measured, predicted: time to the last vote, mean over "
    "problems; tok/right: tokens written for one right answer"
)
_JOULES = "; J/right is estimated from the mean power of the timed requests"


def render(curves: Scalings, rows: Sequence[Row], out: TextIO) -> None:
    """The picks, then every cell with its points and fits."""
    paint(lambda width: _lines(curves, rows, width), out)


def _lines(curves: Scalings, rows: Sequence[Row], width: int) -> Iterator[Line]:
    names = labels([rows[cell.row] for cell in curves.cells])
    by_row = {cell.row: name for cell, name in zip(curves.cells, names, strict=True)}
    for choice in curves.choices:
        yield from wrapped(choice_words(choice, by_row), width, DEPLOY)
        yield "", None
    for cell in curves.cells:
        yield from _cell(cell, rows[cell.row], by_row[cell.row], curves.pad, width)
        yield "", None
    points = [point for cell in curves.cells for point in cell.points]
    known = any(point.estimated_j_per_correct is not None for point in points)
    yield from wrapped(_LEGEND + (_JOULES if known else ""), width, QUIET)


def _cell(cell: Scaled, row: Row, name: str, pad: int, width: int) -> Iterator[Line]:
    title = f"{row.workload}@{row.workload_version} on {row.device} · {row.backend} {name}"
    yield from wrapped(plain(title), width, TITLE)
    yield from wrapped(asked_words(cell), width, None, "    ", "  ")
    for words in doubts(cell):
        yield from wrapped(words, width, WARN, "    ", "  ")
    lines = [point_cells(point) for point in cell.points]
    used = [place for place in range(len(HEAD)) if any(line[place] != "-" for line in lines)]
    rows = [
        GridRow(line[0], [line[place] for place in used[1:]], GOOD if point.front else None)
        for point, line in zip(cell.points, lines, strict=True)
    ]
    yield from grid(columns(*(HEAD[place] for place in used)), rows, width)
    for words in (prefill_words(cell, pad), decode_words(cell), agreement_words(cell)):
        yield from wrapped(words, width, None, "    ", "  ")


def asked_words(cell: Scaled) -> str:
    """Says how many problems there were, and how they were asked."""
    return (
        f"{cell.problems} problems, {cell.samples} samples of each, {cell.width} side by side, "
        f"temperature {cell.temperature:g}"
    )


def doubts(cell: Scaled) -> list[str]:
    """Says why a cell takes no part in the pick."""
    return [f"struck, and never picked: {plain(cell.left_out)}"] if cell.left_out else []


def point_cells(point: Point) -> tuple[str, ...]:
    """A point's line, parallel to HEAD; "-" where something is unknown."""
    return (
        "*" if point.front else " ",
        str(point.budget),
        str(point.votes),
        f"{point.accuracy:.3f}",
        f"{point.accuracy_low:.2f}-{point.accuracy_high:.2f}",
        format_ns(point.latency_ns),
        told(point.predicted_ns, format_ns),
        told(point.tokens_per_correct, "{:.0f}".format),
        told(point.estimated_j_per_correct, "{:.3g}".format),
    )


def prefill_words(cell: Scaled, pad: int) -> str:
    """The fit of the prefill with what it leaves over, or why there is none."""
    if cell.prefill is None:
        return f"no fit of the prefill: {cell.unknown['prefill']}"
    a, b, c = cell.prefill.coefficients_ns
    length = f"P = {pad}*ceil(tokens/{pad})" if pad > 1 else "P = tokens"
    form = f"prefill: {a:.4g} ns*P^2 + {_ns(b)}*P + {_ns(c)}, {length}; "
    return form + _how_good(cell.prefill)


def decode_words(cell: Scaled) -> str:
    """The fit of a decode step with what it leaves over, or why there is none."""
    if cell.decode is None:
        return f"no fit of the decode: {cell.unknown['decode']}"
    m, n = cell.decode.coefficients_ns
    return f"decode step: {_ns(n)} + {_ns(m)}*context; " + _how_good(cell.decode)


def agreement_words(cell: Scaled) -> str:
    """Says how far predicted and measured times are apart; "" where nothing is predicted."""
    off = [point.predicted_ns / point.latency_ns - 1 for point in cell.points if point.predicted_ns]
    return f"predicted against measured: {min(off):+.1%} to {max(off):+.1%}" if off else ""


def _ns(ns: float) -> str:
    return format_ns(ns) if abs(ns) >= 100 else f"{ns:.3g} ns"


def _how_good(fit: Fit) -> str:
    r2 = "R^2 unknown (all times are equal)" if fit.r2 is None else f"R^2 {fit.r2:.4f}"
    if fit.residual_sd_ns is None:
        left = "no residual: as many coefficients as points"
    else:
        left = f"residual SD {format_ns(fit.residual_sd_ns)}"
    return (
        f"{r2}, {left} ({fit.points} points, {fit.lengths} lengths, "
        f"{fit.shortest} to {fit.longest} tokens)"
    )


def choice_words(choice: Choice, names: Mapping[int, str]) -> str:
    """The pick in a sentence that says of what; `names` are those of the rows."""
    asked = "" if choice.within_ns is None else f" within {format_ns(choice.within_ns)}"
    place = f"{plain(choice.workload)}@{choice.workload_version} on {plain(choice.device)}"
    return f"Pick{asked} ({place}): {pick_words(choice, names)}"


def pick_words(choice: Choice, names: Mapping[int, str]) -> str:
    """Says what is picked and how sure that is, or why nothing is."""
    asked = "" if choice.within_ns is None else f" within {format_ns(choice.within_ns)}"
    if choice.point is None or choice.row is None:
        if choice.nearest_ns is None:
            return "none, every cell is struck"
        return f"none; the fastest takes {format_ns(choice.nearest_ns)}"
    point = choice.point
    if point.accuracy == 0:
        return f"none, no answer{asked} is right"
    votes = f"{point.votes} vote{'s' if point.votes > 1 else ''}"
    words = (
        f"{plain(names[choice.row])} with {point.budget} tokens and {votes}: "
        f"accuracy {point.accuracy:.3f} ({point.accuracy_low:.2f} to {point.accuracy_high:.2f}) in "
        f"{format_ns(time_of(point))}, {choice.by}"
    )
    if choice.as_good:
        words += (
            f". {choice.as_good} other points{asked} may be as accurate: their intervals reach it"
        )
    return words
