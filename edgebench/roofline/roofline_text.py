"""A roofline in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from math import inf
from typing import TextIO

from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table_types import Row
from edgebench.calibration import Ceiling
from edgebench.render.console import QUIET, TITLE, paint
from edgebench.render.number_format import half_width, told
from edgebench.render.text_grid import Column, GridRow, columns, grid
from edgebench.render.wrapping import Line, wrapped
from edgebench.roofline.roofline_points import Point, Roofline
from edgebench.text.plain_text import plain
from edgebench.units import format_ns, format_si

_NAMES = {"gemm_fp32": "fp32 arithmetic", "gemm_int8": "int8 arithmetic", "memory_add": "memory"}
_HEAD = ("ops", "bytes", "op/B", "op/s", "of peak", "time", "waterline", "gap")
_LAYER = [Column("", right=False), Column("", right=False), Column(""), Column("", right=False)]
_LEGEND = (
    "ops: operations of one run, a multiply-accumulate is 2; of peak: achieved over peak arithmetic; "
    "waterline: the time that arithmetic and memory allow, layer by layer; gap: time over waterline, "
    "1 is the best"
)


def render_ceilings(device: str, ceilings: Sequence[Ceiling], out: TextIO) -> None:
    paint(lambda width: _ceilings(device, ceilings, width), out)


def render(result: Roofline, rows: Sequence[Row], layers: int, out: TextIO) -> None:
    """Every device with its ceilings, then its workloads with their rows."""
    paint(lambda width: _lines(result, rows, layers, width), out)


def _ceilings(device: str, ceilings: Sequence[Ceiling], width: int) -> Iterator[Line]:
    yield f"{plain(device)}: at most", TITLE
    lines = []
    for ceiling in ceilings:
        unit = "B/s" if ceiling.what == "memory_add" else "op/s"
        spread = half_width(ceiling.per_s, ceiling.low_per_s, ceiling.high_per_s)
        threads = f"{ceiling.threads} thread{'s' * (ceiling.threads != 1)}"
        cells = [threads, f"{format_si(ceiling.per_s, unit)} {spread}".rstrip()]
        lines.append(GridRow(f"  {_NAMES[ceiling.what]}", cells))
    yield from grid([Column("", right=False)] * 3, lines, width)


def _lines(result: Roofline, rows: Sequence[Row], layers: int, width: int) -> Iterator[Line]:
    for device in dict.fromkeys(point.device for point in result.points):
        if device in result.ceilings:
            yield from _ceilings(device, result.ceilings[device], width)
        else:
            words = f"{device}: no calibration, so how close its rows come to its limits is unknown"
            yield from wrapped(plain(words), width, TITLE)
            yield "fix: run `edgebench calibrate` on that device", QUIET
        points = [point for point in result.points if point.device == device]
        for key in dict.fromkeys(_group(rows[point.row]) for point in points):
            members = [point for point in points if _group(rows[point.row]) == key]
            yield "", None
            yield from _block(members, rows, layers, width, device in result.ceilings)
        yield "", None
    for words in (_LEGEND, *result.notes):
        yield from wrapped(plain(words), width, QUIET)


def _group(row: Row) -> tuple[str, int, str]:
    return row.workload, row.workload_version, row.scenario


def _block(
    points: Sequence[Point], rows: Sequence[Row], layers: int, width: int, calibrated: bool
) -> Iterator[Line]:
    """The rows of one workload, the closest to its limits first; where no limit is known, the fastest first."""
    first = rows[points[0].row]
    yield plain(f"{first.workload}@{first.workload_version} · {first.scenario}"), TITLE
    labelled = zip(points, labels([rows[point.row] for point in points]), strict=True)
    known = [(point, plain(name)) for point, name in labelled if point.flops is not None]
    known.sort(key=lambda item: (item[0].gap or inf, item[0].time_ns or inf))
    if known:
        lines = [GridRow(f"  {name}", _cells(point)) for point, name in known]
        yield from grid(columns("", *_HEAD), lines, width)
    for point, name in known:
        yield from _remarks(point, name, layers, width, calibrated)
    missing = Counter(next(iter(point.unknown.values())) for point in points if point.flops is None)
    for why, count in missing.items():
        words = f"{count} row{'s' * (count != 1)} left out: {why}"
        yield from wrapped(plain(words), width, QUIET, "    ", "  ")


def _cells(point: Point) -> tuple[str, ...]:
    def si(value: float) -> str:
        return format_si(value, "").strip()

    return (
        told(point.flops, si),
        told(point.moved_bytes, si),
        told(point.intensity, "{:.1f}".format),
        told(point.achieved_per_s, si),
        told(point.efficiency, "{:.0%}".format),
        told(point.time_ns, format_ns),
        told(point.waterline_ns, format_ns),
        told(point.gap, "{:.2f}x".format),
    )


def _remarks(point: Point, name: str, layers: int, width: int, calibrated: bool) -> Iterator[Line]:
    bound = ""
    if point.memory_share is not None:
        bound = f"bound by {point.bound}; {point.memory_share:.0%} of the waterline is memory"
    why = point.unknown.get("roof_per_s") if calibrated else None  # else said once, of the device
    for text in (bound, why, *point.notes):
        if text:
            yield from wrapped(plain(f"{name}: {text}"), width, None, "    ", "  ")
    heavy = sorted(enumerate(point.layers), key=lambda item: -item[1].waterline_ns)[:layers]
    lines = [
        GridRow(
            f"    layer {number}", [plain(layer.op), format_ns(layer.waterline_ns), layer.bound]
        )
        for number, layer in heavy
    ]
    if lines:
        yield from grid(_LAYER, lines, width)
