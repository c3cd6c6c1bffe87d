"""The charts of a report as Vega-Lite: one template serves the page and the pictures.

A template names its data (`"data": {"name": ...}`) and leaves slots (`{"slot": "y_title"}`) for what
depends on the rows; `fill` puts them in, here for pictures and in html/charts.js for the page. Values
of result files enter as data, titles and scale domains only: never as field names or expressions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from edgebench.analysis.table_types import Demand
from edgebench.report.theme import SHAPES

Spec = dict[str, Any]
#: Of lines, beside their colours.
DASHES = [[1, 0], [7, 3], [2, 2], [9, 3, 2, 3], [4, 4], [12, 4], [1, 3], [6, 2, 2, 2]]
#: Kinds of energy that a meter read.
MEASURED = ["measured_external", "measured_rail", "vendor_counter"]
_LIMITS = {"higher": "floor", "lower": "ceiling"}
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"

X_FIELDS = {
    "latency": ("latency_ms", "latency_low_ms", "latency_high_ms"),
    "rate": ("rate_per_s", "rate_low_per_s", "rate_high_per_s"),
}
Y_FIELDS = {
    "quality": ("quality", "", ""),
    "memory": ("memory_mib", "memory_low_mib", "memory_high_mib"),
    "energy": ("energy_mj", "energy_low_mj", "energy_high_mj"),
}


def slot(name: str) -> Spec:
    """A place for something that depends on the rows."""
    return {"slot": name}


def scale_of(values: Sequence[float], spread: float, *, padding: int = 0) -> Spec:
    """A scale that these values fill; logarithmic from `spread` on (largest over smallest).

    The counterpart is `scaleOf` in html/charts.js.
    """
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if low == high:
        margin = abs(low) / 10 or 1.0
        # Clamped: an interval that is wider must not make the picture larger.
        return {"domain": [low - margin, high + margin], "clamp": True}
    if low > 0 and high / low > spread:
        return {"type": "log", "nice": False, "padding": padding}
    return {"type": "linear", "zero": False, "nice": bool(padding), "padding": padding}


def floors(demands: Sequence[Demand], metric: str) -> list[dict[str, Any]]:
    """The demands on the metric that is drawn, with their names."""
    return [
        {"bound": demand.bound, "words": f"{_LIMITS[demand.better]} {demand.bound:g}"}
        for demand in demands
        if demand.metric == metric
    ]


def fill(spec: Any, slots: Mapping[str, Any]) -> Any:
    """The template with its slots filled; the counterpart is `fill` in html/charts.js."""
    if isinstance(spec, list):
        return [fill(part, slots) for part in spec]
    if not isinstance(spec, dict):
        return spec
    if spec.keys() == {"slot"}:
        return slots[spec["slot"]]
    return {key: fill(part, slots) for key, part in spec.items()}


def templates() -> dict[str, Spec]:
    """Every chart by its name: `tradeoff.X.Y`, `ecdf`, `histogram`, `series`, `memory`, ..."""
    specs = {f"tradeoff.{x}.{y}": tradeoff(x, y) for x in X_FIELDS for y in Y_FIELDS}
    charts = (ecdf, histogram, series, memory, energy, roofline, scaling, cost_fit, rates, budgets)
    return specs | {chart.__name__: chart() for chart in charts}


def _chart(description: str, **parts: Any) -> Spec:
    size = {"width": slot("width"), "height": slot("height")}
    return {"$schema": SCHEMA, "description": description, **size, **parts}


def _mark(kind: str, **look: Any) -> Spec:
    return {"type": kind, **look}


def _layer(
    data: str, mark: Spec, *, name: str = "", transform: Sequence[Spec] = (), **encoding: Any
) -> Spec:
    """A layer of the chart over the data of that name; the page finds a layer by its own `name`."""
    named: Spec = {"name": name} if name else {}
    steps: Spec = {"transform": [*transform]} if transform else {}
    return {**named, "data": {"name": data}, **steps, "mark": mark, "encoding": encoding}


def _number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def _name(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", **more}


def _only(field: str, *values: str) -> list[Spec]:
    return [{"filter": {"field": field, "oneOf": list(values)}}]


def _is(field: str) -> Spec:
    return {"field": field, "equal": True}


def _known(field: str) -> Spec:
    return {"filter": {"field": field, "valid": True}}


_ORDER = {"field": "order", "type": "quantitative"}
_RANKED = ("yes", "no", "undecided")  # fronts of rows that compete
_LEGEND: Spec = {"columns": slot("legend_columns")}


class _Axes(NamedTuple):
    """The encodings that all layers of the trade-off share."""

    x: Spec
    y: Spec
    color: Spec
    shape: Spec


def tradeoff(x: str, y: str, *, interactive: bool = True) -> Spec:
    """Rows by two objectives, with intervals, the front line, and what is struck."""
    at, x_low, x_high = X_FIELDS[x]
    up, y_low, y_high = Y_FIELDS[y]
    axes = _axes(at, up)
    points = _ranked(axes)
    spans = [_span(axes, "x", x_low, x_high)]
    if y_low:
        spans.append(_span(axes, "y", y_low, y_high))
    floors = _floors(axes.y) if y == "quality" else []
    words = _placed() if interactive else [_words(side, axes) for side in ("left", "right")]
    spec = _chart(
        "Scatter plot of the rows by two objectives with 95 % intervals; a dashed line joins the "
        "best known values. The table below holds every number.",
        layer=[*floors, _front_lines(axes), *spans, _struck(axes), points, *words],
    )
    if interactive:
        points["params"] = [{"name": "brush", "select": {"type": "interval"}}]
        spec["params"] = [{"name": "focus", "value": -1}]
        spec["layer"].append(_focus_ring(axes))
    return spec


def _axes(at: str, up: str) -> _Axes:
    legend = {**_LEGEND, "symbolOpacity": 1}
    grey = {"symbolFillColor": slot("soft"), "symbolStrokeColor": slot("soft")}
    return _Axes(
        x=_number(at, title=slot("x_title"), scale=slot("x_scale")),
        y=_number(up, title=slot("y_title"), scale=slot("y_scale")),
        color=_name(
            "color",
            title=slot("color_title"),
            scale={"domain": slot("color_domain"), "range": slot("color_range")},
            legend={**legend, "values": slot("color_shown")},
        ),
        shape=_name(
            "precision",
            title="precision",
            scale={"domain": slot("shape_domain"), "range": SHAPES},
            legend={**legend, "values": slot("shape_shown"), **grey},
        ),
    )


def _ranked(axes: _Axes) -> Spec:
    """The points of rows that compete, those off the front pale."""
    opacity = {"condition": {"test": _is("on_front"), "value": 1}, "value": 0.4}
    return _layer(
        "points",
        _mark("point", filled=True, size=130, strokeWidth=1.5, cursor="pointer"),
        name="ranked",
        transform=_only("front", *_RANKED),
        x=axes.x, y=axes.y, color=axes.color, shape=axes.shape, opacity=opacity,
    )  # fmt: skip


def _struck(axes: _Axes) -> Spec:
    return _layer(
        "points",
        _mark(
            "point", filled=False, size=110, strokeWidth=1.8, cursor="pointer", strokeJoin="round", opacity=1,
            fill="transparent", tooltip={"content": "data"},  # else a layer without a selection feels no pointer
        ),
        name="struck",
        transform=_only("front", "struck"),
        x=axes.x, y=axes.y, color=axes.color, shape=axes.shape,
    )  # fmt: skip


def _front_lines(axes: _Axes) -> Spec:
    return _layer(
        "lines",
        _mark("line", strokeWidth=1.5, strokeDash=[5, 4], color=slot("soft"), opacity=0.9),
        x={**axes.x, "field": "x"},
        y={**axes.y, "field": "y"},
        detail={"field": "device"},
        order=_ORDER,
    )


def _focus_ring(axes: _Axes) -> Spec:
    """Around the row that the page's table points at."""
    ring = _mark(
        "point", shape="circle", filled=False, size=460, strokeWidth=2.5, color=slot("accent")
    )
    at = [{"filter": "datum.row === focus"}]
    return _layer("points", ring, name="focus", transform=at, x=axes.x, y=axes.y)


