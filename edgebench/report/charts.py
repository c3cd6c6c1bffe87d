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
    for chart in (
        ecdf,
        histogram,
        series,
        memory,
        energy,
        roofline,
        scaling,
        cost_fit,
        rates,
        budgets,
    ):
        specs[chart.__name__] = chart()
    return specs


def _chart(description: str, **parts: Any) -> Spec:
    size = {"width": slot("width"), "height": slot("height")}
    return {"$schema": SCHEMA, "description": description, **size, **parts}


def _number(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "quantitative", **more}


def _name(field: str, **more: Any) -> Spec:
    return {"field": field, "type": "nominal", **more}


def _only(field: str, *values: str) -> list[Spec]:
    return [{"filter": {"field": field, "oneOf": list(values)}}]


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
    spans = [_span(at, up, x_low, x_high, "x", axes.x, axes.y, axes.color)]
    if y_low:
        spans.append(_span(at, up, y_low, y_high, "y", axes.x, axes.y, axes.color))
    floors = _floors(axes.y) if y == "quality" else []
    words = (
        _placed() if interactive else [_words(side, axes.x, axes.y) for side in ("left", "right")]
    )
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
    legend = {"columns": slot("legend_columns"), "symbolOpacity": 1}
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
            legend={
                **legend,
                "values": slot("shape_shown"),
                "symbolFillColor": slot("soft"),
                "symbolStrokeColor": slot("soft"),
            },
        ),
    )


def _ranked(axes: _Axes) -> Spec:
    return {
        "name": "ranked",
        "data": {"name": "points"},
        "transform": _only("front", "yes", "no", "undecided"),
        "mark": {
            "type": "point",
            "filled": True,
            "size": 130,
            "strokeWidth": 1.5,
            "cursor": "pointer",
        },
        "encoding": {
            "x": axes.x,
            "y": axes.y,
            "color": axes.color,
            "shape": axes.shape,
            "opacity": {
                "condition": {"test": {"field": "on_front", "equal": True}, "value": 1},
                "value": 0.4,
            },
        },
    }


def _struck(axes: _Axes) -> Spec:
    return {
        "name": "struck",
        "data": {"name": "points"},
        "transform": _only("front", "struck"),
        "mark": {"type": "point", "filled": False, "size": 110, "strokeWidth": 1.8, "cursor": "pointer",
                 "strokeJoin": "round", "opacity": 1, "fill": "transparent",
                 "tooltip": {"content": "data"}},  # else a layer without a selection feels no pointer
        "encoding": {"x": axes.x, "y": axes.y, "color": axes.color, "shape": axes.shape},
    }  # fmt: skip


def _front_lines(axes: _Axes) -> Spec:
    return {
        "data": {"name": "lines"},
        "mark": {"type": "line", "strokeWidth": 1.5, "strokeDash": [5, 4], "color": slot("soft"),
                 "opacity": 0.9},
        "encoding": {
            "x": {**axes.x, "field": "x"},
            "y": {**axes.y, "field": "y"},
            "detail": {"field": "device"},
            "order": {"field": "order", "type": "quantitative"},
        },
    }  # fmt: skip


def _focus_ring(axes: _Axes) -> Spec:
    """Around the row that the page's table points at."""
    return {
        "name": "focus",
        "data": {"name": "points"},
        "transform": [{"filter": "datum.row === focus"}],
        "mark": {"type": "point", "shape": "circle", "filled": False, "size": 460,
                 "strokeWidth": 2.5, "color": slot("accent")},
        "encoding": {"x": axes.x, "y": axes.y},
    }  # fmt: skip


def _floors(y_axis: Spec) -> list[Spec]:
    """The limits of the quality that is drawn, as lines with their names."""
    y = {**y_axis, "field": "bound"}
    return [
        {
            "name": "floors",
            "data": {"name": "floors"},
            "mark": {"type": "rule", "strokeWidth": 1.5, "color": slot("bad"), "opacity": 0.75},
            "encoding": {"y": y},
        },
        {
            "name": "floor_names",
            "data": {"name": "floors"},
            "mark": {"type": "text", "align": "right", "baseline": "bottom", "dx": -3, "dy": -3,
                     "fontSize": 11, "color": slot("bad")},
            "encoding": {"y": y, "x": {"value": "width"}, "text": {"field": "words"}},
        },
    ]  # fmt: skip


