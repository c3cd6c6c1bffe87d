"""Gathers the limits that a deployment must meet: the workload's own, or those of `--require`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import msgspec

from edgebench.analysis.check_limits import check
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.limits import Limit, parse_limit
from edgebench.analysis.table_types import Row
from edgebench.definitions.workload import PARITY_METRIC, Quality, Workload
from edgebench.errors import UsageError
from edgebench.metrics import METRICS
from edgebench.search.search_messages import Demand
from edgebench.tasks import task_metrics

_QUALITY = "quality"
_NAME = re.compile(r"\s*([A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class Requirements:
    """Limits of quality metrics, and of what a row costs."""

    demands: list[Demand]
    costs: list[Limit]

    def met_by(self, rows: Sequence[Row]) -> list[bool]:
        """Which rows meet the limits of cost; an unknown value meets none."""
        frame = RowFrame(rows)
        meets = [check(frame, limit).meets.tolist() for limit in self.costs]
        return [all(each) for each in zip(*meets, strict=True)] if meets else [True] * len(rows)


def requirements_of(workload: Workload, texts: Sequence[str]) -> Requirements:
    """The workload's limits; `texts` about a quality metric take the place of its limit. Raises UsageError."""
    demands = {demand.metric: demand for demand in demands_of(workload.quality)}
    metrics = task_metrics(workload.task)
    costs = []
    for text in texts:
        name = _NAME.match(text)
        typed = name[1] if name else ""
        metric = workload.quality.metric if typed == _QUALITY else typed
        if metric in metrics and metric != PARITY_METRIC:
            limit = parse_limit(text.replace(typed, _QUALITY, 1))
            demands[metric] = _demand(metric, text, limit, metrics[metric].better)
        else:
            limit = _cost(text, typed, [name for name in metrics if name != PARITY_METRIC])
            if limit.metric.name.startswith(_QUALITY):
                raise UsageError(
                    f"--require {text!r}: {workload.name} has no labels to hold it against",
                    "give a --task with labels; outputs are held against fp32",
                )
            costs.append(limit)
    return Requirements(list(demands.values()), costs)


def _cost(text: str, typed: str, metrics: Sequence[str]) -> Limit:
    """A limit of what a row costs. Raises UsageError; for a name that is nearly one of the task's, with that one."""
    try:
        return parse_limit(text)
    except UsageError:
        close = get_close_matches(typed, metrics, n=1, cutoff=0.7)
        if not close or typed in METRICS:
            raise
        raise UsageError(
            f"--require {text!r}: no metric {typed!r}; did you mean {close[0]!r}?",
            f"metrics of the task: {', '.join(metrics)}",
        ) from None


def _demand(metric: str, text: str, limit: Limit, better: str) -> Demand:
    higher = better == "higher"
    if limit.upper == higher and not limit.relative:
        raise UsageError(
            f"--require {text!r}: of {metric} {'more' if higher else 'less'} is better",
            f"write {metric}{'>=' if higher else '<='}VALUE",
        )
    share = limit.value if higher or not limit.relative or limit.upper else 1 / limit.value
    return Demand(
        metric=metric,
        limit=share,
        better="higher" if higher else "lower",
        relative=limit.relative,
    )


def demands_of(quality: Quality) -> list[Demand]:
    """The limits of labelled metrics; of a model without labels none."""
    found: list[Demand] = []
    for name, limit in {quality.metric: quality, **quality.also}.items():
        if name != PARITY_METRIC and limit.floor is not None:
            found.append(Demand(metric=name, limit=limit.floor, better="higher"))
        if name != PARITY_METRIC and limit.ceiling is not None:
            found.append(Demand(metric=name, limit=limit.ceiling, better="lower"))
    return found


def resolved(demands: Sequence[Demand], fp32: Mapping[str, float]) -> list[Demand]:
    """The limits as numbers: those relative to fp32 by its own values."""
    return [
        msgspec.structs.replace(each, limit=each.limit * fp32[each.metric], relative=False)
        if each.relative and each.metric in fp32
        else each
        for each in demands
    ]
