"""The report's plots as one picture, PNG or SVG, drawn by vl-convert without a browser."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from edgebench.errors import UsageError
from edgebench.report import charts, theme, vegalite
from edgebench.report.charts import Spec
from edgebench.report.report_groups import YS
from edgebench.report.report_model import Group, RateCurve, Report, ReportRow
from edgebench.scaling.scaling_rows import ScalingGroup

_INDEPENDENT = {
    "scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"}
}
_MAX_GROUPS = 8
_MAX_LINES = 6
_WIDTHS = (430, 300)
_HEIGHT = 250
_SPREAD = 12  # largest over smallest value from which an axis is logarithmic


def svg(report: Report) -> str:
    return vegalite.svg(picture(report), theme.config("light"))


def png(report: Report) -> bytes:
    return vegalite.png(picture(report), theme.config("light"))


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
            "subtitle": [line for text in words for line in _wrapped(text)],
        },
        "hconcat": parts,
        "spacing": 40,
        "resolve": _INDEPENDENT,
    }


def _wrapped(text: str, width: int = 110) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, break_on_hyphens=False)


def _tradeoff(report: Report, group: Group) -> Spec:
    y = next((line.y for line in group.lines), group.ys[0])
    points = _points(report, group, y)
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
        "floors": charts.floors(group.demands, group.quality_metric) if y == "quality" else [],
        "lines": [
            {"x": x, "y": value, "order": order, "device": line.device}
            for line in group.lines
            if line.y == y
            for order, (x, value) in enumerate(line.points)
        ],
    }
    return _drawn(
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
    return _drawn(
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
    drawn = _drawn(
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
        "subtitle": [line for text in words for line in _wrapped(text)],
    }
    return {**drawn, "title": title}


def _rates(curve: RateCurve) -> Spec:
    """Latency against the rate of queries, of one search."""
    points = [msgspec.to_builtins(point) for point in curve.points]
    times = [
        each for p in curve.points for each in (p.p50_ms, p.p99_ms, p.upper_ms) if each is not None
    ]
    drawn = _drawn(
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


def _palette(count: int) -> list[str]:
    series, other = theme.SERIES["light"], theme.THEMES["light"]["struck"]
    return [series[i] if i < len(series) else other for i in range(count)]


def _drawn(template: Spec, datasets: Mapping[str, Any], **slots: Any) -> Spec:
    colors = {**theme.THEMES["light"], "accent": theme.SERIES["light"][0]}
    spec: Spec = _inlined(charts.fill(template, {"height": _HEIGHT, **colors, **slots}), datasets)
    del spec["$schema"]
    return spec


def _inlined(spec: Any, datasets: Mapping[str, Any]) -> Any:
    """Named data put in its place: several charts of a picture use the same names."""
    if isinstance(spec, list):
        return [_inlined(part, datasets) for part in spec]
    if not isinstance(spec, dict):
        return spec
    return {
        key: {"values": datasets[part["name"]]}
        if key == "data" and part.keys() == {"name"}
        else _inlined(part, datasets)
        for key, part in spec.items()
    }
