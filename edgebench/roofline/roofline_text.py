"""A roofline in words and numbers, 80 columns wide."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TextIO

from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table_types import Row
from edgebench.calibration import Ceiling
from edgebench.render.table_wording import half_width
from edgebench.roofline.roofline_points import Point, Roofline
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

_WIDTH = 80
_NAMES = {"gemm_fp32": "fp32 arithmetic", "gemm_int8": "int8 arithmetic", "memory_add": "memory"}
_HEAD = ("ops", "bytes", "op/B", "op/s", "of peak", "time", "waterline", "gap")
_LEGEND = (
    "ops: operations of one run, a multiply-accumulate is 2; of peak: achieved over peak arithmetic; "
    "waterline: the time that arithmetic and memory allow, layer by layer; gap: time over waterline, "
    "1 is the best"
)


def render_ceilings(device: str, ceilings: Sequence[Ceiling], out: TextIO) -> None:
    """Prints the ceilings of a device."""
    out.writelines(line + "\n" for line in _ceilings(device, ceilings))


def render(found: Roofline, rows: Sequence[Row], layers: int, out: TextIO) -> None:
    """Every device with its ceilings, then its workloads with their rows."""
    out.writelines(line + "\n" for line in _lines(found, rows, layers))


def _ceilings(device: str, ceilings: Sequence[Ceiling]) -> Iterator[str]:
    yield f"{plain(device)}: at most"
    for ceiling in ceilings:
        unit = "B/s" if ceiling.what == "memory_add" else "op/s"
        spread = half_width(ceiling.per_s, ceiling.low_per_s, ceiling.high_per_s)
        threads = f"{ceiling.threads} thread{'s' if ceiling.threads != 1 else ''}"
        yield f"  {_NAMES[ceiling.what]:<16} {threads:<10} {_si(ceiling.per_s)}{unit} {spread}"


def _lines(found: Roofline, rows: Sequence[Row], layers: int) -> Iterator[str]:
    for device in dict.fromkeys(point.device for point in found.points):
        if device in found.ceilings:
            yield from _ceilings(device, found.ceilings[device])
        else:
            yield f"{plain(device)}: no calibration: `edgebench calibrate` on that device"
        points = [point for point in found.points if point.device == device]
        for key in dict.fromkeys(_group(rows[point.row]) for point in points):
            members = [point for point in points if _group(rows[point.row]) == key]
            yield ""
            yield from _block(members, rows, layers)
        yield ""
    yield from _wrapped(_LEGEND)
    for note in found.notes:
        yield from _wrapped(note)


def _group(row: Row) -> tuple[str, int, str]:
    return row.workload, row.workload_version, row.scenario


def _block(points: Sequence[Point], rows: Sequence[Row], layers: int) -> Iterator[str]:
    first = rows[points[0].row]
    yield plain(f"{first.workload}@{first.workload_version} · {first.scenario}")
    names = dict(zip((p.row for p in points), labels([rows[p.row] for p in points]), strict=True))
    known = [point for point in points if point.flops is not None]
    known.sort(key=lambda point: point.gap or float("inf"))
    cells = [_HEAD, *(_cells(point) for point in known)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    label = max([len(plain(names[point.row])) for point in known], default=0)
    room = _WIDTH - 2 - sum(widths) - len(widths)
    for name, line in zip(["", *(plain(names[p.row]) for p in known)], cells, strict=True):
        numbers = "".join(f" {cell:>{size}}" for cell, size in zip(line, widths, strict=True))
        if len(name) > room:
            yield f"  {name}"
            name = ""
        yield f"  {name:<{min(label, room)}}{numbers}"
    for point in known:
        yield from _remarks(point, plain(names[point.row]), layers)
    missing = Counter(next(iter(point.unknown.values())) for point in points if point.flops is None)
    for why, count in missing.items():
        yield from _wrapped(f"{count} row{'s' if count != 1 else ''} left out: {why}", "  ")


def _cells(point: Point) -> tuple[str, ...]:
    def number(value: float | None, form: str = "{:.2g}") -> str:
        return "-" if value is None else form.format(value)

    return (
        "-" if point.flops is None else _si(point.flops).strip(),
        "-" if point.moved_bytes is None else _si(point.moved_bytes).strip(),
        number(point.intensity, "{:.1f}"),
        "-" if point.achieved_per_s is None else _si(point.achieved_per_s).strip(),
        number(point.efficiency, "{:.0%}"),
        "-" if point.time_ns is None else format_ns(point.time_ns),
        "-" if point.waterline_ns is None else format_ns(point.waterline_ns),
        number(point.gap, "{:.2f}x"),
    )


def _remarks(point: Point, name: str, layers: int) -> Iterator[str]:
    if point.memory_share is not None:
        share = f"{point.memory_share:.0%} of the waterline is memory"
        yield from _wrapped(f"{name}: bound by {point.bound}; {share}", "  ")
    for text in (point.unknown.get("roof_per_s"), *point.notes):
        if text:
            yield from _wrapped(f"{name}: {text}", "  ")
    heavy = sorted(enumerate(point.layers), key=lambda item: -item[1].waterline_ns)[:layers]
    for number, layer in heavy:
        yield (
            f"    layer {number:>4} {plain(layer.op):<20.20} {format_ns(layer.waterline_ns):>8} "
            f"by {layer.bound}"
        )


def _si(value: float) -> str:
    """Three digits and a prefix: "61.2 G"."""
    for factor, prefix in ((1, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")):
        scaled = value / factor
        if scaled < 999.5 or prefix == "T":
            digits = 0 if scaled >= 99.95 or not prefix else 1 if scaled >= 9.995 else 2
            return f"{scaled:.{digits}f} {prefix}"
    raise AssertionError("unreachable")


def _wrapped(text: str, indent: str = "") -> Iterator[str]:
    yield from textwrap.wrap(
        plain(text), _WIDTH, initial_indent=indent, subsequent_indent=indent + "  "
    )