def _floors(y_axis: Spec) -> list[Spec]:
    """The limits of the quality that is drawn, as lines with their names."""
    y = {**y_axis, "field": "bound"}
    line = _mark("rule", strokeWidth=1.5, color=slot("bad"), opacity=0.75)
    words = _mark(
        "text", align="right", baseline="bottom", dx=-3, dy=-3, fontSize=11, color=slot("bad")
    )
    return [
        _layer("floors", line, name="floors", y=y),
        _layer("floors", words, name="floor_names", y=y, x={"value": "width"}, text={"field": "words"}),
    ]  # fmt: skip


def _placed() -> list[Spec]:
    """Names of points and lines to them, where html/labels.js found room: in pixels, on no scale."""
    x, y = (_number(field, scale=None, axis=None) for field in ("x", "y"))
    leader = _mark("rule", strokeWidth=1, color=slot("soft"), opacity=0.7)
    halo = {"stroke": slot("paper"), "strokeWidth": 7, "strokeJoin": "round"}
    weight = {"fontWeight": {"expr": "datum.pick ? 700 : 400"}}
    names = (
        (name, _mark("text", align="left", baseline="middle", **stroke, **weight))
        for name, stroke in (("halos", halo), ("labels", {}))
    )
    return [
        _layer("leaders", leader, name="leaders", x=x, y=y, x2={"field": "x2"}, y2={"field": "y2"}),
        *(_layer("labels", mark, name=name, x=x, y=y, text={"field": "words"}) for name, mark in names),
    ]  # fmt: skip


