"""What a budget counts, and what a quality pass under one tells of."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from edgebench.ab_test import runtime_environments
from edgebench.analysis.per_row.validity import judge
from edgebench.backend import Session
from edgebench.definitions.workload import Quality
from edgebench.measure.replicate import quality_checks
from edgebench.measure.replicate.quality_pass import QualityTime, with_quality
from edgebench.measure.time_budget import Budget
from edgebench.record import Quality as Found
from edgebench.task import Metric, Task, TaskContext
from tests.records import record, replicate


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_downloads_and_installations_are_counted_apart() -> None:
    clock = Clock()
    budget = Budget(60.0, 0.0, clock)
    with budget.without("downloads"):
        clock.now_s += 100.0
    clock.now_s += 10.0
    with budget.without("installations"):
        clock.now_s += 5.0
    assert budget.left_s == 50.0
    assert budget.note == (
        "downloads took 100 s and installations took 5 s, which the budget does not count"
    )
    assert Budget(math.inf, 0.0, clock).note == ""


def test_an_installation_tells_that_it_is_still_at_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime_environments, "LINE_EVERY_S", 0.01)
    command = [sys.executable, "-c", "import signal; signal.pause()"]
    with pytest.raises(subprocess.TimeoutExpired):
        runtime_environments.told_run(command, "installing x==1", 0.03, stdin=subprocess.PIPE)
    assert "installing x==1: 0 s so far" in capsys.readouterr().err


class Signs(Task):
    """A hundred items; the model is right on all of them but each tenth."""

    metrics: ClassVar = {
        "accuracy": Metric("1", "higher", "share of right answers"),
        "perplexity": Metric("1", "lower", "of something"),
    }

    def __len__(self) -> int:
        return 100

    def raw(self, index: int) -> Any:
        return index

    def preprocess(self, raw: Any) -> dict[str, Any]:
        return {"x": np.array([[raw]], np.float32)}

    def postprocess(self, outputs: dict[str, Any], raw: Any) -> Any:
        return int(outputs["x"][0, 0])

    def score(self, predictions: Sequence[Any]) -> dict[str, float]:
        right = [answer % 10 != 0 for answer in predictions]
        return {"accuracy": float(np.mean(right)), "perplexity": float(len(predictions))}


class OwnWay(Signs):
    """Goes its own way through the items, as streams do."""

    def evaluate(self, infer: Any) -> dict[str, float]:
        outputs = infer([self.preprocess(index) for index in range(len(self))])
        return self.score([self.postprocess(output, None) for output in outputs])


class Slow(Session):
    """Takes a second for each query."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.run = self._run

    def prepare(self, feeds: Any) -> Any:
        return feeds

    def _run(self, prepared: Any) -> Any:
        self._clock.now_s += 1.0
        return prepared

    def outputs_of(self, prepared: Any, raw: Any) -> Any:
        return raw

    def reset(self) -> None: ...

    def effective(self) -> Any:
        return None


def quality(
    task: type[Signs],
    limit: Quality,
    until_s: float,
    clock: Clock | None = None,
    step_s: float = 0.0,
) -> Found:
    clock = clock or Clock()
    return quality_checks.quality(
        Slow(clock),
        task(TaskContext()),
        limit,
        quality_checks.Standard(precision="fp32"),
        time=QualityTime(until_s, clock, step_s),
    )


@pytest.mark.parametrize(
    ("time_s", "most_s", "until_s"),
    [
        (None, None, math.inf),
        (60.0, 100.0, 60.0),  # its share
        (5.0, 100.0, 40.0),  # began at 0, and 20 s were spent: so many more
        (5.0, 30.0, 30.0),  # but for the end of the turn
    ],
)
def test_a_quality_pass_has_its_share_and_at_least_as_long_as_what_came_before_it(
    time_s: float | None, most_s: float | None, until_s: float
) -> None:
    clock = Clock()
    clock.now_s = 20.0
    assert QualityTime.of_replicate(0.0, time_s, most_s, clock).until_s == until_s


def test_a_quality_pass_that_would_not_fit_is_cut_to_the_items_that_fit() -> None:
    found = quality(Signs, Quality(metric="accuracy", floor=0.85), until_s=30.0)
    assert (found.items, found.of) == (30, 100)
    assert found.value == pytest.approx(0.9)
    assert found.passed
    assert found.interval is not None
    low, high = found.interval
    assert (round(low, 2), round(high, 2)) == (0.74, 0.97)  # Wilson's, of 27 of 30


@pytest.mark.parametrize(
    ("until_s", "step_s", "items"),
    [(29.5, 0.0, 29), (29.5, 1.0, 29), (0.5, 1.0, 0), (29.5, 10.0, 20)],
)
def test_a_quality_pass_begins_no_item_that_would_end_too_late(
    until_s: float, step_s: float, items: int
) -> None:
    """Its process would be ended within it, and everything that it judged be lost."""
    clock = Clock()
    found = quality(Signs, Quality(metric="accuracy", floor=0.85), until_s, clock, step_s)
    assert found.items == items
    assert clock.now_s <= until_s


class Paired(Slow):
    """A query ends when another runs beside it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._both = threading.Barrier(2, action=self._tick, timeout=60.0)

    def _tick(self) -> None:
        self._clock.now_s += 1.0

    def _run(self, prepared: Any) -> Any:
        self._both.wait()
        return prepared


def test_a_quality_pass_that_is_cut_runs_side_by_side_until_then() -> None:
    clock = Clock()
    found = quality_checks.quality(
        Paired(clock),
        Signs(TaskContext()),
        Quality(metric="accuracy", floor=0.85),
        quality_checks.Standard(precision="fp32"),
        lanes=2,
        time=QualityTime(30.0, clock),
    )
    assert (found.items, found.of) == (60, 100)
    assert found.value == pytest.approx(0.9)


def test_a_quality_pass_that_fits_covers_all_items() -> None:
    found = quality(Signs, Quality(metric="accuracy", floor=0.85), until_s=1000.0)
    assert (found.items, found.of, found.interval) == (100, None, None)


def test_a_task_that_goes_its_own_way_is_refused_with_the_time_it_needs() -> None:
    found = quality(OwnWay, Quality(metric="accuracy", floor=0.85), until_s=29.5)
    assert (found.value, found.items, found.of, found.passed) == (None, 0, 100, False)
    told = with_quality(replicate(0), found, needed_s=100.0)
    [reason] = told.reasons
    assert reason.code == "quality_cut"
    assert reason.message == (
        "no quality: the budget ended the pass, which takes about 100 s in all"
    )
    assert "--budget" in reason.fix


def test_a_cut_quality_pass_strikes_as_quality_unknown() -> None:
    found = quality(Signs, Quality(metric="perplexity", ceiling=200.0), until_s=30.0)
    assert not found.passed, "the perplexity of one text is not that of six"
    made = record(quality=found, replicates=[replicate(0, quality=found)])
    from edgebench.analysis.per_row.row_from_record import row_of

    [reason] = judge(row_of(made), made).reasons
    assert reason.code == "quality_unknown"
    assert "covers 30 of 100 items" in reason.message
