"""Runs a quality pass within a budget: as many items as fit, and an interval for what they show.

An interval is given for metrics that are means of values between 0 and 1 (shares); it holds with 95 % over
draws of items (Wilson's for a share, which is wider than that of any other mean of such values).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from edgebench.measure.reruns import QUALITY_CUT
from edgebench.record import Limit, Quality, Replicate
from edgebench.task import OutOfTime
from edgebench.words import quality_words, unknown_words
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from edgebench.definitions.workload import Limit as LimitSpec
    from edgebench.definitions.workload import Quality as QualitySpec
    from edgebench.preparation.input_pool import Feeds, Outputs
    from edgebench.task import Metric, Task

    Infer = Callable[[Sequence[Feeds]], list[Outputs]]

#: However small its share of the budget is: an item or two are more than nothing.
MIN_QUALITY_S = 1.0
_Z = 1.96


@dataclass
class QualityTime:
    """When the quality pass is to end, on the monotonic clock. A process that is still in it then is ended from outside, and
    what it judged is lost: so the last step ends before."""

    until_s: float = math.inf
    clock: Callable[[], float] = time.monotonic
    longest_s: float = 0.0  # of a step so far; before the first one, what it is thought to take
    _step_began_s: float | None = field(default=None, init=False, compare=False)

    @classmethod
    def of_replicate(
        cls,
        began_s: float,
        time_s: float | None,
        most_s: float | None,
        clock: Callable[[], float] = time.monotonic,
        step_s: float = 0.0,
    ) -> QualityTime:
        """Returns what a replicate that began then leaves of its share of the budget; where that is less than what was
        done so far took, as much as that: times without a quality are worth little."""
        if time_s is None or most_s is None:
            return UNLIMITED
        now_s = clock()
        enough_s = now_s + max(MIN_QUALITY_S, now_s - began_s)
        return cls(min(began_s + most_s, max(began_s + time_s, enough_s)), clock, step_s)

    def check(self) -> None:
        """Begins a step. Raises OutOfTime where one that takes as long as the longest so far would end too late."""
        now_s = self.clock()
        if self._step_began_s is not None:
            self.longest_s = max(self.longest_s, now_s - self._step_began_s)
        self._step_began_s = now_s
        if now_s + self.longest_s > self.until_s:
            raise OutOfTime


UNLIMITED = QualityTime()


def in_time(
    task: Task, infer: Infer, together: int, time: QualityTime
) -> tuple[dict[str, float], int]:
    """Metrics over the items that fit, and how many those are; so many run `together` between two looks at
    the clock. None fit where a task goes its own way through its items, or cannot score a part of them."""
    from edgebench.task import Task as AnyTask

    def timely(items: Sequence[Feeds]) -> list[Outputs]:
        outputs: list[Outputs] = []
        for start in range(0, len(items), together):
            time.check()
            outputs += infer(items[start : start + together])
        return outputs

    answers: list[Any] = []
    try:
        if type(task).evaluate is not AnyTask.evaluate:
            return task.evaluate(timely), len(task)
        for answer in task.answers(timely, together=together):
            answers.append(answer)  # noqa: PERF402 - those before the end of the time are kept
    except OutOfTime:
        pass
    if len(answers) == len(task):
        return task.score(answers), len(answers)
    try:
        return (task.score(answers), len(answers)) if answers else ({}, 0)
    except Exception:  # noqa: BLE001 - a task need not score a part of its items
        return {}, 0


def outputs_in_time(
    task: Task, count: int, infer: Infer, batch: int, time: QualityTime
) -> list[Outputs]:
    """The outputs of the first `count` items, or of as many as fit."""
    outputs: list[Outputs] = []
    try:
        for start in range(0, count, batch):
            time.check()
            chosen = range(start, min(start + batch, count))
            outputs += infer([task.preprocess(task.raw(index)) for index in chosen])
    except OutOfTime:
        pass
    return outputs


def judged(
    values: Mapping[str, float],
    metrics: Mapping[str, Metric],
    spec: QualitySpec,
    items: int,
    of: int,
) -> Quality:
    """Metrics over `items` of `of` against the workload's limits; without any, unknown."""
    if items >= of:
        return _against_limits(values, metrics, spec, items)
    if spec.metric not in values:
        better = metrics[spec.metric].better if spec.metric in metrics else "higher"
        return unknown_quality(spec, better, of)
    known = {name: values.get(name, math.nan) for name in (spec.metric, *spec.also)}
    quality = _against_limits(known, metrics, spec, items)
    interval = _interval(quality.value, metrics[spec.metric], items)
    quality = msgspec.structs.replace(quality, of=of, interval=interval)
    if interval is None and quality.floor is not None:
        # The perplexity of one text is not that of six.
        unknown = unknown_words.quality_of_some(metric=spec.metric, items=items, of=of)
        reasons = "; ".join(filter(None, (unknown, quality.reason)))
        return msgspec.structs.replace(quality, passed=False, reason=reasons)
    return quality


def _against_limits(
    values: Mapping[str, float], metrics: Mapping[str, Metric], spec: QualitySpec, items: int
) -> Quality:
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
        reason="; ".join(map(quality_words.broken_limit, broken)),
    )


def _judge(
    name: str, spec: LimitSpec, metrics: Mapping[str, Metric], values: Mapping[str, float]
) -> Limit:
    metric = metrics.get(name)
    if metric is None or name not in values:
        raise ValueError(f"the task gives no metric {name!r}; it gives {', '.join(sorted(values))}")
    value = float(values[name])
    limit = spec.floor if metric.better == "higher" else spec.ceiling
    known = math.isfinite(value)
    held = limit is None or (value >= limit if metric.better == "higher" else value <= limit)
    return Limit(
        metric=name,
        value=value if known else None,
        limit=limit,
        better=metric.better,
        passed=known and held,
    )


def _interval(value: float | None, metric: Metric, items: int) -> tuple[float, float] | None:
    share = metric.unit == "1" and metric.better == "higher"
    if value is None or not share or not 0 <= value <= 1 or not items:
        return None
    spread = _Z**2 / items
    middle = (value + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(value * (1 - value) / items + spread / (4 * items)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)


def unknown_quality(
    spec: QualitySpec,
    better: Literal["higher", "lower"],
    of: int | None,
    why: str = unknown_words.QUALITY_OUT_OF_TIME,
    kind: Literal["labels", "parity"] = "labels",
) -> Quality:
    """Quality without a value. `of`: how many items the budget left unjudged."""
    return Quality(
        metric=spec.metric,
        value=None,
        floor=spec.floor if better == "higher" else spec.ceiling,
        better=better,
        passed=False,
        items=0,
        of=of,
        kind=kind,
        reason=why,
    )


def with_quality(replicate: Replicate, quality: Quality, needed_s: float) -> Replicate:
    """The replicate with what its quality pass found, and with what is to be known where it was cut."""
    if quality.of is None:
        return msgspec.structs.replace(replicate, quality=quality)
    key = QUALITY_CUT if quality.items else f"{QUALITY_CUT}.none"
    cut = reason(key, items=quality.items, of=quality.of, needed_s=needed_s)
    return msgspec.structs.replace(replicate, quality=quality, reasons=[*replicate.reasons, cut])


def without_quality(
    replicate: Replicate,
    spec: QualitySpec,
    metrics: Mapping[str, Metric],
    of: int,
    needed_s: float,
) -> Replicate:
    """The replicate as it is where its quality pass is cut before the first item."""
    better = metrics[spec.metric].better if spec.metric in metrics else "lower"
    return with_quality(replicate, unknown_quality(spec, better, of), needed_s)