def _words(side: str, axes: _Axes) -> Spec:
    """The names of the choices and of the front, on the side where there is room."""
    return _layer(
        "points",
        _mark(
            "text",
            align="right" if side == "left" else "left",
            dx=-11 if side == "left" else 11,
            dy=-11,
            fontWeight={"expr": "datum.pick ? 600 : 400"},
            limit=240,
        ),
        transform=[{"filter": _is("named")}, {"filter": {"field": "side", "equal": side}}],
        x=axes.x,
        y=axes.y,
        text={"field": "label"},
    )


def _span(axes: _Axes, way: str, low: str, high: str) -> Spec:
    """The interval of each point along one axis."""
    ends: dict[str, Any] = {
        "x": {"x": {**axes.x, "field": low}, "x2": {"field": high}, "y": axes.y},
        "y": {"y": {**axes.y, "field": low}, "y2": {"field": high}, "x": axes.x},
    }[way]
    bar = _mark("rule", strokeWidth=1.5, opacity=0.55)
    known = [*_only("front", *_RANKED), _known(low)]
    return _layer("points", bar, transform=known, **ends, color=axes.color)


def _by_label() -> Spec:
    scale = {"domain": slot("label_domain"), "range": slot("label_range")}
    return _name("label", title=None, scale=scale, legend=_LEGEND)


def _dashes() -> Spec:
    scale = {"domain": slot("label_domain"), "range": DASHES}
    return _name("label", title=None, legend=_LEGEND, scale=scale)


def ecdf() -> Spec:
    """Share of queries that took at most so long."""
    percentiles = {
        "values": [
            {"share": 0.5, "name": "p50"}, {"share": 0.9, "name": "p90"}, {"share": 0.99, "name": "p99"}
        ]
    }  # fmt: skip
    share = _number(
        "share", title="share of queries done", axis={"format": "%"}, scale={"domain": [0, 1]}
    )
    rule = _mark("rule", strokeDash=[2, 4], color=slot("line"))
    names = _mark(
        "text", align="right", baseline="bottom", dy=-2, dx=-2, fontSize=10, color=slot("soft")
    )
    text = {"y": share, "x": {"value": "width"}, "text": {"field": "name"}}
    return _chart(
        "Cumulative distribution of the latency of the chosen rows.",
        layer=[
            {"data": percentiles, "mark": rule, "encoding": {"y": share}},
            _layer(
                "ecdf",
                _mark("line", interpolate="step-after", strokeWidth=2),
                x=_number("ms", title="latency (ms)", scale=slot("x_scale")),
                y=share,
                color=_by_label(),
                strokeDash=_dashes(),
            ),
            {"data": percentiles, "mark": names, "encoding": text},
        ],
    )


def histogram() -> Spec:
    """The histogram of each row's samples; one panel per row, on one axis."""
    panel = {
        "width": slot("width"),
        "height": 54,
        "mark": _mark("bar", binSpacing=0.5),
        "encoding": {
            "x": _number("low_ms", title="latency (ms)", scale=slot("x_scale")),
            "x2": {"field": "high_ms"},
            "y": _number("share", title=None, axis=None, stack=None),
            "y2": {"datum": 0},
            "color": {**_by_label(), "legend": None},
        },
    }
    header = {"labelOrient": "top", "labelAnchor": "start", "labelPadding": 2}
    return {
        "$schema": SCHEMA,
        "description": "Histogram of the latency of each chosen row.",
        "data": {"name": "bins"},
        # Rows as the data come: an order by names would compile to expressions of them.
        "facet": {"row": _name("label", title=None, sort=None, header=header)},
        "spacing": 10,
        "resolve": {"scale": {"y": "independent"}},
        "spec": panel,
    }


