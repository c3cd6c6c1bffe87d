"""The limits of `edgebench pick --require`: "latency.p99<=30ms", "quality>=0.98*fp32".

    limit  = metric ("<=" | ">=" | "<" | ">") value
    value  = number [unit]  |  [number ["%"] "*"] "fp32"

Every error names the character it is about. A time or a size needs its unit.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from edgebench.errors import UsageError
from edgebench.metrics import METRICS, Metric
from edgebench.text.did_you_mean import did_you_mean

_TIMES = {"ns": 1.0, "us": 1e3, "µs": 1e3, "ms": 1e6, "s": 1e9, "min": 6e10}
_SIZES = {
    "B": 1.0, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20,
    "GiB": 2.0**30,
}  # fmt: skip
#: Unit of a metric -> what it is called, and the units that may be typed.
UNITS: Final[dict[str, tuple[str, dict[str, float]]]] = {
    "ns": ("a time", _TIMES),
    "bytes": ("a size", _SIZES),
    "per_s": ("a rate", {"/s": 1.0, "per_s": 1.0, "": 1.0}),
    "J": ("an energy", {"uJ": 1e-6, "mJ": 1e-3, "J": 1.0, "kJ": 1e3}),
    "W": ("a power", {"mW": 1e-3, "W": 1.0, "kW": 1e3}),
    "J_s": ("an energy-delay product", {"uJ_s": 1e-6, "mJ_s": 1e-3, "J_s": 1.0}),
    "per_J": ("a number per joule", {"/J": 1.0, "per_J": 1.0, "": 1.0}),
    "C": ("a temperature", {"C": 1.0}),
    "1": ("a plain number", {"": 1.0, "%": 0.01, "x": 1.0}),
}
OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_MISTYPED = {"=<": "<=", "=>": ">=", "=": "<=", "==": "<=", "≤": "<=", "≥": ">="}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_TOKEN = re.compile(r"\s*([A-Za-z_][\w.]*)\s*([<>=≤≥!]+)\s*")


@dataclass(frozen=True)
class Limit:
    """One limit on a metric. value: in the metric's unit, or, where relative, the share of the
    value of the fp32 row."""

    text: str
    metric: Metric
    op: str
    value: float
    relative: bool = False

    @property
    def upper(self) -> bool:
        """Whether the metric must stay below."""
        return self.op.startswith("<")


class _BadLimit(Exception):
    """What is wrong with a limit, and between which characters."""

    def __init__(self, span: tuple[int, int], what: str, fix: str = "") -> None:
        super().__init__(what)
        self.span, self.what, self.fix = span, what, fix


def parse_limit(text: str, asked_by: str = "--require") -> Limit:
    """Raises UsageError with the character at which it is wrong, and what was meant. `asked_by`: whose limit it is."""
    try:
        return _parse(text)
    except _BadLimit as bad:
        begin, end = bad.span
        mark = " " * begin + "^" * max(min(end, len(text)) - begin, 1)
        place = f"{asked_by}, character {begin + 1}"
        raise UsageError(f"{place}: {bad.what}\n    {text}\n    {mark}", bad.fix) from None


def _parse(text: str) -> Limit:
    head = _TOKEN.match(text)
    if head is None:
        raise _without_operator(text)
    name, op = head[1], head[2]
    if name not in METRICS:
        raise _BadLimit(head.span(1), f"no metric {name!r}{did_you_mean(name, METRICS)}")
    if op not in OPERATORS:
        meant = f"; did you mean {_MISTYPED[op]!r}?" if op in _MISTYPED else "; known: <=, >=, <, >"
        raise _BadLimit(head.span(2), f"no operator {op!r}{meant}")
    metric = METRICS[name]
    rest = text[head.end() :].rstrip()
    start = head.end()
    if rest.endswith("fp32"):
        return Limit(text, metric, op, _share(start, rest[: -len("fp32")]), relative=True)
    number = _NUMBER.match(rest)
    if number is None:
        raise _BadLimit(
            (start, len(text)), "expected a number here", "write it like 30ms or 0.98*fp32"
        )
    after = rest[number.end() :]
    unit = after.strip()
    place = start + number.end() + len(after) - len(after.lstrip())
    if "*" in unit:
        other = unit.partition("*")[2].strip()
        raise _BadLimit(
            (place, start + len(rest)),
            f"a limit can be relative to fp32 only, not to {other!r}",
            "like 0.98*fp32",
        )
    return Limit(text, metric, op, float(number[0]) * _factor(metric, unit, place))


def _factor(metric: Metric, unit: str, place: int) -> float:
    what, units = UNITS[metric.unit]
    if unit in units:
        return units[unit]
    known = ", ".join(word for word in units if word and word != "µs")
    span = (place, place + max(len(unit), 1))
    if not unit:
        raise _BadLimit(span, f"{metric.name} is {what}: it needs a unit ({known})")
    for kind, others in UNITS.values():
        if unit in others:
            fix = f"units: {known}" if known else "no unit"
            raise _BadLimit(span, f"{unit!r} is {kind} and {metric.name} is {what}", fix)
    lowered = {word.lower(): word for word in units if word}
    if unit.lower() in lowered:
        hint = f"; did you mean {lowered[unit.lower()]!r}?"
    else:
        close = get_close_matches(unit, [word for word in units if word], n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else f"; known: {known}" if known else ""
    raise _BadLimit(span, f"no unit {unit!r} of {what}{hint}")


def _share(start: int, words: str) -> float:
    """ "0.98*" or "98%*" before fp32; nothing means all of it."""
    if not words.strip():
        return 1.0
    match = re.fullmatch(rf"({_NUMBER.pattern})\s*(%?)\s*\*\s*", words)
    if match is None:
        span = (start, start + len(words))
        raise _BadLimit(span, f"{words.strip()!r} is not a share of fp32", "like 0.98*fp32")
    share = float(match[1]) * (0.01 if match[4] else 1.0)
    if share <= 0:
        raise _BadLimit((start, start + len(words)), "a share of fp32 must be above 0")
    return share


def _without_operator(text: str) -> _BadLimit:
    name = re.match(r"\s*[A-Za-z_][\w.]*", text)
    if name is None:
        return _BadLimit((0, 1), "expected a metric here", "write it like latency.p99<=30ms")
    if name[0].strip() not in METRICS:
        word = name[0].strip()
        span = (name.end() - len(word), name.end())
        return _BadLimit(span, f"no metric {word!r}{did_you_mean(word, METRICS)}")
    return _BadLimit((name.end(), name.end() + 1), "expected one of <= >= < > here")
