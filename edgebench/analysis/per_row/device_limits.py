"""Checks a row against the limits that devices.yaml sets for its device."""

from __future__ import annotations

from edgebench.analysis.table_types import Row
from edgebench.metrics import METRICS, Metric
from edgebench.record import Declared, Reason
from edgebench.units import format_bytes, format_ns
from edgebench.words.reason_words import reason

#: Codes of rows that measured well and do not fit their device.
CODES = frozenset({"limit_missed", "limit_unknown"})


def missed_limits(row: Row, declared: Declared | None) -> list[Reason]:
    """Why a row does not fit its device. A limit on what is unknown is not kept: nobody could say."""
    reasons = []
    for name, limit in declared.limits.items() if declared is not None else ():
        metric = METRICS.get(name)
        if metric is None or not _applies(metric, row):
            continue
        value = metric.value(row)
        if value is None:
            reasons.append(reason("limit_unknown", metric=name, limit=limit_words(name, limit)))
        elif (value > limit) if metric.better == "lower" else (value < limit):
            words = _words(metric, value)
            reasons.append(reason("limit_missed", value=words, limit=limit_words(name, limit)))
    return reasons


def limit_words(name: str, limit: float) -> str:
    """ "latency.p99 <= 50.0 ms"."""
    metric = METRICS.get(name)
    if metric is None:
        return f"{name} {limit:g}"
    sign = "<=" if metric.better == "lower" else ">="
    return f"{name} {sign} {_words(metric, limit)}"


def _applies(metric: Metric, row: Row) -> bool:
    """Whether the row's scenario has such a number at all."""
    part = metric.path.split(".")[0]
    return {
        "latency_ns": row.scenario != "offline",
        "generate": row.scenario == "generate",
        "sustained": row.scenario == "sustained",
        "paced": row.paced is not None,
    }.get(part, True)


def _words(metric: Metric, value: float) -> str:
    if metric.unit == "ns":
        return format_ns(value)
    if metric.unit == "bytes":
        return format_bytes(value)
    return f"{value:.4g}" + {"per_s": "/s", "1": ""}.get(metric.unit, f" {metric.unit}")
