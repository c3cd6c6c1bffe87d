"""Colours of a report, for the page's CSS and its charts alike: one place, two themes.

Series colours were searched for: any two of them are at least 0.09 apart in OKLab, for eyes of every
kind (protanopia, deuteranopia and tritanopia as Machado 2009 simulates them), and each stands 3:1 or
more against its background; tests hold both. Charts never rely on them alone: shapes, dashes and
labels say the same. On the page colours are custom properties, so that the theme changes without
anything being drawn anew.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SANS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'DejaVu Sans', sans-serif"

THEMES: dict[str, dict[str, str]] = {
    "light": {
        "paper": "#ffffff",  # cards and charts
        "desk": "#f5f6f8",  # behind them
        "ink": "#14181f",
        "soft": "#525c69",  # second-rank text
        "line": "#d9dee5",
        "edge": "#868f9b",  # of what can be operated
        "grid": "#eaedf1",
        "accent": "#0b5cad",
        "good": "#0a6b4b",
        "warn": "#8a4b00",
        "bad": "#b3261e",
        "struck": "#7b8490",
    },
    "dark": {
        "paper": "#171b21",
        "desk": "#0e1116",
        "ink": "#e9edf2",
        "soft": "#a3adba",
        "line": "#333b46",
        "edge": "#6d7886",
        "grid": "#262d36",
        "accent": "#7ab8ff",
        "good": "#5fd0a2",
        "warn": "#f0b357",
        "bad": "#ff8f85",
        "struck": "#808b99",
    },
}

#: As many as there are backends, so that none looks like another.
SERIES: dict[str, list[str]] = {
    "light": ["#085dc7", "#e25d1d", "#209c69", "#600d97", "#c865b5", "#b91d1a", "#0d485b", "#6b6167",
              "#382c0c", "#0a1137", "#000000"],
    "dark": ["#268bfc", "#fc9c23", "#53dba9", "#c0acfd", "#c951b4", "#fff67a", "#affbff", "#606c68",
             "#d40c1a", "#a6917b", "#0555fa"],
}  # fmt: skip

#: Shapes of precisions, beside the colours of backends.
SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right"]


def css() -> str:
    """The colours as custom properties; the explicit choice of a reader goes before the system's."""
    light, dark = _properties("light"), _properties("dark")
    return (
        f":root{{color-scheme:light;{light}}}"
        f"@media (prefers-color-scheme:dark){{:root:not([data-theme=light])"
        f"{{color-scheme:dark;{dark}}}}}"
        f":root[data-theme=dark]{{color-scheme:dark;{dark}}}"
        f"@media print{{:root:root{{color-scheme:light;{light}}}}}"
    )


def _colors(theme: str) -> dict[str, str]:
    """The colours of a theme by the names of their custom properties."""
    return THEMES[theme] | {f"series-{n}": color for n, color in enumerate(SERIES[theme])}


def _properties(theme: str) -> str:
    return "".join(f"--{name}:{value};" for name, value in _colors(theme).items())


def named() -> tuple[dict[str, str], list[str]]:
    """Colours and series by the names of their custom properties."""
    colors = {name: f"var(--{name})" for name in THEMES["light"]}
    return colors, [f"var(--series-{number})" for number in range(len(SERIES["light"]))]


def in_colors(drawing: str, theme: str) -> str:
    """A drawing whose colours are named, with those of a theme in their places."""
    colors = _colors(theme)
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colors[found[1]], drawing)


def config(theme: str) -> dict[str, Any]:
    """Vega-Lite's configuration in the colours of a theme."""
    return configured(THEMES[theme], SERIES[theme])


def configured(c: Mapping[str, str], series: Sequence[str]) -> dict[str, Any]:
    """Vega-Lite's configuration: quiet axes, no frames, text in these colours."""
    return {
        "aria": False,  # generated descriptions are expressions made of titles; the page has its own
        "background": c["paper"],
        "font": SANS,
        "padding": 4,
        "view": {"stroke": None},
        "title": {"color": c["ink"], "subtitleColor": c["soft"], "anchor": "start",
                  "fontSize": 14, "fontWeight": 600, "subtitleFontSize": 12, "offset": 14},
        "axis": {
            "domainColor": c["line"], "tickColor": c["line"], "gridColor": c["grid"],
            "labelColor": c["soft"], "titleColor": c["soft"], "labelFontSize": 12,
            "titleFontSize": 12, "titleFontWeight": 500, "labelPadding": 6, "titlePadding": 10,
            "tickSize": 4, "labelLimit": 200, "tickCount": 6,
        },
        "axisY": {"domain": False, "ticks": False, "titleAngle": 0, "titleAlign": "left",
                  "titleAnchor": "end", "titleX": 0, "titleY": -12},
        "header": {"labelColor": c["ink"], "titleColor": c["soft"], "labelFontSize": 12,
                   "labelLimit": 260},
        "legend": {"labelColor": c["ink"], "titleColor": c["soft"], "labelFontSize": 12,
                   "titleFontSize": 12, "titleFontWeight": 500, "labelLimit": 220,
                   "symbolSize": 90, "orient": "bottom", "titleOrient": "left", "columns": 3,
                   "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 6}}},
        "rule": {"color": c["soft"]},
        "text": {"color": c["ink"], "fontSize": 12},
        "range": {"category": series},
    }  # fmt: skip
