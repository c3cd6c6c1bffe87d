"""Prints predictions on a terminal, marked as modelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, TextIO

from edgebench.analysis.per_row.row_labels import common, labels
from edgebench.backend import Scalar
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
        yield from _workload([each for each in found.predicted if _group(each) == key], width)
    if found.suggested:
        yield "", None
        yield from wrapped("measure next, the most informative cell first", width, TITLE)
        for number, each in enumerate(found.suggested, start=1):
            yield from wrapped(plain(f"{number}. {_named(each)}"), width, None, "     ", "  ")
    for note in found.notes:
        yield from wrapped(plain(note), width, QUIET)


def _group(each: Predicted) -> tuple[str, int, str]:
    return each.workload, each.workload_version, each.scenario


class _Cell(NamedTuple):
    """What a label names of a predicted cell."""

    device: str
    run: str
    backend: str
    variant: dict[str, Scalar]


def _workload(cells: Sequence[Predicted], width: int) -> Iterator[Line]:
    """What all cells share, then a row for each, the fastest first; "~" stands before every modelled number."""
    ordered = sorted(cells, key=lambda each: each.time_ns)
    named = [_Cell(each.device, "", each.backend, each.variant) for each in ordered]
    first = ordered[0]
    title = f"{first.workload}@{first.workload_version} · {first.scenario}"
    yield from wrapped(plain(" · ".join(filter(None, (title, common(named))))), width, TITLE)
    intervals = any(each.low_ns is not None for each in ordered)
    rows = [
        GridRow(
            plain(f"~ {label}"),
            [f"~{format_ns(each.time_ns)}", *([_interval(each)] if intervals else [])],
            QUIET,
        )
        for label, each in zip(labels(named), ordered, strict=True)
    ]
    heads = [Column("  modelled", right=False), Column("time"), Column("90% interval")]
    yield from grid(heads[: 2 + intervals], rows, width)


def _interval(each: Predicted) -> str:
    if each.low_ns is None or each.high_ns is None:
        return UNKNOWN
    return f"{format_ns(each.low_ns)} to {format_ns(each.high_ns)}"


def _settings(each: Predicted | Suggested) -> str:
    axes = sorted(each.variant.items(), key=lambda item: (item[0] != "precision", item[0]))
    words = (str(v) if axis == "precision" else f"{axis}={v}" for axis, v in axes)
    return plain(" ".join([each.backend, *words]))


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
