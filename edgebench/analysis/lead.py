"""What rows are ranked by: the one number of speed that all of a group have."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analysis.types import Row
from edgebench.metrics import METRICS, Metric

BY_RATE = ("offline", "server")
#: What tells of a speed; another tool may report something else than a median. The most telling first.
SPEEDS = (
    "latency.p50",
    "latency.p90",
    "latency.p90_early_stopping",
    "latency.p99",
    "latency.p99_early_stopping",
    "latency.p999_early_stopping",
    "throughput",
)


def lead(rows: Sequence[Row]) -> Metric | None:
    """The metric that these rows are compared by; None where they have none in common.

    Rows of our own: p50, offline and under a server's load the throughput. Rows that other tools
    report are compared by the first statistic that all of them state.
    """
    if not rows:
        return None
    if rows[0].scenario in BY_RATE:
        names: Sequence[str] = ("throughput",)
    elif any(row.imported is None for row in rows):
        names = ("latency.p50",)
    else:
        names = SPEEDS
    for name in names:
        metric = METRICS[name]
        if all(metric.value(row) is not None for row in rows):
            return metric
    return None
