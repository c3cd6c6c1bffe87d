"""What a deployment must meet, the workload's own limits or those of `--require`, and what is to be most: `--maximize`."""

from __future__ import annotations

import math
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
from edgebench.units import parse_duration_s

_QUALITY = "quality"
_NAME = re.compile(r"\s*([A-Za-z_][\w.]*)")


@dataclass(frozen=True)
class Requirements:
    """Limits of quality metrics, and of what a row costs."""

    demands: list[Demand]
    costs: list[Limit]

    def missed_by(self, rows: Sequence[Row]) -> dict[str, list[str]]:
        """Row id -> the limits of cost that the row misses; an unknown value meets none."""
        frame = RowFrame(rows)
        meets = [(limit.text, check(frame, limit).meets.tolist()) for limit in self.costs]
        return {
            row.id: [text for text, met in meets if not met[place]]
            for place, row in enumerate(rows)
        }


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


# The reward

_FORM = re.compile(r"\s*reward\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\s*")
_FIX = "write it like reward(80ms,-0.07)"


@dataclass(frozen=True)
class Reward:
    """MnasNet's (Tan et al., 2019): quality x (latency / target)^w; the paper's soft limit has w = -0.07."""

    target_s: float
    exponent: float
    text: str = ""  # as it was asked for

    def of(self, quality: float, latency_ns: float) -> float:
        return float(quality * (latency_ns / 1e9 / self.target_s) ** self.exponent)


def reward_of(row: Row, reward: Reward) -> float:
    """That of a measured row by its main metric; -inf where either is unknown."""
    quality = row.quality.value if row.quality is not None else None
    if quality is None or row.latency_ns.p50 is None:
        return float("-inf")
    return reward.of(quality, row.latency_ns.p50)


def check_rewarded(metric: str, better: str) -> None:
    """Raises UsageError for a metric that the reward makes no sense of."""
    if metric == PARITY_METRIC:
        raise UsageError(
            "--maximize multiplies a quality, and without labels there is none",
            "give a --task with labels",
        )
    if better != "higher":
        raise UsageError(
            f"--maximize multiplies a quality of which more is better, and of {metric} less is",
            "leave it out, and limit the quality by --require",
        )


def parse_reward(text: str) -> Reward:
    """Raises UsageError for what is no reward."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"--maximize {text!r} is no reward", _FIX)
    target_s = parse_duration_s(found[1])
    try:
        exponent = float(found[2])
    except ValueError:
        raise UsageError(f"--maximize {text!r}: {found[2]!r} is not a number", _FIX) from None
    if target_s <= 0 or not math.isfinite(exponent) or exponent > 0:
        raise UsageError(
            f"--maximize {text!r}: the target is above 0, and the exponent at most 0", _FIX
        )
    return Reward(target_s, exponent, text.strip())
