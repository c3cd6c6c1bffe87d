"""Draws a search as SVG: the front of its deployments, and the groups of the network by their precision in the map.

No library draws it: a report shows the same drawing in the colours of its theme, once wide and once for a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import NamedTuple

from edgebench.models.precision_map import PrecisionMap, is_mixed
from edgebench.render.wrapping import wrapped_text
from edgebench.report.theme import SANS, SERIES, THEMES, named
from edgebench.search.search_messages import REFUSED_DAMAGE, LimitVerdict, UnitFacts
from edgebench.search.search_report import SearchReport, SearchRow, Standing
from edgebench.text.plain_text import plain
from edgebench.units import format_ns
from edgebench.words.search_words import STANDING_WORDS, output_error

WIDE, NARROW = 860, 340
_PLOT_HEIGHT, _MARGIN = 250.0, 16.0
_TITLE, _FONT, _LINE, _LETTER = 16.0, 12.0, 18.0, 6.8  # sizes, height of a line, width of a letter
_DOT = 5.0
_BARS, _GAINS = 64.0, 48.0  # heights of damage and of gain
_MIN_BAR, _MAX_GAP = 1.5, 1.5
_COLOR: dict[Standing, str] = {
    "safe": "good", "held": "warn", "missed": "bad", "tuning": "bad", "untested": "accent", "base": "ink",
}  # fmt: skip


#: Precision of a group -> its colour among the series.
_SERIES: dict[str, int] = {"int8": 0, "fp32": 1, "w8": 2, "int8-dynamic": 3, "w4": 4}


@dataclass(frozen=True)
class Look:
    """Width and colours of a drawing."""

    width: int
    colors: Mapping[str, str]
    series: Sequence[str]

    @property
    def narrow(self) -> bool:
        return self.width < WIDE

    @property
    def letters(self) -> int:
        """How many letters a line takes."""
        return int((self.width - 2 * _MARGIN) / _LETTER)


def svg(report: SearchReport) -> str:
    """The picture as a file: the front above, the groups below, in light colours."""
    look = Look(WIDE, THEMES["light"], SERIES["light"])
    front, groups = _front(report, look), _groups(report, look)
    parts = [part for part in (front, groups) if part.marks]
    title = _text(look, _MARGIN, 28, report.title, title=True)
    body, top = [title], 44.0
    for part in parts:
        body.append(f'<g transform="translate(0,{top:.0f})">{part.marks}</g>')
        top += part.height + 12
    return f"{_document(look, top, ''.join(body), plain(report.title), filled=True)}\n"


def page_pictures(report: SearchReport) -> list[tuple[str, str]]:
    """The front and the groups as elements of a page in the colours of its theme: each wide and narrow."""
    colors, series = named()
    looks = [Look(width, colors, series) for width in (WIDE, NARROW)]
    found = []
    for draw, what in ((_front, "Latency and quality"), (_groups, "Groups of the network")):
        parts = [(look, draw(report, look)) for look in looks]
        if parts[0][1].marks:
            label = f"{what}: {plain(report.title)}"
            wide, narrow = (_document(look, part.height, part.marks, label) for look, part in parts)
            found.append((wide, narrow))
    return found


class _Part(NamedTuple):
    marks: str  # "": there is nothing to draw
    height: float


def _document(look: Look, height: float, body: str, label: str, filled: bool = False) -> str:
    size = f"{look.width} {math.ceil(height)}"
    paper = f'<rect width="100%" height="100%" fill="{look.colors["paper"]}"/>' if filled else ""
    width, high = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{high}" viewBox="0 0 {size}" '
        f'font-family="{escape(SANS)}" role="img" aria-label="{escape(label)}">{paper}{body}</svg>'
    )


# The front


class _Point(NamedTuple):
    row: SearchRow
    x: float
    y: float


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: _Box) -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def within(self, other: _Box) -> bool:
        across = other.left <= self.left and self.right <= other.right
        return across and other.top <= self.top and self.bottom <= other.bottom


class _Axis(NamedTuple):
    """From values to places on the drawing."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)

    def ticks(self, count: int) -> list[float]:
        """Round values within."""
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
        first = math.ceil(self.low / step)
        return [n * step for n in range(first, math.floor(self.high / step) + 1)]


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or 0.05 * abs(high) or 1.0
    return _Axis(low - room, high + room, start, end)


