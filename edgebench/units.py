"""Parses quantities of the command line, and formats them for tables."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

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
    "": 1.0,
    "b": 1.0,
    "kb": 1e3,
    "mb": 1e6,
    "gb": 1e9,
    "kib": 2.0**10,
    "mib": 2.0**20,
    "gib": 2.0**30,
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
    return int(_parse(text, _BYTES, "size", "512MiB"))


def exact_bytes(size: float) -> str:
    """A size as it can be typed, without rounding: "256MiB", or bytes."""
    mebibytes, rest = divmod(int(size), 2**20)
    return str(int(size)) if rest else f"{mebibytes}MiB"


def parse_share(text: str) -> float:
    """A share from "2%" or "0.02". Raises UsageError."""
    return _parse(text, _SHARE, "share", "2%")


_NS = ((1.0, "ns"), (1e3, "us"), (1e6, "ms"), (1e9, "s"))
_RATES = ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"))
_SI = (
    *((1e-9, "n"), (1e-6, "u"), (1e-3, "m"), (1.0, "")),
    *((1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T")),
)
_BINARY = ((1.0, "B"), (2.0**10, "KiB"), (2.0**20, "MiB"), (2.0**30, "GiB"))


def format_ns(ns: float) -> str:
    """Three significant digits with the unit that keeps them readable: "4.93 us", "27.6 ms"."""
    return " ".join(_three_digits(ns, _NS, whole="ns"))


def format_clock(seconds: float) -> str:
    """Minutes and seconds: "1:05"."""
    whole = max(0, round(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def format_rate(per_s: float) -> str:
    """Three significant digits: "7.31", "136", "12.3k", "1.2M"."""
    return "".join(_three_digits(per_s, _RATES))


def format_si(value: float, unit: str) -> str:
    """Three significant digits with a prefix: "31.2 mJ", "61.2 Gop/s"; a small count as it is: "12 op"."""
    if value == round(value) and abs(value) < 999.5:
        return f"{value:.0f} {unit}"
    if abs(value) < 1e-11:
        return f"{value:.3g} {unit}"
    digits, prefix = _three_digits(value, _SI)
    return f"{digits} {prefix}{unit}"


def _three_digits(
    value: float, steps: Sequence[tuple[float, str]], whole: str | None = None
) -> tuple[str, str]:
    """The number and the name of the first step that keeps it below 1000; without decimals at `whole`."""
    factor, name = next((step for step in steps if abs(value / step[0]) < 999.5), steps[-1])
    scaled = value / factor
    digits = 0 if abs(scaled) >= 99.95 or name == whole else 1 if abs(scaled) >= 9.995 else 2
    return f"{scaled:.{digits}f}", name


def format_bytes(size: float) -> str:
    """Bytes with a binary unit: "512 B", "5.3 MiB"."""
    factor, unit = next((step for step in _BINARY if abs(size / step[0]) < 999.5), _BINARY[-1])
    scaled = size / factor
    return f"{scaled:.{0 if unit == 'B' or abs(scaled) >= 99.95 else 1}f} {unit}"


def format_probability(probability: float) -> str:
    """ "97%", "99.3%", ">99.9%": never rounded to certainty."""
    percent = probability * 100
    if percent > 99.9:
        return ">99.9%"
    if percent < 0.1:
        return "<0.1%"
    return f"{percent:.{1 if percent > 99 or percent < 1 else 0}f}%"


def format_times(ratio: float) -> str:
    """A factor: "1.07x", "12x"."""
    return f"{ratio:.2f}x" if ratio < 9.995 else f"{ratio:.0f}x"


#: Limits of parity that an error may propose.
_LIMITS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 0.9)


def parity_option(error: float) -> str:
    """The limit that allows a distance, as the option says it, with room for other items; "" where none does:
    zeros in the place of answers are off by 1."""
    return next((f"--parity {limit:g}" for limit in _LIMITS if limit >= 1.25 * error), "")
