"""Formats values of metrics for people: three digits, in the unit that keeps them short."""

from __future__ import annotations

import math

from edgebench.analysis.frontier_report import Value
from edgebench.render.table_wording import half_width
from edgebench.units import format_bytes, format_ns, format_rate


def quantity(value: float, unit: str) -> str:
    """ "6.27 ms", "122 MiB", "268/s", "1.31 mJ", "61.5 C", "0.885"; the unit is that of a metric."""
    if unit == "ns":
        return format_ns(value)
    if unit == "bytes":
        return format_bytes(value)
    if unit == "per_s":
        return f"{format_rate(value)}/s"
    if unit == "per_J":
        return f"{value:.3g}/J"
    if unit == "C":
        return f"{value:.3g} C"
    if unit in ("J", "W", "J_s"):
        return _prefixed(value, unit)
    if 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.3f}"


def with_width(value: Value | None, unit: str) -> str:
    """ "6.27 ms ±14%"; "-" where it is unknown; "(?)" behind a value without an interval."""
    if value is None:
        return "-"
    words = quantity(value.value, unit)
    if value.low is None or value.high is None:
        return f"{words} (?)"
    if value.low == value.high:
        return words
    return f"{words} {half_width(value.value, value.low, value.high)}"


def times(ratio: float) -> str:
    """A factor: "1.07x", "12x"."""
    return f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.0f}x"


def chance(probability: float) -> str:
    """ "97%", never rounded to certainty: ">99%", "<1%"."""
    if probability >= 1:
        return "100%"
    if probability <= 0:
        return "0%"
    percent = probability * 100
    if percent > 99:
        return ">99%"
    return "<1%" if percent < 1 else f"{math.floor(percent + 0.5)}%"


def change(share: float) -> str:
    """A relative change with its sign: "+180%", "-4.1%"."""
    percent = share * 100
    return f"{percent:+.0f}%" if abs(percent) >= 9.95 else f"{percent:+.1f}%"


def _prefixed(value: float, unit: str) -> str:
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"
