"""Predictions for a terminal: drawn apart from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.predict.prediction_report import Predicted, Prediction, Suggested
from edgebench.render.console import QUIET, TITLE, paint
from edgebench.render.number_format import UNKNOWN
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

_NEXT = 5


def render(found: Prediction, out: TextIO) -> None:
    """Every predicted cell by workload and scenario, then what to measure next."""
    paint(lambda width: _lines(found, width), out)


def _lines(found: Prediction, width: int) -> Iterator[Line]:
    if found.predicted:
        words = (
            f"{found.device}: {len(found.predicted)} modelled cells, from {len(found.anchors)} measured ones "
            f"and {len(found.known_devices)} known devices"
        )
        yield from wrapped(plain(words), width, TITLE)
    for key in dict.fromkeys(_group(each) for each in found.predicted):
        yield "", None
        yield plain(f"{key[0]}@{key[1]} · {key[2]}"), TITLE
        yield from predicted_lines([e for e in found.predicted if _group(e) == key], width)
    if found.suggested:
        yield "", None
        yield from wrapped("measure next, the most informative cell first", width, TITLE)
        for number, each in enumerate(found.suggested, start=1):
            yield from wrapped(plain(f"{number}. {_named(each)}"), width, None, "     ", "  ")
    for note in found.notes:
        yield from wrapped(plain(note), width, QUIET)


def _group(each: Predicted) -> tuple[str, int, str]:
    return each.workload, each.workload_version, each.scenario


def predicted_lines(cells: Sequence[Predicted], width: int) -> Iterator[Line]:
    """A row for each, the fastest first; "~" stands before every modelled number."""
    rows = [
        GridRow(f"  ~ {_settings(each)}", [f"~{format_ns(each.time_ns)}", _interval(each)], QUIET)
        for each in sorted(cells, key=lambda each: each.time_ns)
    ]
    heads = [Column("  modelled", right=False), Column("time"), Column("90% interval")]
    yield from grid(heads, rows, width)


def _interval(each: Predicted) -> str:
    if each.low_ns is None or each.high_ns is None:
        return UNKNOWN
    return f"{format_ns(each.low_ns)} to {format_ns(each.high_ns)}"


def _settings(each: Predicted | Suggested) -> str:
    axes = [
        f"{axis}={value}" for axis, value in sorted(each.variant.items()) if axis != "precision"
    ]
    precision = [str(each.variant["precision"])] if "precision" in each.variant else []
    return plain(" ".join([each.backend, *precision, *axes]))


def _named(each: Suggested) -> str:
    return f"{each.workload} {each.scenario}: {_settings(each)}"


def render_worth_measuring(cells: Sequence[Predicted], notes: Sequence[str], out: TextIO) -> None:
    """What stands below a pick: modelled cells that may be faster than what was measured."""
    paint(lambda width: _worth_measuring(cells, notes, width), out)


def _worth_measuring(
    cells: Sequence[Predicted], notes: Sequence[str], width: int
) -> Iterator[Line]:
    for device in dict.fromkeys(each.device for each in cells):
        own = [each for each in cells if each.device == device]
        yield plain(f"{device}: not measured, and perhaps faster; measure next"), TITLE
        for each in own[:_NEXT]:
            words = (
                f"{each.workload} {each.scenario}: {_settings(each)}, ~{format_ns(each.time_ns)}"
            )
            if each.low_ns is not None:
                words += f" ({_interval(each)})"
            yield from wrapped(plain(words), width, QUIET, "    ", "  ~ ")
        if len(own) > _NEXT:
            yield f"  {len(own) - _NEXT} more: edgebench predict", QUIET
    for note in notes:
        yield from wrapped(plain(note), width, QUIET)