def _front(report: SearchReport, look: Look) -> _Part:
    """Latency against quality: a circle is a map, a square a usual precision; the chosen one has a ring."""
    metric = report.metric
    told = [row for row in report.rows if row.p50_ns and metric in row.quality]
    if not told:
        return _Part("", 0.0)
    key, top = _key(look, _front_key(told))
    left, right = 54.0, look.width - _MARGIN
    top += 34.0
    bottom = top + _PLOT_HEIGHT
    known = _limit(report, metric)
    limit = None if known is None else known.limit
    better = report.better if known is None else known.better
    times = [time for row in told for time in (row.p50_ns or 0.0, *_ends(row, told))]
    values = [row.quality[metric] for row in told] + ([] if limit is None else [limit])
    x, y = _axis(times, left, right), _axis(values, bottom, top)
    points = [_Point(row, x.at(row.p50_ns or 0.0), y.at(row.quality[metric])) for row in told]
    stairs = _stairs(points, -1 if better == "lower" else 1)
    marks = [
        key,
        *_frame(look, x, y, metric),
        *([] if limit is None else _limit_line(look, x, y.at(limit), limit)),
        _way(look, stairs),
        *(_spread(look, point, x, told) for point in points),
        *(_dot(look, point, report.chosen) for point in points),
        *_labels(look, points, stairs, _Box(left, top, right, bottom)),
    ]
    return _Part("".join(marks), bottom + 40)


def _front_key(told: Sequence[SearchRow]) -> list[tuple[str, str, str]]:
    """Form, colour and words of each entry."""
    standings = list(dict.fromkeys(row.standing for row in told))
    kinds = [("circle", "soft", "a map"), ("square", "soft", "a usual precision")]
    kinds += [("ring", "soft", "the choice"), ("hollow", "soft", "not on the front")]
    words = {**STANDING_WORDS, "base": "fp32"}
    return [*kinds, *(("fill", _COLOR[each], words[each]) for each in standings)]


def _key(look: Look, entries: Sequence[tuple[str, str, str]]) -> tuple[str, float]:
    """The entries in as many lines as they take, and the height of these."""
    marks, x, y = [], _MARGIN + 6, 10.0
    for form, color, words in entries:
        wide = 16 + len(words) * _LETTER + 14
        if x > _MARGIN + 6 and x + wide > look.width - _MARGIN:
            x, y = _MARGIN + 6, y + _LINE
        tint = look.colors.get(color, color)
        marks += [_mark(form, x, y, tint), _text(look, x + 12, y + 4, words, soft=True)]
        x += wide
    return "".join(marks), y + 8


def _mark(form: str, x: float, y: float, color: str) -> str:
    style = f'stroke="{color}" stroke-width="2" fill="{"none" if form == "hollow" else color}"'
    if form == "fill":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" fill="{color}"/>'
    if form == "outline":
        return f'<rect x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8" fill="none" stroke="{color}" stroke-width="2"/>'
    if form == "square":
        return f'<path d="M{x - _DOT:.1f},{y - _DOT:.1f}h10v10h-10z" {style}/>'
    if form == "ring":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="none" stroke="{color}"/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}" {style}/>'