def series() -> Spec:
    """Latency over time: processes one after the other, warm-ups and disturbances marked."""
    seconds = _number("s", title="seconds, processes one after the other", scale={"nice": False})
    start = {**seconds, "field": "start_s"}
    ms = _number("ms", title="latency (ms)", scale={"zero": False, "nice": True})
    kinds = {"domain": ["warm-up", "disturbed"], "range": [slot("struck"), slot("bad")]}
    accent = {"color": slot("accent")}
    names = _mark("text", align="left", baseline="top", dx=2, color=slot("soft"), fontSize=11)
    return _chart(
        "Latency of one row over time, with warm-up and throttling marked.",
        resolve={"scale": {"color": "independent"}},
        layer=[
            _layer(
                "bands",
                _mark("rect", opacity=0.3),
                x=start,
                x2={"field": "end_s"},
                color=_name("kind", title=None, scale=kinds),
            ),
            _layer(
                "series",
                _mark("point", filled=True, size=9, opacity=0.65, **accent),
                x=seconds,
                y={**ms, "field": "largest"},
            ),
            _layer(
                "series",
                _mark("line", strokeWidth=1.6, **accent),
                x=seconds,
                y={**ms, "field": "median"},
                detail={"field": "process"},
            ),
            _layer("processes", names, x=start, y={"value": 0}, text={"field": "name"}),
        ],
    )


def _label_rows() -> Spec:
    axis = {"labelLimit": slot("label_limit"), "domain": False, "ticks": False, "titleAngle": 0}
    return _name("label", title=None, sort=None, axis=axis)


def memory() -> Spec:
    """Peak of each row, and the process's own memory on the way to it."""
    label = _label_rows()
    parts = {"domain": ["own, model loaded", "own, warmed up"], "range": ["triangle-up", "circle"]}
    return _chart(
        "Peak memory of each row, with the process's own memory after loading and warm-up.",
        layer=[
            _layer(
                "memory",
                _mark("bar", height={"band": 0.5}, color=slot("accent"), opacity=0.55),
                y=label,
                x=_number("memory_mib", title="peak memory (MiB)"),
            ),
            _layer(
                "memory_parts",
                _mark("point", filled=False, size=70, strokeWidth=1.6, color=slot("ink")),
                y=label,
                x=_number("mib"),
                shape=_name("part", title=None, legend=_LEGEND, scale=parts),
            ),
        ],
    )


def energy() -> Spec:
    """Energy per inference with its uncertainty; nothing else looks like a measured value."""
    label, accent = _label_rows(), {"value": slot("accent")}
    measured = {"test": {"field": "kind", "oneOf": MEASURED}, **accent}
    return _chart(
        "Energy per inference of each row with its uncertainty, by how it was obtained.",
        layer=[
            _layer(
                "energy",
                _mark("bar", height={"band": 0.5}, strokeWidth=1.5),
                y=label,
                x=_number("energy_mj", title="energy per inference (mJ)"),
                stroke=accent,
                fill={"condition": measured, "value": "transparent"},
            ),
            _layer(
                "energy",
                _mark("rule", strokeWidth=1.6, color=slot("ink")),
                transform=[_known("energy_low_mj")],
                y=label,
                x=_number("energy_low_mj"),
                x2={"field": "energy_high_mj"},
            ),
        ],
    )


def roofline() -> Spec:
    """The roofline chart: what the device can reach, and what the rows reach of it."""
    log = {"type": "log", "nice": False}
    x = _number("x", title="operations per byte", scale=log)
    y = _number("y", title="GOP/s", scale=log)
    soft = {"color": slot("soft")}
    names = _mark("text", align="right", baseline="bottom", dy=-4, **soft)
    return _chart(
        "Roofline: rows against the measured peaks of the device.",
        layer=[
            _layer(
                "roofs",
                _mark("line", strokeWidth=2, **soft),
                x=x,
                y=y,
                detail={"field": "roof"},
                order=_ORDER,
            ),
            _layer("roof_names", names, x=x, y=y, text={"field": "name"}),
            _layer("roof_points", _mark("point", filled=True, size=90), x=x, y=y, color=_by_label()),
        ],
    )  # fmt: skip