def _placed() -> list[Spec]:
    """Names of points and lines to them, where html/labels.js found room: in pixels, on no scale."""

    def pixels(field: str) -> Spec:
        return {"field": field, "type": "quantitative", "scale": None, "axis": None}

    return [
        {
            "name": "leaders",
            "data": {"name": "leaders"},
            "mark": {"type": "rule", "strokeWidth": 1, "color": slot("soft"), "opacity": 0.7},
            "encoding": {"x": pixels("x"), "y": pixels("y"), "x2": {"field": "x2"},
                         "y2": {"field": "y2"}},
        },
        *(
            {
                "name": name,
                "data": {"name": "labels"},
                "mark": {"type": "text", "align": "left", "baseline": "middle", **stroke,
                         "fontWeight": {"expr": "datum.pick ? 700 : 400"}},
                "encoding": {"x": pixels("x"), "y": pixels("y"), "text": {"field": "words"}},
            }
            for name, stroke in (
                ("halos", {"stroke": slot("paper"), "strokeWidth": 7, "strokeJoin": "round"}),
                ("labels", {}),
            )
        ),
    ]  # fmt: skip


def _words(side: str, x_axis: Spec, y_axis: Spec) -> Spec:
    """The names of the choices and of the front, on the side where there is room."""
    return {
        "data": {"name": "points"},
        "transform": [
            {"filter": {"field": "named", "equal": True}},
            {"filter": {"field": "side", "equal": side}},
        ],
        "mark": {
            "type": "text",
            "align": "right" if side == "left" else "left",
            "dx": -11 if side == "left" else 11,
            "dy": -11,
            "fontWeight": {"expr": "datum.pick ? 600 : 400"},
            "limit": 240,
        },
        "encoding": {"x": x_axis, "y": y_axis, "text": {"field": "label"}},
    }


def _span(
    at: str, up: str, low: str, high: str, way: str, x_axis: Spec, y_axis: Spec, color: Spec
) -> Spec:
    """The interval of each point along one axis."""
    ends = {
        "x": {"x": {**x_axis, "field": low}, "x2": {"field": high}, "y": y_axis},
        "y": {"y": {**y_axis, "field": low}, "y2": {"field": high}, "x": x_axis},
    }[way]
    return {
        "data": {"name": "points"},
        "transform": [
            *_only("front", "yes", "no", "undecided"),
            {"filter": {"field": low, "valid": True}},
        ],
        "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.55},
        "encoding": {**ends, "color": color},
    }


def _by_label() -> Spec:
    return _name(
        "label",
        title=None,
        scale={"domain": slot("label_domain"), "range": slot("label_range")},
        legend={"columns": slot("legend_columns")},
    )


def ecdf() -> Spec:
    """Share of queries that took at most so long."""
    marks = [{"share": 0.5, "name": "p50"}, {"share": 0.9, "name": "p90"},
             {"share": 0.99, "name": "p99"}]  # fmt: skip
    share = _number(
        "share", title="share of queries done", axis={"format": "%"}, scale={"domain": [0, 1]}
    )
    return _chart(
        "Cumulative distribution of the latency of the chosen rows.",
        layer=[
            {
                "data": {"values": marks},
                "mark": {"type": "rule", "strokeDash": [2, 4], "color": slot("line")},
                "encoding": {"y": share},
            },
            {
                "data": {"name": "ecdf"},
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
                "encoding": {
                    "x": _number(
                        "ms",
                        title="latency (ms)",
                        scale=slot("x_scale"),
                    ),
                    "y": share,
                    "color": _by_label(),
                    "strokeDash": _name(
                        "label",
                        title=None,
                        legend={"columns": slot("legend_columns")},
                        scale={"domain": slot("label_domain"), "range": DASHES},
                    ),
                },
            },
            {
                "data": {"values": marks},
                "mark": {"type": "text", "align": "right", "baseline": "bottom", "dy": -2, "dx": -2,
                         "fontSize": 10, "color": slot("soft")},
                "encoding": {"y": share, "x": {"value": "width"}, "text": {"field": "name"}},
            },
        ],
    )  # fmt: skip


