"""Where numbers go wrong, in words and a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.explain.numeric_report import LayerError, NumericReport
from edgebench.render.console import BAD, DEPLOY, QUIET, TITLE, paint
from edgebench.render.number_format import told
from edgebench.render.text_grid import Column, GridRow, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.text.plain_text import plain

_LEGEND = (
    "errors are relative to the size of what the reference writes; local: of the layer alone, on the "
    "reference's values; grown: in a run of the whole model; damage: of the outputs, where this layer's local "
    "error is the only one"
)
_NAME = 30
_TWO_DIGITS = "{:.2g}".format


def render(report: NumericReport, top: int, out: TextIO) -> None:
    """Writes the verdict, and the `top` layers that do most damage in the order in which they run."""
    paint(lambda width: _lines(report, top, width), out)


def _lines(report: NumericReport, top: int, width: int) -> Iterator[Line]:
    yield from wrapped(
        plain(f"{report.backend} {report.name} against {report.reference}"), width, TITLE
    )
    for words in sentences(report):
        yield from wrapped(plain(words), width, DEPLOY if report.first_over is None else BAD)
    yield "", None
    chosen = set(report.worst[:top]) | {report.first_over}
    yield from _table(report, [each for each in report.layers if each.node in chosen], width)
    for node, why in list(report.layers_skipped.items())[:top]:
        yield from wrapped(plain(f"not compared: {node}: {why}"), width, QUIET)
    yield from wrapped(_LEGEND, width, QUIET)


def sentences(report: NumericReport) -> list[str]:
    """The verdict: which layer is wrong, or that none is, and where the error comes from."""
    limit = f"the limit of {report.limit:g} ({report.limit_source})"
    total = "how far the outputs are off is unknown"
    if report.output_error is not None:
        total = f"the outputs are off by {report.output_error:.2g}"
    if report.first_over is None:
        compared = sum(each.local is not None for each in report.layers)
        which = (
            f" of the {compared} that could be compared" if compared < len(report.layers) else ""
        )
        first = f"No layer{which} is off by more than {limit}; {total}"
    else:
        known = next(each for each in report.layers if each.node == report.first_over)
        over = [e for e in report.layers if e.local is not None and e.local > report.limit]
        rest = f", {len(over)} layers in all" if len(over) > 1 else ""
        first = f"{report.first_over} ({known.kind}) is the first layer above {limit}: {known.local:.2g}{rest}; {total}"
    found = [f"{first}."]
    if report.worst:
        worst = next(each for each in report.layers if each.node == report.worst[0])
        found.append(
            f"{worst.node} ({worst.kind}) does most damage: {worst.damage:.2g} of the outputs by itself."
        )
    return found


def _table(report: NumericReport, layers: Sequence[LayerError], width: int) -> Iterator[Line]:
    columns = [
        Column("layer", right=False),
        Column("kind", right=False),
        *map(Column, ("local", "grown", "damage")),
    ]
    rows = [
        GridRow(
            each.node if len(each.node) <= _NAME else f"...{each.node[3 - _NAME :]}",
            [
                each.kind,
                told(each.local, _TWO_DIGITS),
                told(each.accumulated, _TWO_DIGITS),
                told(each.damage, _TWO_DIGITS),
            ],
            BAD if each.local is not None and each.local > report.limit else None,
        )
        for each in layers
    ]
    yield from grid(columns, rows, width)