def _frame(look: Look, x: _Axis, y: _Axis, metric: str) -> Iterator[str]:
    yield _text(look, _MARGIN, y.end - 16, metric, soft=True)
    for value in y.ticks(5):
        at = y.at(value)
        yield _rule(x.start, at, x.end, at, look.colors["grid"])
        yield _text(look, x.start - 6, at + 4, f"{value:.4g}", soft=True, anchor="end")
    for value in x.ticks(3 if look.narrow else 6):
        at = x.at(value)
        yield _rule(at, y.start, at, y.start + 4, look.colors["line"])
        yield _text(look, at, y.start + 18, format_ns(value), soft=True, anchor="middle")
    yield _rule(x.start, y.start, x.end, y.start, look.colors["line"])
    yield _text(look, x.end, y.start + 34, "p50 latency", soft=True, anchor="end")


def _limit(report: SearchReport, metric: str) -> LimitVerdict | None:
    limits = (each for verdict in report.verdicts for each in verdict.limits)
    return next((each for each in limits if each.metric == metric), None)


def _limit_line(look: Look, x: _Axis, at: float, limit: float) -> Iterator[str]:
    yield _rule(x.start, at, x.end, at, look.colors["bad"], dashed=True)
    yield _text(look, x.end, at - 4, f"limit {limit:g}", soft=True, anchor="end")


def _stairs(points: Sequence[_Point], better: int) -> list[_Point]:
    """The front of latency and quality: each point that no faster one equals."""
    front: list[_Point] = []
    for point in sorted(points, key=lambda each: (each.x, better * each.y)):
        if not front or better * point.y < better * front[-1].y:
            front.append(point)
    return front


def _way(look: Look, front: Sequence[_Point]) -> str:
    way = f"M{front[0].x:.1f},{front[0].y:.1f}"
    way += "".join(f"H{point.x:.1f}V{point.y:.1f}" for point in front[1:])
    return f'<path d="{way}" fill="none" stroke="{look.colors["edge"]}" stroke-width="1.5"/>'


def _ends(row: SearchRow, rows: Sequence[SearchRow]) -> list[float]:
    """The ends of the 95 % interval of a row's time beside that of fp32, in nanoseconds; [] where there is none."""
    base = next((each.p50_ns for each in rows if row.has_fp32(each)), None)
    if base is None or not row.speedup_low or not row.speedup_high or row.standing == "base":
        return []
    return [base / row.speedup_high, base / row.speedup_low]


def _spread(look: Look, point: _Point, x: _Axis, rows: Sequence[SearchRow]) -> str:
    ends = [x.at(end) for end in _ends(point.row, rows)]
    color = look.colors[_COLOR[point.row.standing]]
    return _rule(ends[0], point.y, ends[1], point.y, color) if ends else ""


def _dot(look: Look, point: _Point, chosen: str | None) -> str:
    row = point.row
    color = look.colors[_COLOR[row.standing]]
    told = f"{row.backend} {row.label}: {STANDING_WORDS[row.standing]}"
    fill = color if row.front else look.colors["paper"]
    style = f'fill="{fill}" stroke="{color}" stroke-width="2"'
    title = f"<title>{escape(plain(told))}</title>"
    x, y = point.x, point.y
    if is_mixed(row.precision):
        mark = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{_DOT}" {style}>{title}</circle>'
    else:
        mark = f'<path d="M{x - _DOT:.1f},{y - _DOT:.1f}h10v10h-10z" {style}>{title}</path>'
    if row.id == chosen:
        mark += f'<circle cx="{x:.1f}" cy="{y:.1f}" r="10" fill="none" stroke="{color}"/>'
    return mark