def histogram() -> Spec:
    """The histogram of each row's samples; one panel per row, on one axis."""
    panel = {
        "width": slot("width"),
        "height": 54,
        "mark": {"type": "bar", "binSpacing": 0.5},
        "encoding": {
            "x": _number(
                "low_ms",
                title="latency (ms)",
                scale=slot("x_scale"),
            ),
            "x2": {"field": "high_ms"},
            "y": _number("share", title=None, axis=None, stack=None),
            "y2": {"datum": 0},
            "color": {**_by_label(), "legend": None},
        },
    }
    return {
        "$schema": SCHEMA,
        "description": "Histogram of the latency of each chosen row.",
        "data": {"name": "bins"},
        "facet": {
            "row": _name(
                "label",
                title=None,
                sort=None,  # as the data come: an order by names would compile to expressions of them
                header={"labelOrient": "top", "labelAnchor": "start", "labelPadding": 2},
            )
        },
        "spacing": 10,
        "resolve": {"scale": {"y": "independent"}},
        "spec": panel,
    }


def series() -> Spec:
    """Latency over time: processes one after the other, warm-ups and disturbances marked."""
    seconds = _number("s", title="seconds, processes one after the other", scale={"nice": False})
    ms = _number("ms", title="latency (ms)", scale={"zero": False, "nice": True})
    bands = {
        "data": {"name": "bands"},
        "mark": {"type": "rect", "opacity": 0.3},
        "encoding": {
            "x": {**seconds, "field": "start_s"},
            "x2": {"field": "end_s"},
            "color": _name(
                "kind",
                title=None,
                scale={
                    "domain": ["warm-up", "disturbed"],
                    "range": [slot("struck"), slot("bad")],
                },
            ),
        },
    }
    return _chart(
        "Latency of one row over time, with warm-up and throttling marked.",
        resolve={"scale": {"color": "independent"}},
        layer=[
            bands,
            {
                "data": {"name": "series"},
                "mark": {"type": "point", "filled": True, "size": 9, "opacity": 0.65,
                         "color": slot("accent")},
                "encoding": {"x": seconds, "y": {**ms, "field": "largest"}},
            },
            {
                "data": {"name": "series"},
                "mark": {"type": "line", "strokeWidth": 1.6, "color": slot("accent")},
                "encoding": {"x": seconds, "y": {**ms, "field": "median"},
                             "detail": {"field": "process"}},
            },
            {
                "data": {"name": "processes"},
                "mark": {"type": "text", "align": "left", "baseline": "top", "dx": 2,
                         "color": slot("soft"), "fontSize": 11},
                "encoding": {"x": {**seconds, "field": "start_s"}, "y": {"value": 0},
                             "text": {"field": "name"}},
            },
        ],
    )  # fmt: skip


_ROWS = {"title": None, "sort": None, "axis": {"labelLimit": slot("label_limit"), "domain": False, "ticks": False,
                                               "titleAngle": 0}}  # fmt: skip


def memory() -> Spec:
    """Peak of each row, and the process's own memory on the way to it."""
    label = _name("label", **_ROWS)
    return _chart(
        "Peak memory of each row, with the process's own memory after loading and warm-up.",
        layer=[
            {
                "data": {"name": "memory"},
                "mark": {"type": "bar", "height": {"band": 0.5}, "color": slot("accent"),
                         "opacity": 0.55},
                "encoding": {"y": label, "x": _number("memory_mib", title="peak memory (MiB)")},
            },
            {
                "data": {"name": "memory_parts"},
                "mark": {"type": "point", "filled": False, "size": 70, "strokeWidth": 1.6,
                         "color": slot("ink")},
                "encoding": {
                    "y": label,
                    "x": _number("mib"),
                    "shape": _name("part", title=None,
                        legend={"columns": slot("legend_columns")},
                                   scale={"domain": ["own, model loaded", "own, warmed up"],
                                          "range": ["triangle-up", "circle"]}),
                },
            },
        ],
    )  # fmt: skip


