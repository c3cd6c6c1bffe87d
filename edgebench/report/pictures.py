"""The report's plots as one picture, PNG or SVG, drawn by vl-convert without a browser."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from textwrap import wrap
from typing import Any, TypeAlias

import msgspec

from edgebench.errors import UsageError
from edgebench.report import charts, theme, vegalite
from edgebench.report.charts import Spec
from edgebench.report.html_escape import esc
from edgebench.report.report_groups import YS
from edgebench.report.report_model import BudgetCurve, Group, RateCurve, Report, ReportRow
from edgebench.scaling.scaling_rows import ScalingGroup

_INDEPENDENT = {
    "scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"}
}
_MAX_GROUPS = 8
_MAX_LINES = 6
_LINE = 110  # characters of a subtitle
_WIDTHS = (430, 300)
_HEIGHT = 250
_MARGIN = 18  # pixels between the outermost points and the edge
_LETTER = 6.6  # pixels of one letter of a name
_SIDES = {
    "left": ("left", "right"),
    "right": ("right", "left"),
}  # of a name, the first that is free
Box: TypeAlias = tuple[float, float, float, float]  # left, top, right, bottom
Fields: TypeAlias = tuple[str, str, str]  # of a value and of the ends of its interval
_SPREAD = 12  # largest over smallest value from which an axis is logarithmic


def svg(report: Report) -> str:
    """The charts, and below them the drawings of searches."""
    drawn = vegalite.svg(picture(report), theme.config("light"))
    return _stacked([drawn, *_searches(report)]) if report.searches else drawn


def png(report: Report) -> bytes:
    if report.searches:
        return vegalite.png_of(svg(report))
    return vegalite.png(picture(report), theme.config("light"))


def _searches(report: Report) -> Iterator[str]:
    """The wide drawings of each search below its title, in light colours: files know no colours by name."""
    for search in report.searches:
        yield (
            f'<svg width="860" height="40" font-family="{esc(theme.SANS)}"><text x="16" y="28" font-size="16" '
            f'font-weight="600" fill="{theme.THEMES["light"]["ink"]}">{esc(search.title)}</text></svg>'
        )
        yield from (theme.in_colors(wide, "light") for wide, _ in search.pictures)


def _stacked(drawings: Sequence[str]) -> str:
    """The drawings one below the other."""
    sizes = [_size(drawing) for drawing in drawings]
    width, height = max(wide for wide, _ in sizes), sum(high for _, high in sizes)
    tops = accumulate((high for _, high in sizes), initial=0.0)
    body = "".join(
        f'<g transform="translate(0,{top:g})">{drawing}</g>'
        for top, drawing in zip(tops, drawings, strict=False)
    )
    paper = theme.THEMES["light"]["paper"]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="{width:g}" '
        f'height="{height:g}" viewBox="0 0 {width:g} {height:g}"><rect width="100%" height="100%" fill="{paper}"/>{body}</svg>'
    )


def _size(drawing: str) -> tuple[float, float]:
    """Width and height that the first element states."""
    head = drawing[: drawing.index(">")]
    wide, high = (
        float(re.findall(rf'\b{name}="([\d.]+)', head)[0]) for name in ("width", "height")
    )
    return wide, high


def picture(report: Report) -> Spec:
    """Each group in a line: its trade-off, and how the latency of its best rows is distributed."""
    groups = [group for group in report.groups if _drawable(report, group)]
    if not groups:
        raise UsageError("there is nothing to draw: no row has two objectives")
    if len(groups) > _MAX_GROUPS:
        raise UsageError(
            f"{len(groups)} workloads and scenarios do not fit in a picture",
            f"choose up to {_MAX_GROUPS} with --workload NAME, or write html",
        )
    return {
        "$schema": charts.SCHEMA,
        "vconcat": [
            *(_line(report, group) for group in groups),
            *(_scaling(report, group) for group in report.scalings),
            *(_rates(curve) for curve in report.rate_curves),
            *(_budgets(curve) for curve in report.budget_curves),
        ],
        "spacing": 34,
        "resolve": _INDEPENDENT,
    }


def _drawable(report: Report, group: Group) -> bool:
    return any(_points(report, group, y) for y in group.ys)


def _line(report: Report, group: Group) -> Spec:
    parts = [_tradeoff(report, group)]
    sampled = _sampled(report, group)
    if sampled:
        parts.append(_ecdf(report, sampled))
    words = [decision.text for decision in group.decisions]
    return {
        "title": {
            "text": f"{group.name} · {group.scenario}",
            "subtitle": [
                line for text in words for line in wrap(text, _LINE, break_on_hyphens=False)
            ],
        },
        "hconcat": parts,
        "spacing": 40,
        "resolve": _INDEPENDENT,
    }


def _tradeoff(report: Report, group: Group) -> Spec:
    y = next((line.y for line in group.lines), group.ys[0])
    limits = charts.floors(group.demands, group.quality_metric) if y == "quality" else []
    fields = charts.X_FIELDS[group.x], charts.Y_FIELDS[y]
    points = _named(_points(report, group, y), *fields, [limit["bound"] for limit in limits])
    shared = "device" if len(report.devices) > 1 else "backend"
    colors = sorted({str(getattr(row, shared)) for row in report.rows})
    at = "rate_per_s" if group.x == "rate" else "latency_ms"
    titles = {
        "quality": f"{group.quality_metric}, {group.quality_better} is better",
        "memory": "peak memory (MiB), less is better",
        "energy": "energy per inference (mJ), less is better",
    }
    datasets = {
        "points": [{**point, "color": point[shared]} for point in points],
        "floors": limits,
        "lines": [
            {"x": x, "y": value, "order": order, "device": line.device}
            for line in group.lines
            if line.y == y
            for order, (x, value) in enumerate(line.points)
        ],
    }
    return _fill_template(
        charts.tradeoff(group.x, y, interactive=False),
        datasets,
        width=_WIDTHS[0],
        x_scale=charts.scale_of([point[at] for point in points], _SPREAD, padding=18),
        y_scale=charts.scale_of(
            [point[YS[y][0]] for point in points]
            + [floor["bound"] for floor in datasets["floors"]],
            math.inf,
            padding=18,
        ),
        x_title=group.x_title,
        y_title=titles[y],
        color_title=shared,
        color_domain=colors,
        color_range=_palette(len(colors)),
        color_shown=[color for color in colors if color in {point[shared] for point in points}],
        shape_domain=sorted({row.precision for row in report.rows}),
        shape_shown=sorted({point["precision"] for point in points}),
        legend_columns=4,
    )


def _named(
    points: list[dict[str, Any]], x_fields: Fields, y_fields: Fields, floors: Sequence[float]
) -> list[dict[str, Any]]:
    """The points with `named`: of the choices, then of the front as far as names meet no other name and no point."""
    across = _pixels(points, x_fields, (), _WIDTHS[0], _SPREAD)
    down = _pixels(points, y_fields, floors, _HEIGHT, math.inf)
    places = [(x, _HEIGHT - y) for x, y in zip(across, down, strict=True)]
    taken = [(x - 9.0, y - 9.0, x + 9.0, y + 9.0) for x, y in places]
    sides: dict[int, str] = {}
    for index in sorted(range(len(points)), key=lambda at: (not points[at]["pick"], across[at])):
        point = points[index]
        others = taken[:index] + taken[index + 1 :]
        ways = {
            side: _name_box(*places[index], point["label"], side) for side in _SIDES[point["side"]]
        }
        free = [
            side for side, box in ways.items() if not any(_meet(box, other) for other in others)
        ]
        side = next(iter(free), point["side"] if point["pick"] else "")
        if side and (point["pick"] or point["on_front"]):
            sides[index] = side
            taken.append(ways[side])
    return [
        {**point, "named": index in sides, "side": sides.get(index, point["side"])}
        for index, point in enumerate(points)
    ]


def _pixels(
    points: Sequence[Mapping[str, Any]],
    fields: Fields,
    others: Sequence[float],
    size: float,
    spread: float,
) -> list[float]:
    """About where points stand on an axis of that size, as `charts.scale_of` lays it out."""
    values = [float(point[fields[0]]) for point in points]
    ends = [point[name] for point in points for name in fields[1:] if point.get(name) is not None]
    low, high = min([*values, *ends, *others]), max([*values, *ends, *others])
    if low > 0 and high / low > spread:
        low, high, values = math.log(low), math.log(high), [math.log(value) for value in values]
    span = (high - low) or 1.0
    return [_MARGIN + (value - low) / span * (size - 2 * _MARGIN) for value in values]


def _name_box(x: float, y: float, name: str, side: str) -> Box:
    width = _LETTER * len(name)
    left = x - 11 - width if side == "left" else x + 11
    return left, y - 19, left + width, y - 4


def _meet(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _points(report: Report, group: Group, y: str) -> list[dict[str, Any]]:
    at, up = ("rate_per_s" if group.x == "rate" else "latency_ms"), YS[y][0]
    rows = [report.rows[index] for index in group.rows]
    rows = [
        row
        for row in rows
        if getattr(row.numbers, at) is not None and getattr(row.numbers, up) is not None
    ]
    values = [getattr(row.numbers, at) for row in rows]
    middle = (min(values) + max(values)) / 2 if values else 0.0
    return [
        {
            **msgspec.to_builtins(row.numbers),
            "side": "left" if getattr(row.numbers, at) > middle else "right",
            "label": row.label,
            "device": row.device,
            "backend": row.backend,
            "precision": row.precision,
            "front": row.front,
            "on_front": row.on_front,
            "pick": row.pick,
        }
        for row in rows
    ]


def _sampled(report: Report, group: Group) -> list[ReportRow]:
    """The choices, then the front, then the others, as far as their samples are kept."""
    rows = [report.rows[index] for index in group.rows]
    order = sorted(rows, key=lambda row: (not row.pick, row.front != "yes", row.front == "struck"))
    return [row for row in order if row.detail is not None][:_MAX_LINES]


def _ecdf(report: Report, rows: Sequence[ReportRow]) -> Spec:
    several = len(report.devices) > 1
    names = [f"{row.label} · {row.device}" if several else row.label for row in rows]
    values: list[dict[str, Any]] = [
        {"ms": ms, "share": share, "label": name}
        for row, name in zip(rows, names, strict=True)
        if row.detail is not None
        for ms, share in zip(row.detail.ecdf_ms, report.probabilities, strict=True)
    ]
    return _fill_template(
        charts.ecdf(),
        {"ecdf": values},
        width=_WIDTHS[1],
        x_scale=charts.scale_of([value["ms"] for value in values], _SPREAD),
        label_domain=names,
        label_range=_palette(len(names)),
        legend_columns=1,
    )


def _scaling(report: Report, group: ScalingGroup) -> Spec:
    """Accuracy over time, with the picks in words."""
    points = [(cell.label, point) for cell in group.cells for point in cell.points]
    last = max(point.seconds for _, point in points)
    front = []
    for cell in group.cells:
        steps = [point for point in cell.points if point.front]
        ends = [(point.seconds, point.accuracy) for point in steps]
        ends += [(last, steps[-1].accuracy)] if steps else []
        front += [{"seconds": x, "accuracy": y, "label": cell.label} for x, y in ends]
    labels = [cell.label for cell in group.cells]
    where = f" · {group.device}" if len(report.devices) > 1 else ""
    drawn = _fill_template(
        charts.scaling(),
        {
            "scaling": [
                {**msgspec.to_builtins(point), "votes": str(point.votes), "label": label}
                for label, point in points
            ],
            "scaling_front": front,
        },
        width=_WIDTHS[0] + _WIDTHS[1],
        x_scale=charts.scale_of([point.seconds for _, point in points], _SPREAD / 2, padding=24),
        x_title=group.x_title,
        label_domain=labels,
        label_range=_palette(len(labels)),
        legend_columns=2,
        shape_domain=[str(votes) for votes in sorted({point.votes for _, point in points})],
    )
    words = [f"within {pick.within}: {pick.text}" for pick in group.picks]
    title = {
        "text": f"{group.name}{where} · tokens x votes",
        "subtitle": [line for text in words for line in wrap(text, _LINE, break_on_hyphens=False)],
    }
    return {**drawn, "title": title}


def _rates(curve: RateCurve) -> Spec:
    """Latency against the rate of queries, of one search."""
    points = [msgspec.to_builtins(point) for point in curve.points]
    times = [
        each for p in curve.points for each in (p.p50_ms, p.p99_ms, p.upper_ms) if each is not None
    ]
    drawn = _fill_template(
        charts.rates(),
        {
            "rates": points,
            "bound": [{"ms": curve.bound_ms}],
            "knee": [each for each in points if each["rate_per_s"] == curve.knee_per_s],
        },
        width=_WIDTHS[0] + _WIDTHS[1],
        x_scale=charts.scale_of([p.rate_per_s for p in curve.points], _SPREAD, padding=16),
        y_scale=charts.scale_of([curve.bound_ms, *times], _SPREAD, padding=16),
    )
    return {**drawn, "title": {"text": curve.name, "subtitle": [curve.words]}}


def _budgets(curve: BudgetCurve) -> Spec:
    """Speed against the memory that a process was held to."""
    fitting = [point for point in curve.points if point.ms is not None]
    drawn = _fill_template(
        charts.budgets(),
        {
            "budgets": [msgspec.to_builtins(point) for point in fitting],
            "misfits": [msgspec.to_builtins(p) for p in curve.points if p.fits is False],
        },
        width=_WIDTHS[0] + _WIDTHS[1],
        x_scale=charts.scale_of([p.budget_mib for p in curve.points], 4, padding=16),
        y_scale=charts.scale_of([p.ms for p in fitting if p.ms is not None], _SPREAD, padding=16),
        y_title=curve.y_title,
        read_title=f"read from storage a {curve.unit} (MiB)",
    )
    return {**drawn, "title": {"text": curve.name, "subtitle": [curve.words]}}


def _palette(count: int) -> list[str]:
    series, other = theme.SERIES["light"], theme.THEMES["light"]["struck"]
    return [series[i] if i < len(series) else other for i in range(count)]


def _fill_template(template: Spec, datasets: Mapping[str, Any], **slots: Any) -> Spec:
    colors = {**theme.THEMES["light"], "accent": theme.SERIES["light"][0]}
    spec: Spec = _inlined(charts.fill(template, {"height": _HEIGHT, **colors, **slots}), datasets)
    del spec["$schema"]
    return spec


def _inlined(spec: Any, datasets: Mapping[str, Any]) -> Any:
    """Puts named data in its place, and drops the names of layers: several charts of a picture use the same ones, and
    marks of one name would all show the points of one chart."""
    if isinstance(spec, list):
        return [_inlined(part, datasets) for part in spec]
    if not isinstance(spec, dict):
        return spec
    return {
        key: {"values": datasets[part["name"]]}
        if key == "data" and part.keys() == {"name"}
        else _inlined(part, datasets)
        for key, part in spec.items()
        if not (key == "name" and "mark" in spec)
    }
