"""Shows whether chosen maps hold their limits on test items: once each, beside fp32, with an interval over items.

Runs in a process of its own, `python -m edgebench.search.verify PARENT_PID MEMORY_LIMIT`: a VerifyJob as JSON on
stdin, a line on stdout for each step, and a last one, a Verification or a ChildFailure. Test items are the
workload's own, and further draws where its task has others than those that maps were tuned on.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.planning.cells import DEFAULT_BACKEND
from edgebench.search.children import answer_job
from edgebench.search.explore import MAX_DRAWS
from edgebench.search.item_cache import Kept, remembering
from edgebench.search.judge import TUNING_DRAW
from edgebench.search.quality_interval import Change, changes, interval
from edgebench.search.search_messages import Demand, LimitVerdict, Verdict, Verification, VerifyJob

if TYPE_CHECKING:
    from edgebench.preparation.prepare import Subject
    from edgebench.task import Infer, Task

_UNTOLD = "the task goes its own way through its items: its answers cannot be compared one by one"


@dataclass
class _Draw:
    """A draw of items with what fp32 answers."""

    task: Task
    base: list[Any] | None  # None: the task does not tell its answers
    base_metrics: dict[str, float]


@dataclass
class _Verifier:
    job: VerifyJob
    subject: Subject
    say: Callable[[str], object]
    clock: Callable[[], float]
    until_s: float
    _draws: dict[int, _Draw] = field(default_factory=dict)
    _kept: Kept = field(default_factory=Kept)  # of the items of all draws

    @cached_property
    def fp32(self) -> Infer:
        return self._infer(self.subject.fp32_path, "fp32")

    def draw(self, number: int) -> _Draw:
        if number not in self._draws:
            task = remembering(self.subject.task(number), self._kept)
            base, metrics = task_answers(task, self.fp32) if len(task) else (None, {})
            self._draws[number] = _Draw(task, base, metrics)
        return self._draws[number]

    def verdict(self, precision: str, deadline_s: float) -> Verdict:
        """Judges one map; draws follow until all limits are shown, or time is over."""
        mine = self._infer(self._built(precision), precision)
        draws: list[dict[str, Change]] = []
        items, values = 0, dict[str, float]()
        found = Verdict(precision=precision, limits=[], items=0, tested_on="", note=_UNTOLD)
        for number in self._numbers():
            began_s = self.clock()
            self.say(f"test items of {precision}, draw {len(draws) + 1}")
            draw = self.draw(number)
            if not len(draw.task):
                break  # the task has no such draw any more
            answers, metrics = task_answers(draw.task, mine)
            values = values or metrics
            if draw.base is None or answers is None:
                return self._judged(precision, metrics, [], 0)
            clusters = [draw.task.cluster(item) for item in range(len(answers))]
            draws.append(changes(draw.task.score, draw.base, answers, clusters))
            items += len(answers)
            found = self._judged(precision, values, draws, items)
            took_s = self.clock() - began_s
            if found.safe or not found.held or self.clock() + took_s > deadline_s:
                break
        return found

    def _numbers(self) -> list[int]:
        others = range(TUNING_DRAW + 1, TUNING_DRAW + 1 + MAX_DRAWS) if self._drawn else ()
        return [0, *others]

    @property
    def _drawn(self) -> str:
        kind = type(self.subject.task(0))
        return kind.draws or kind.test_draws

    @property
    def _same_sources(self) -> bool:
        kind = type(self.subject.task(0))
        return bool(kind.test_draws) or kind.same_sources

    def _judged(
        self,
        precision: str,
        values: dict[str, float],
        draws: Sequence[dict[str, Change]],
        items: int,
    ) -> Verdict:
        """What draws show; without any the task does not tell its answers."""
        told = "the workload's own items"
        told += f" and {len(draws) - 1} further draws ({self._drawn})" if len(draws) > 1 else ""
        limits = (self._limit(demand, values, draws) for demand in self.job.demands)
        few = "" if all(draws) else "too few independent items for an interval"
        return Verdict(
            precision=precision,
            limits=[limit for limit in limits if limit is not None],
            items=items,
            tested_on=told,
            note=few if draws else _UNTOLD,
        )

    def _limit(
        self, demand: Demand, values: dict[str, float], draws: Sequence[dict[str, Change]]
    ) -> LimitVerdict | None:
        name = demand.metric
        known = [draw[name] for draw in draws if name in draw]
        if name not in values:
            return None
        fp32 = self.draw(0).base_metrics[name]
        held = demand.spare(values[name]) >= 0
        if not known:
            found, shown = None, False
        else:
            found = interval(known, self.job.confidence, self._same_sources)
            worst = found.low if demand.better == "higher" else found.high
            shown = held and demand.spare(fp32 + worst) >= 0
        return LimitVerdict(
            metric=name,
            limit=demand.limit,
            better=demand.better,
            value=values[name],
            fp32=fp32,
            change=values[name] - fp32 if found is None else found.change,
            low=None if found is None else found.low,
            high=None if found is None else found.high,
            items=0 if found is None else found.items,
            still=bool(known) and all(each.still for each in known),
            shown=shown,
        )

    def _built(self, precision: str) -> Path:
        from edgebench.preparation.prepare import prepare

        job = msgspec.structs.replace(self.job.prepare, precision=precision, without_reference=True)
        return Path(prepare(job, self.say).path)

    def _infer(self, path: Path, precision: str) -> Infer:
        """By the backend itself: another one rounds in its own way, and some precisions are its own doing."""
        from edgebench.models.onnx_file import load_model
        from edgebench.search.sessions import RuntimeChoice, infer_by, infer_with, open_session

        if self.job.backend == DEFAULT_BACKEND:
            return infer_with(open_session(load_model(path), self.job.threads))
        return infer_by(RuntimeChoice(self.job.backend, self.job.options), path, precision)


def task_answers(task: Task, infer: Infer) -> tuple[list[Any] | None, dict[str, float]]:
    """What a task's `evaluate` hands to its `score`, and the metrics; None where it does so not exactly once."""
    seen: list[list[Any]] = []
    scored = task.score

    def score(predictions: Sequence[Any]) -> dict[str, float]:
        seen.append(list(predictions))
        return scored(predictions)

    task.score = score  # type: ignore[method-assign]
    try:
        metrics = task.evaluate(infer)
    finally:
        del task.score
    return (seen[0] if len(seen) == 1 else None), metrics


def verify(job: VerifyJob, say: Callable[[str], object]) -> Verification:
    """Judges maps until the first is safe or time is over. Raises EdgebenchError."""
    from edgebench.preparation.prepare import subject_of

    clock = time.monotonic
    began_s = clock()
    verifier = _Verifier(job, subject_of(job.prepare, say), say, clock, began_s + job.time_s)
    verdicts: list[Verdict] = []
    for number, precision in enumerate(job.precisions):
        if verdicts and clock() > verifier.until_s:
            break
        share = (verifier.until_s - clock()) / (len(job.precisions) - number)
        verdicts.append(verifier.verdict(precision, clock() + share))
        if verdicts[-1].safe:
            break
    return Verification(verdicts=verdicts, confidence=job.confidence)


def main() -> int:
    return answer_job(VerifyJob, verify)


if __name__ == "__main__":
    sys.exit(main())