def energy() -> Spec:
    """Energy per inference with its uncertainty; nothing else looks like a measured value."""
    label = _name("label", **_ROWS)
    return _chart(
        "Energy per inference of each row with its uncertainty, by how it was obtained.",
        layer=[
            {
                "data": {"name": "energy"},
                "mark": {"type": "bar", "height": {"band": 0.5}, "strokeWidth": 1.5},
                "encoding": {
                    "y": label,
                    "x": _number("energy_mj", title="energy per inference (mJ)"),
                    "stroke": {"value": slot("accent")},
                    "fill": {
                        "condition": {
                            "test": {"field": "kind", "oneOf": MEASURED},
                            "value": slot("accent"),
                        },
                        "value": "transparent",
                    },
                },
            },
            {
                "data": {"name": "energy"},
                "transform": [{"filter": {"field": "energy_low_mj", "valid": True}}],
                "mark": {"type": "rule", "strokeWidth": 1.6, "color": slot("ink")},
                "encoding": {
                    "y": label,
                    "x": _number("energy_low_mj"),
                    "x2": {"field": "energy_high_mj"},
                },
            },
        ],
    )


def roofline() -> Spec:
    """The roofline chart: what the device can reach, and what the rows reach of it."""
    log = {"type": "log", "nice": False}
    x = _number("x", title="operations per byte", scale=log)
    y = _number("y", title="GOP/s", scale=log)
    return _chart(
        "Roofline: rows against the measured peaks of the device.",
        layer=[
            {
                "data": {"name": "roofs"},
                "mark": {"type": "line", "strokeWidth": 2, "color": slot("soft")},
                "encoding": {"x": x, "y": y, "detail": {"field": "roof"},
                             "order": {"field": "order", "type": "quantitative"}},
            },
            {
                "data": {"name": "roof_names"},
                "mark": {
                    "type": "text", "align": "right", "baseline": "bottom", "dy": -4,
                    "color": slot("soft"),
                },
                "encoding": {"x": x, "y": y, "text": {"field": "name"}},
            },
            {
                "data": {"name": "roof_points"},
                "mark": {"type": "point", "filled": True, "size": 90},
                "encoding": {"x": x, "y": y, "color": _by_label()},
            },
        ],
    )  # fmt: skip


def rates() -> Spec:
    """Latency against the rate of queries: p99 with its upper bound, p50, the bound that was asked for, the knee."""
    x = _number("rate_per_s", title="queries per second", scale=slot("x_scale"))
    ms = _number("p99_ms", title="latency (ms)", scale=slot("y_scale"))
    verdict = _name(
        "verdict",
        title=None,
        scale={
            "domain": ["kept", "over", "open", "untold"],
            "range": [slot("accent"), slot("bad"), slot("struck"), slot("struck")],
        },
    )
    of_rates = {"data": {"name": "rates"}}
    return _chart(
        "Latency against the rate of queries: where p99 begins to rise is the knee. The record holds every number.",
        layer=[
            {
                "data": {"name": "bound"},
                "mark": {"type": "rule", "strokeDash": [6, 4], "color": slot("soft")},
                "encoding": {"y": {**ms, "field": "ms"}},
            },
            {
                **of_rates,
                "mark": {"type": "line", "strokeWidth": 1.4, "color": slot("soft"), "opacity": 0.6},
                "encoding": {"x": x, "y": {**ms, "field": "p50_ms"}},
            },
            {
                **of_rates,
                "mark": {"type": "line", "strokeWidth": 2, "color": slot("accent")},
                "encoding": {"x": x, "y": ms},
            },
            {
                **of_rates,
                "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
                "encoding": {"x": x, "y": ms, "y2": {"field": "upper_ms"}, "color": verdict},
            },
            {
                **of_rates,
                "mark": {"type": "point", "filled": True, "size": 80},
                "encoding": {"x": x, "y": ms, "color": verdict},
            },
            {
                "data": {"name": "knee"},
                "mark": {"type": "text", "align": "left", "dx": 8, "dy": 14, "text": "highest within the bound"},
                "encoding": {"x": x, "y": ms},
            },
        ],
    )  # fmt: skip


