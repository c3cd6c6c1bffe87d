"""Parses quantities of the command line, and formats them for tables."""

from __future__ import annotations

import math
import re

from edgebench.errors import UsageError

_NUMBER = re.compile(r"\s*([0-9]*\.?[0-9]+(?:e[+-]?[0-9]+)?)\s*([a-zA-Zµ%]*)\s*", re.IGNORECASE)
_DURATION_S = {
    "": 1.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}
_BYTES = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
_SHARE = {"": 1.0, "%": 0.01}


def _parse(text: str, units: dict[str, float], what: str, example: str) -> float:
    match = _NUMBER.fullmatch(text)
    if match is None or match[2].lower() not in units:
        known = ", ".join(unit for unit in units if unit)
        raise UsageError(f"{text!r} is not a {what}", f"write it like {example} (units: {known})")
    value = float(match[1]) * units[match[2].lower()]
    if math.isinf(value):
        raise UsageError(f"{text!r} is too large", f"write it like {example}")
    return value


def parse_duration_s(text: str) -> float:
    """Seconds from "60s", "500ms", "2min" or a bare number of seconds. Raises UsageError."""
    return _parse(text, _DURATION_S, "duration", "60s")


def parse_bytes(text: str) -> int:
    """Bytes from "512MiB", "4GB" or a bare number of bytes. Raises UsageError."""
    return int(_parse(text, {k: float(v) for k, v in _BYTES.items()}, "size", "512MiB"))


def parse_share(text: str) -> float:
    """A share from "2%" or "0.02". Raises UsageError."""
    return _parse(text, _SHARE, "share", "2%")


def format_ns(ns: float) -> str:
    """Three significant digits with the unit that keeps them readable: "4.93 us", "27.6 ms"."""
    for factor, unit in ((1, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s")):
        value = ns / factor
        if abs(value) < 999.5 or unit == "s":
            digits = 0 if abs(value) >= 99.95 or unit == "ns" else 1 if abs(value) >= 9.995 else 2
            return f"{value:.{digits}f} {unit}"
    raise AssertionError("unreachable")


def format_bytes(size: float) -> str:
    """Bytes with a binary unit: "512 B", "5.3 MiB"."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 999.5 or unit == "GiB":
            return (
                f"{size:.0f} {unit}" if unit == "B" or abs(size) >= 99.95 else f"{size:.1f} {unit}"
            )
        size /= 1024
    raise AssertionError("unreachable")


def format_rate(per_s: float) -> str:
    """Three significant digits: "7.31", "136", "12.3k", "1.2M"."""
    for factor, unit in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")):
        value = per_s / factor
        if value < 999.5 or unit == "G":
            digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
            return f"{value:.{digits}f}{unit}"
    raise AssertionError("unreachable")


#: Limits of parity that an error may propose.
_LIMITS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)


def parity_option(error: float) -> str:
    """The limit that allows a distance, as the option says it, with room for other items; "" where none does:
    zeros in the place of answers are off by 1."""
    return next((f"--parity {limit:g}" for limit in _LIMITS if limit >= 1.25 * error), "")
