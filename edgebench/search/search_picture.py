"""Draws a search as one SVG: the front, and the groups of the chosen map coloured by precision. No library draws it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from edgebench.report.theme import SANS, SERIES, THEMES
from edgebench.search.search_messages import UnitFacts
from edgebench.search.search_report import SearchReport, SearchRow
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

WIDTH, HEIGHT = 860, 520
_COLORS = THEMES["light"]
_INT8, _FP32 = SERIES["light"][0], SERIES["light"][1]
_STANDING = {
    "safe": _COLORS["good"], "held": _COLORS["warn"], "missed": _COLORS["bad"],
    "tuning": _COLORS["bad"], "untested": _COLORS["accent"], "base": _COLORS["ink"],
}  # fmt: skip
_PLOT = (70.0, 60.0, 760.0, 240.0)  # x, y, width, height
_STRIP = (70.0, 380.0, 760.0, 60.0)
_MIN_BAR = 2.0


class _Point(NamedTuple):
    row: SearchRow
    x: float
    y: float


def svg(report: SearchReport) -> str:
    """The picture. Bars: width is the time of a group in fp32, height its damage in int8, colour its precision."""
    metric = _metric(report)
    body = [
        _text(_PLOT[0], 28, report.title, size=16, bold=True),
        *_front(report, metric),
        *_groups(report),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="{escape(SANS)}" role="img">'
        f'<rect width="100%" height="100%" fill="{_COLORS["paper"]}"/>{"".join(body)}</svg>\n'
    )


def _metric(report: SearchReport) -> str:
    return next((name for row in report.rows for name in row.quality), "")


def _front(report: SearchReport, metric: str) -> Iterator[str]:
    """Latency against quality: each point a deployment, the chosen one ringed."""
    told = [row for row in report.rows if row.p50_ns is not None and metric in row.quality]
    if not told:
        return
    times = [row.p50_ns or 0.0 for row in told]
    values = [row.quality[metric] for row in told]
    x0, y0, width, height = _PLOT
    yield f'<rect x="{x0}" y="{y0}" width="{width}" height="{height}" fill="none" stroke="{_COLORS["line"]}"/>'
    points = [
        _Point(row, x0 + width * _place(row.p50_ns or 0.0, times), y0 + height * (1 - _place(row.quality[metric], values)))
        for row in told
    ]  # fmt: skip
    for value in (min(times), max(times)):
        yield _text(
            x0 + width * _place(value, times), y0 + height + 18, format_ns(value), middle=True
        )
    for value in sorted({min(values), max(values)}):
        yield _text(x0 - 8, y0 + height * (1 - _place(value, values)) + 4, f"{value:.3f}", end=True)
    yield _text(x0 + width / 2, y0 + height + 34, f"p50 latency; upwards {metric}", middle=True)
    for point in points:
        yield from _dot(point, report.chosen)


def _dot(point: _Point, chosen: str | None) -> Iterator[str]:
    row, color = point.row, _STANDING[point.row.standing]
    title = f"<title>{escape(plain(f'{row.backend} {row.precision}: {row.standing}'))}</title>"
    fill = color if row.front else "none"
    yield (
        f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="5" fill="{fill}" stroke="{color}" '
        f'stroke-width="2">{title}</circle>'
    )
    if row.id == chosen:
        yield (
            f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="10" fill="none" stroke="{color}"/>'
        )
    label = str(row.precision).replace("mixed:", "")
    yield _text(point.x + 8, point.y - 8, label, size=10)


def _place(value: float, among: Sequence[float]) -> float:
    """Where a value lies between the least and the largest, with a margin at both ends."""
    low, high = min(among), max(among)
    return 0.5 if high == low else 0.06 + 0.88 * (value - low) / (high - low)


def _groups(report: SearchReport) -> Iterator[str]:
    units = [unit for unit in report.exploration.units if not unit.joiner]
    kept = {group.name for group in report.kept_in_fp32}
    total = sum(unit.fp32_us for unit in units)
    if not units or not total:
        return
    x, y, width, height = _STRIP
    free = width - _MIN_BAR * len(units)
    worst = max((unit.damage or 0.0 for unit in units), default=0.0) or 1.0
    yield _text(
        x, y - 14, "groups in the order of the network: width time in fp32, height damage in int8; "
        "blue int8, orange fp32 in the map"
    )  # fmt: skip
    for unit in units:
        wide = max(0.5, _MIN_BAR + max(0.0, free) * unit.fp32_us / total - 0.6)
        yield _bar(unit, (x, y + height, wide, height * (unit.damage or 0.0) / worst), kept)
        x += _MIN_BAR + max(0.0, free) * unit.fp32_us / total


def _bar(unit: UnitFacts, place: tuple[float, float, float, float], kept: set[str]) -> str:
    x, bottom, wide, high = place
    color = _FP32 if unit.name in kept else _INT8
    told = f"{unit.op} {unit.name}: fp32 {unit.fp32_us:.0f} us, int8 {unit.int8_us:.0f} us"
    high = max(high, 3.0)
    return (
        f'<rect x="{x:.1f}" y="{bottom - high:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f'fill="{color}"><title>{escape(plain(told))}</title></rect>'
    )


def _text(
    x: float, y: float, words: str, *, size: int = 12, bold: bool = False, middle: bool = False, end: bool = False
) -> str:  # fmt: skip
    anchor = "middle" if middle else "end" if end else "start"
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"{weight} '
        f'fill="{_COLORS["ink"]}">{escape(plain(words))}</text>'
    )