def _labels(
    look: Look, points: Sequence[_Point], stairs: Sequence[_Point], plot: _Box
) -> Iterator[str]:
    """The name of each point beside it, the usual precisions first; on the line of the front where nothing else is
    free, and not at all where even that is taken."""
    several = len({point.row.backend for point in points}) > 1
    taken = [_Box(p.x - 9, p.y - 7, p.x + 9, p.y + 7) for p in points]
    lines = []
    for one, two in pairwise(stairs):
        lines.append(_Box(one.x, one.y - 1, two.x, one.y + 1))
        lines.append(_Box(two.x - 1, min(one.y, two.y), two.x + 1, max(one.y, two.y)))
    for point in sorted(points, key=lambda each: (is_mixed(each.row.precision), each.x)):
        name = _name(point.row, several)
        free = [
            box
            for box in _places(point, len(name) * _LETTER)
            if box.within(plot) and not any(box.meets(other) for other in taken)
        ]
        clear = [box for box in free if not any(box.meets(line) for line in lines)]
        for box in (clear or free)[:1]:
            taken.append(box)
            yield _text(look, box.left + 1, box.bottom - 3, name, halo=True)


def _places(point: _Point, wide: float) -> Iterator[_Box]:
    """Where a name may stand, the best place first."""
    for dy in (-8, 16, 4, -22, 30):
        for dx in (10, -10 - wide):
            x, y = point.x + dx, point.y + dy
            yield _Box(x - 1, y - 10, x + wide + 1, y + 3)


def _name(row: SearchRow, several: bool) -> str:
    name = str(row.precision)
    if is_mixed(name) and row.groups is not None:
        name = f"{row.int8_groups} of {row.groups} int8"
        if row.split.get("w4"):
            name = f"{row.split['w4']} of {row.groups} w4"
    name = " ".join([name, *row.settings])
    return f"{row.backend} {name}" if several else name


# The groups


def _groups(report: SearchReport, look: Look) -> _Part:
    """Bars in the order of the network: width is the time of a group in fp32, height its damage in int8, form and
    colour its precision in the map; below them what int8 saves or costs."""
    units = [unit for unit in report.exploration.units if not unit.joiner]
    total = sum(unit.fp32_us for unit in units)
    if not units or not total:
        return _Part("", 0.0)
    found = report.explained_map
    top, words = 0.0, []
    for line in wrapped_text(_told(report), look.letters):
        top += _LINE
        words.append(_text(look, _MARGIN, top - 3, line))
    key, high = _key(look, _groups_key(look, units, found))
    top += high + 24
    damages = [unit.damage or 0.0 for unit in units]
    worst = max((each for each in damages if each < REFUSED_DAMAGE), default=0.0) or 1.0
    most = max(abs(_gain(unit)) for unit in units) or 1.0
    x, room = _MARGIN, look.width - 2 * _MARGIN
    gap = min(_MAX_GAP, 0.2 * room / len(units))
    free = room - (_MIN_BAR + gap) * len(units)
    marks = [
        *words,
        f'<g transform="translate(0,{top - high - 20:.1f})">{key}</g>',
        _text(look, _MARGIN, top + 6, f"output error in int8, at most {worst:.2g}", soft=True),
    ]
    base = top + 14 + _BARS
    for unit in units:
        wide = _MIN_BAR + max(0.0, free) * unit.fp32_us / total
        tall = _BARS * min(1.0, (unit.damage or 0.0) / worst)
        marks += _bar(look, unit, found, (x, base, wide, tall))
        marks.append(_saved(look, unit, (x, base + 6, wide, _GAINS * abs(_gain(unit)) / most)))
        x += wide + gap
    below = base + 6 + _GAINS + 14
    told = f"kernel time that int8 saves or costs, at most {format_ns(most * 1e3)}"
    marks.append(_text(look, _MARGIN, below, told, soft=True))
    return _Part("".join(marks), below + 8)


def _told(report: SearchReport) -> str:
    told = "Groups in the order of the network, each as wide as its time in fp32"
    if count := len(report.exploration.recurrent):
        told += (
            f" ({count} recurrent layer{'s are' if count > 1 else ' is'} not drawn: no static int8)"
        )
    if report.explained is None:
        return f"{told}; no map is offered, so none is drawn"
    whose = "the choice" if _is_choice(report) else "which is not offered"
    return f"{told}, in {report.explained} ({whose})"


