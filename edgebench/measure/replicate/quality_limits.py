"""Checks the metrics of a quality pass against the limits of the workload."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgebench.definitions.workload import Limit as LimitSpec
from edgebench.definitions.workload import Quality as QualitySpec
from edgebench.record import Limit, Quality
from edgebench.task import Metric


def against_limits(
    values: Mapping[str, float],
    metrics: Mapping[str, Metric],
    spec: QualitySpec,
    items: int,
) -> Quality:
    """Metrics against the workload's limits, over `items` items."""
    main = _judge(spec.metric, spec, metrics, values)
    also = [_judge(name, limit, metrics, values) for name, limit in spec.also.items()]
    broken = [limit for limit in (main, *also) if not limit.passed]
    return Quality(
        metric=spec.metric,
        value=main.value,
        floor=main.limit,
        better=main.better,
        passed=not broken,
        items=items,
        kind="labels",
        also=also,
        reason="; ".join(_complaint(limit) for limit in broken),
    )


def _judge(
    name: str, spec: LimitSpec, metrics: Mapping[str, Metric], values: Mapping[str, float]
) -> Limit:
    metric: Metric | None = metrics.get(name)
    if metric is None or name not in values:
        raise ValueError(f"the task gives no metric {name!r}; it gives {', '.join(sorted(values))}")
    value = float(values[name])
    limit = spec.floor if metric.better == "higher" else spec.ceiling
    known = bool(np.isfinite(value))
    held = limit is None or (value >= limit if metric.better == "higher" else value <= limit)
    return Limit(
        metric=name,
        value=value if known else None,
        limit=limit,
        better=metric.better,
        passed=known and held,
    )


def _complaint(limit: Limit) -> str:
    if limit.value is None:
        return f"{limit.metric} is not a number"
    sign = "<" if limit.better == "higher" else ">"
    return f"{limit.metric} {limit.value:.4g} {sign} {limit.limit:g}"