def budgets() -> Spec:
    """Speed against a budget of memory, what was read from storage beside it, and the budgets that nothing fits into."""
    x = _number("budget_mib", title="memory budget (MiB)", scale=slot("x_scale"))
    ms = _number("ms", title=slot("y_title"), scale=slot("y_scale"))
    read = _number("read_mib", title=slot("read_title"), axis={"orient": "right"})
    of_budgets = {"data": {"name": "budgets"}}
    return _chart(
        "Speed against the memory that the process was held to; bars are what it read from storage meanwhile. "
        "The table holds every number.",
        layer=[
            {
                **of_budgets,
                "mark": {"type": "bar", "width": 14, "color": slot("soft"), "opacity": 0.35},
                "encoding": {"x": x, "y": read},
            },
            {
                "layer": [
                    {
                        "data": {"name": "misfits"},
                        "mark": {"type": "rule", "strokeDash": [6, 4], "color": slot("bad")},
                        "encoding": {"x": x},
                    },
                    {
                        **of_budgets,
                        "mark": {"type": "line", "strokeWidth": 2, "color": slot("accent")},
                        "encoding": {"x": x, "y": ms},
                    },
                    {
                        **of_budgets,
                        "mark": {"type": "point", "filled": True, "size": 80, "color": slot("accent")},
                        "encoding": {"x": x, "y": ms},
                    },
                ]
            },
        ],
        resolve={"scale": {"y": "independent"}},
    )  # fmt: skip


def scaling() -> Spec:
    """Accuracy over time: token budgets and votes with intervals, and the front as a staircase."""
    x = _number("seconds", title=slot("x_title"), scale=slot("x_scale"))
    y = _number("accuracy", title="accuracy of the vote, more is better", scale={"domain": [0, 1]})

    def by_front(on: float, off: float) -> Spec:
        return {"condition": {"test": {"field": "front", "equal": True}, "value": on}, "value": off}

    dashes = _name(
        "label",
        title=None,
        legend={"columns": slot("legend_columns")},
        scale={"domain": slot("label_domain"), "range": DASHES},
    )
    votes = _name(
        "votes",
        title="votes",
        scale={"domain": slot("shape_domain"), "range": SHAPES},
        legend={"columns": 8, "symbolFillColor": slot("soft"), "symbolStrokeColor": slot("soft")},
    )
    return _chart(
        "Accuracy of the vote against the time to the last vote, for token budgets and numbers of "
        "votes, with 95 % intervals; a stepped line is the front. The table holds every number.",
        layer=[
            {
                "data": {"name": "scaling"},
                "mark": {"type": "rule", "strokeWidth": 1.5},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "accuracy_low"},
                    "y2": {"field": "accuracy_high"},
                    "color": _by_label(),
                    "opacity": by_front(0.6, 0.22),
                },
            },
            {
                "data": {"name": "scaling_front"},
                "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 2},
                "encoding": {"x": x, "y": y, "color": _by_label(), "strokeDash": dashes},
            },
            {
                "data": {"name": "scaling"},
                "mark": {"type": "point", "filled": True, "size": 95},
                "encoding": {"x": x, "y": y, "color": _by_label(), "shape": votes,
                             "opacity": by_front(1, 0.4)},
            },
            {
                "data": {"name": "scaling"},
                "transform": [{"filter": {"field": "front", "equal": True}}],
                "mark": {"type": "text", "align": "left", "dx": 9, "dy": 11, "fontWeight": 600},
                "encoding": {"x": x, "y": y, "text": {"field": "name"}},
            },
        ],
    )  # fmt: skip


def cost_fit() -> Spec:
    """Measured times over lengths, the fit, and what it leaves over."""
    x = _number("tokens", title=slot("x_title"), scale={"zero": False, "nice": True})
    y = _number("measured_ms", title="ms", scale={"zero": False, "nice": True})
    return _chart(
        "Measured times over lengths and the line fitted to them; thin lines are the residuals.",
        layer=[
            {
                "data": {"name": "cost"},
                "mark": {"type": "rule", "strokeWidth": 1, "color": slot("bad")},
                "encoding": {"x": x, "y": y, "y2": {"field": "fitted_ms"}},
            },
            {
                "data": {"name": "cost"},
                "mark": {"type": "line", "strokeWidth": 1.8, "color": slot("ink")},
                "encoding": {"x": x, "y": {**y, "field": "fitted_ms"}},
            },
            {
                "data": {"name": "cost"},
                "mark": {"type": "point", "filled": True, "size": 34, "color": slot("accent")},
                "encoding": {"x": x, "y": y},
            },
        ],
    )