def rates() -> Spec:
    """Latency against the rate of queries: p99 with its upper bound, p50, the bound that was asked for, the knee."""
    x = _number("rate_per_s", title="queries per second", scale=slot("x_scale"))
    ms = _number("p99_ms", title="latency (ms)", scale=slot("y_scale"))
    colors = [slot("accent"), slot("bad"), slot("struck"), slot("struck")]
    scale = {"domain": ["kept", "over", "open", "untold"], "range": colors}
    verdict = _name("verdict", title=None, scale=scale)
    bound = _mark("rule", strokeDash=[6, 4], color=slot("soft"))
    pale = _mark("line", strokeWidth=1.4, color=slot("soft"), opacity=0.6)
    bar = _mark("rule", strokeWidth=1.5, opacity=0.6)
    knee = _mark("text", align="left", dx=8, dy=14, text="highest within the bound")
    return _chart(
        "Latency against the rate of queries: where p99 begins to rise is the knee. The record holds every number.",
        layer=[
            _layer("bound", bound, y={**ms, "field": "ms"}),
            _layer("rates", pale, x=x, y={**ms, "field": "p50_ms"}),
            _layer("rates", _mark("line", strokeWidth=2, color=slot("accent")), x=x, y=ms),
            _layer("rates", bar, x=x, y=ms, y2={"field": "upper_ms"}, color=verdict),
            _layer("rates", _mark("point", filled=True, size=80), x=x, y=ms, color=verdict),
            _layer("knee", knee, x=x, y=ms),
        ],
    )


def budgets() -> Spec:
    """Speed against a budget of memory, what was read from storage beside it, and the budgets that nothing fits into."""
    x = _number("budget_mib", title="memory budget (MiB)", scale=slot("x_scale"))
    ms = _number("ms", title=slot("y_title"), scale=slot("y_scale"))
    read = _number("read_mib", title=slot("read_title"), axis={"orient": "right"})
    bar = _mark("bar", width=14, color=slot("soft"), opacity=0.35)
    line = _mark("line", strokeWidth=2, color=slot("accent"))
    point = _mark("point", filled=True, size=80, color=slot("accent"))
    speed = [
        _layer("misfits", _mark("rule", strokeDash=[6, 4], color=slot("bad")), x=x),
        _layer("budgets", line, x=x, y=ms),
        _layer("budgets", point, x=x, y=ms),
    ]
    return _chart(
        "Speed against the memory that the process was held to; bars are what it read from storage meanwhile. "
        "The table holds every number.",
        layer=[_layer("budgets", bar, x=x, y=read), {"layer": speed}],
        resolve={"scale": {"y": "independent"}},
    )


def scaling() -> Spec:
    """Accuracy over time: token budgets and votes with intervals, and the front as a staircase."""
    x = _number("seconds", title=slot("x_title"), scale=slot("x_scale"))
    y = _number("accuracy", title="accuracy of the vote, more is better", scale={"domain": [0, 1]})

    def by_front(on: float, off: float) -> Spec:
        return {"condition": {"test": _is("front"), "value": on}, "value": off}

    votes = _name(
        "votes",
        title="votes",
        scale={"domain": slot("shape_domain"), "range": SHAPES},
        legend={"columns": 8, "symbolFillColor": slot("soft"), "symbolStrokeColor": slot("soft")},
    )
    stairs = _mark("line", interpolate="step-after", strokeWidth=2)
    return _chart(
        "Accuracy of the vote against the time to the last vote, for token budgets and numbers of "
        "votes, with 95 % intervals; a stepped line is the front. The table holds every number.",
        layer=[
            _layer(
                "scaling",
                _mark("rule", strokeWidth=1.5),
                x=x,
                y={**y, "field": "accuracy_low"},
                y2={"field": "accuracy_high"},
                color=_by_label(),
                opacity=by_front(0.6, 0.22),
            ),
            _layer("scaling_front", stairs, x=x, y=y, color=_by_label(), strokeDash=_dashes()),
            _layer(
                "scaling",
                _mark("point", filled=True, size=95),
                x=x,
                y=y,
                color=_by_label(),
                shape=votes,
                opacity=by_front(1, 0.4),
            ),
            _layer(
                "scaling",
                _mark("text", align="left", dx=9, dy=11, fontWeight=600),
                transform=[{"filter": _is("front")}],
                x=x,
                y=y,
                text={"field": "name"},
            ),
        ],
    )


def cost_fit() -> Spec:
    """Measured times over lengths, the fit, and what it leaves over."""
    x = _number("tokens", title=slot("x_title"), scale={"zero": False, "nice": True})
    y = _number("measured_ms", title="ms", scale={"zero": False, "nice": True})
    left_over = _mark("rule", strokeWidth=1, color=slot("bad"))
    line = _mark("line", strokeWidth=1.8, color=slot("ink"))
    point = _mark("point", filled=True, size=34, color=slot("accent"))
    return _chart(
        "Measured times over lengths and the line fitted to them; thin lines are the residuals.",
        layer=[
            _layer("cost", left_over, x=x, y=y, y2={"field": "fitted_ms"}),
            _layer("cost", line, x=x, y={**y, "field": "fitted_ms"}),
            _layer("cost", point, x=x, y=y),
        ],
    )