def _is_choice(report: SearchReport) -> bool:
    return report.deployment is not None and report.deployment.precision == report.explained


def _groups_key(
    look: Look, units: Sequence[UnitFacts], found: PrecisionMap | None
) -> list[tuple[str, str, str]]:
    kinds = dict.fromkeys(_kind(unit, found) for unit in units)
    words = {"w8": "weights of 8 bits", "w4": "weights of 4 bits", "fp32": "stays in fp32"}
    entries = {
        kind: ("outline" if kind == "fp32" else "fill", look.series[number], words.get(kind, kind))
        for kind, number in _SERIES.items()
    }
    entries[""] = ("fill", "struck", "no map")
    gains = [("fill", "good", "int8 saves time")] * any(_gain(unit) > 0 for unit in units)
    gains += [("fill", "bad", "int8 costs time")] * any(_gain(unit) < 0 for unit in units)
    return [*(entries[kind] for kind in kinds), *gains]


def _kind(unit: UnitFacts, found: PrecisionMap | None) -> str:
    """The precision of a group in the map; "" without one."""
    if found is None:
        return ""
    return found.groups.get(unit.name, "fp32")


def _gain(unit: UnitFacts) -> float:
    return unit.fp32_us - unit.int8_us


def _saved(look: Look, unit: UnitFacts, place: tuple[float, float, float, float]) -> str:
    x, top, wide, high = place
    color = look.colors["good" if _gain(unit) > 0 else "bad"]
    return f'<path d="M{x:.1f},{top:.1f}h{wide:.1f}v{high:.1f}h{-wide:.1f}z" fill="{color}"/>'


def _bar(
    look: Look,
    unit: UnitFacts,
    found: PrecisionMap | None,
    place: tuple[float, float, float, float],
) -> Iterator[str]:
    x, bottom, wide, high = place
    high, kind = max(high, 4.0), _kind(unit, found)
    title = f"<title>{escape(plain(unit_words(unit, kind)))}</title>"
    if kind == "fp32":
        inset = min(1.0, wide / 4)
        style = f'fill="none" stroke="{look.series[1]}" stroke-width="{2 * inset:.2f}"'
        x, wide, high, bottom = x + inset, wide - 2 * inset, high - 2 * inset, bottom - inset
    else:
        style = f'fill="{look.series[_SERIES[kind]] if kind else look.colors["struck"]}"'
    yield (
        f'<rect x="{x:.1f}" y="{bottom - high:.1f}" width="{wide:.1f}" height="{high:.1f}" '
        f"{style}>{title}</rect>"
    )


def unit_words(unit: UnitFacts, kind: str) -> str:
    """A group in one line: its precision in the map, its times, and its damage."""
    times = f"fp32 {format_ns(unit.fp32_us * 1e3)}, int8 {format_ns(unit.int8_us * 1e3)}"
    times = times if unit.timed else "times unknown"
    damage = (
        "" if unit.damage is None else f", output error {output_error(unit.damage, REFUSED_DAMAGE)}"
    )
    return f"{unit.op} {unit.name}{f' ({kind})' if kind else ''}: {times}{damage}"


# Parts


def _rule(x: float, y: float, to_x: float, to_y: float, color: str, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return f'<path d="M{x:.1f},{y:.1f}L{to_x:.1f},{to_y:.1f}" fill="none" stroke="{color}"{dash}/>'


def _text(
    look: Look, x: float, y: float, words: str, *, title: bool = False, soft: bool = False,
    anchor: str = "start", halo: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="600"' if title else ""
    end = "" if anchor == "start" else f' text-anchor="{anchor}"'
    if halo:  # what lies below does not run through the letters
        end += f' stroke="{look.colors["paper"]}" stroke-width="3" paint-order="stroke"'
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{_TITLE if title else _FONT:g}"{end}{weight} '
        f'fill="{look.colors["soft" if soft else "ink"]}">{escape(plain(words))}</text>'
    )
