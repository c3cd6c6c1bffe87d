"""Formats values of metrics for people: three digits, in the unit that keeps them short, with their interval."""

from __future__ import annotations

from collections.abc import Callable

from edgebench.analysis.frontier_report import Value
from edgebench.units import format_bytes, format_ns, format_rate, format_si

UNKNOWN = "-"


def estimate_mark(kind: str) -> str:
    """ "~" before joules that are an estimate (`kind` of the energy)."""
    return "~" if kind == "modelled" else ""


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
        return format_si(value, unit)
    if 0 < abs(value) < 1e-3:
        return f"{value:.3g}"
    return f"{value:.0f}" if value == round(value) and abs(value) >= 10 else f"{value:.3f}"


def told(value: float | None, form: Callable[[float], str]) -> str:
    """The value in that form, "-" where it is unknown."""
    return UNKNOWN if value is None else form(value)


def measured(value: float | None, low: float | None, high: float | None, unit: str) -> str:
    """ "7.31 ms ±0.8%", without the interval where there is none, "-" where the value is unknown."""
    if value is None:
        return UNKNOWN
    return " ".join(filter(None, (quantity(value, unit), half_width(value, low, high))))


def with_width(value: Value | None, unit: str) -> str:
    """Formats as `measured` does, but with "(?)" behind a value without an interval, and nothing behind an exact one."""
    if value is None:
        return UNKNOWN
    if value.low is None or value.high is None:
        return f"{quantity(value.value, unit)} (?)"
    if value.low == value.high:
        return quantity(value.value, unit)
    return measured(value.value, value.low, value.high, unit)


def half_width(value: float | None, low: float | None, high: float | None) -> str:
    """ "±0.8%", or nothing where there is no interval."""
    if not value or low is None or high is None:
        return ""
    return f"±{percent((high - low) / (2 * value))}"


def percent(share: float) -> str:
    """A half-width: "0.8%", "12%"."""
    if share >= 0.9995:
        return ">99%"
    return f"{share * 100:.1f}%" if share < 0.0995 else f"{share * 100:.0f}%"


def change(share: float) -> str:
    """A relative change with its sign: "+180%", "-4.1%"."""
    percent = share * 100
    return f"{percent:+.0f}%" if abs(percent) >= 9.95 else f"{percent:+.1f}%"
