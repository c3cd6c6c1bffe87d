"""Draws a search as one SVG: the front, and the groups of the chosen map coloured by precision. No library draws it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple

from edgebench.models.precision_map import is_mixed
from edgebench.report.theme import SANS, SERIES, THEMES
from edgebench.search.search_messages import UnitFacts
from edgebench.search.search_report import SearchReport, SearchRow
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

WIDTH, HEIGHT = 860, 560
_COLORS = THEMES["light"]
_INT8, _FP32 = SERIES["light"][0], SERIES["light"][1]
_STANDING = {
    "safe": _COLORS["good"], "held": _COLORS["warn"], "missed": _COLORS["bad"],
    "tuning": _COLORS["bad"], "untested": _COLORS["accent"], "base": _COLORS["ink"],
}  # fmt: skip
_PLOT = (70.0, 60.0, 760.0, 240.0)  # x, y, width, height
_STRIP = (70.0, 380.0, 760.0, 60.0)
_GAINS = 48.0  # height of the bars below the strip
_MIN_BAR = 2.0


class _Point(NamedTuple):
    row: SearchRow
    x: float
    y: float


def svg(report: SearchReport) -> str:
    """The picture. Bars: width is the time of a group in fp32, height its damage in int8, colour its precision in
    the map; below them what int8 saves or costs. Circles are maps, squares the usual precisions."""
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
    yield _line(points, _better(report, metric))
    for point in points:
        yield from _dot(point, report.chosen)


def _better(report: SearchReport, metric: str) -> int:
    """1 where more of the metric is better, else -1."""
    limits = (limit for verdict in report.verdicts for limit in verdict.limits)
    lower = any(limit.metric == metric and limit.better == "lower" for limit in limits)
    return -1 if lower else 1


def _line(points: Sequence[_Point], better: int) -> str:
    """The front of latency and quality: each point that no faster one equals."""
    front: list[_Point] = []
    for point in sorted(points, key=lambda each: (each.x, better * each.y)):
        if not front or better * point.y < better * front[-1].y:
            front.append(point)
    way = " ".join(f"{point.x:.1f},{point.y:.1f}" for point in front)
    return f'<polyline points="{way}" fill="none" stroke="{_COLORS["line"]}" stroke-width="2"/>'


def _dot(point: _Point, chosen: str | None) -> Iterator[str]:
    row, color = point.row, _STANDING[point.row.standing]
    title = f"<title>{escape(plain(f'{row.backend} {row.precision}: {row.standing}'))}</title>"
    fill = color if row.front else "none"
    style = f'fill="{fill}" stroke="{color}" stroke-width="2"'
    if is_mixed(row.precision):
        yield f'<circle cx="{point.x:.1f}" cy="{point.y:.1f}" r="5" {style}>{title}</circle>'
    else:
        way = f"M{point.x - 5:.1f},{point.y - 5:.1f}h10v10h-10z"
        yield f'<path d="{way}" {style}>{title}</path>'
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
        x, y - 28, "groups in the order of the network: width time in fp32, upwards damage in int8; "
        "blue int8, orange fp32 in the map;"
    )  # fmt: skip
    yield _text(x, y - 12, "downwards what int8 saves (green) or costs (red)")
    most = max(abs(_gain(unit)) for unit in units) or 1.0
    for unit in units:
        wide = max(0.5, _MIN_BAR + max(0.0, free) * unit.fp32_us / total - 0.6)
        yield _bar(unit, (x, y + height, wide, height * (unit.damage or 0.0) / worst), kept)
        yield _saved(unit, (x, y + height + 4, wide, _GAINS * abs(_gain(unit)) / most))
        x += _MIN_BAR + max(0.0, free) * unit.fp32_us / total


def _gain(unit: UnitFacts) -> float:
    return unit.fp32_us - unit.int8_us


def _saved(unit: UnitFacts, place: tuple[float, float, float, float]) -> str:
    x, top, wide, high = place
    color = _COLORS["good" if _gain(unit) > 0 else "bad"]
    way = f"M{x:.1f},{top:.1f}h{wide:.1f}v{high:.1f}h{-wide:.1f}z"
    return f'<path d="{way}" fill="{color}"/>'


def _bar(unit: UnitFacts, place: tuple[float, float, float, float], kept: set[str]) -> str:
    x, bottom, wide, high = place
    color = _FP32 if unit.name in kept else _INT8
    told = f"{unit.op} {unit.name}: fp32 {unit.fp32_us:.0f} us, int8 {unit.int8_us:.0f} us"
    told += "" if unit.damage is None else f", damage {unit.damage:.3f}"
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
