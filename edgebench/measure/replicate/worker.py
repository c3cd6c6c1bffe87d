"""The worker: a fresh process that measures one replicate of a cell.

    python -m edgebench.measure.replicate.worker JOB_FD RESULT_FD PARENT_PID

The only module that opens sessions to measure them. numpy, tasks and runtimes are imported here and
below, after the clock of the cold start has begun.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from edgebench.analysis.per_row.answer_cache import DEFERRED
from edgebench.analysis.per_row.rate_search import overloaded
from edgebench.measure.replicate import steps
from edgebench.measure.replicate.check_plan import check_plan
from edgebench.measure.replicate.phases import peak_of, timed
from edgebench.measure.replicate.worker_ipc import ParentLink, begin
from edgebench.measure.worker_messages import Done, Job
from edgebench.probes import instruction_counter, process_memory
from edgebench.processes.child_job import leave
from edgebench.processes.memory_limit import limit_memory
from edgebench.record import Completion, OutputCheck, Paced, Replicate, Warmup
from edgebench.words import unknown_words
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgebench.backend import Session
    from edgebench.preparation.input_pool import Feeds
    from edgebench.task import Task


def main() -> None:
    link, job, started = begin(sys.argv[1:4])
    try:
        done = measure(job, link, started)
    except Exception as error:  # noqa: BLE001 - whatever a backend or task raises is a row
        status, why = steps.failure(error, job)
        ended = Replicate(index=job.index, status=status, started_utc=started, reasons=[why])
        done = Done(ended)
    link.done(done)
    leave()


def measure(job: Job, link: ParentLink, started: str) -> Done:
    """The replicate, from the cold start to the quality pass."""
    job = steps.begun(job)
    limit_memory(steps.allocations_limit(job))
    instruction_counter.begin(instruction_counter.INSTRUCTIONS)
    if job.company is not None:
        instruction_counter.begin(instruction_counter.CACHE_MISSES)
    runtime = steps.import_runtime(job, link)
    if job.generate is not None:
        from edgebench.measure.replicate import generation_worker

        return generation_worker.measure(job, link, started, runtime)
    start = warm_start(job, link, runtime)
    opened = start.opened
    steps.check_shapes(opened)
    completed = steps.completion(opened)
    if completed.incomplete:
        return _deferred(opened, started, completed)
    counted = steps.measurement(opened)
    # Before anything else is prepared: what follows holds further inputs.
    peak = peak_of(opened.session, job)
    loadgen = steps.loadgen(opened, counted.window)
    completed, unseen, pipeline = steps.looks(opened, completed)
    memory = steps.memory(opened.session, peak, start.used)
    device = steps.device_times(opened)
    company = steps.company(opened)
    shapes = steps.shape_changes(opened)
    worst_case = steps.worst_case(opened)
    steps.lift_budget(job)
    checked = _output_check(opened, start.items)
    effective = steps.effective(link, opened.session) if job.full_quality else None
    window = counted.window
    replicate = Replicate(
        index=job.index,
        status="ok",
        started_utc=started,
        instructions=steps.instructions(job, counted),
        import_ns=runtime.import_ns,
        load_ns=start.load_ns,
        first_inference_ns=start.first_ns,
        warmup=start.warmup,
        queries=window.queries,
        paced=window.paced,
        stream=window.stream,
        offline=window.offline,
        sustained=window.sustained,
        company=company,
        loadgen=loadgen,
        shapes=shapes,
        worst_case=worst_case,
        unseen=unseen,
        pipeline=pipeline,
        device=device,
        memory=memory,
        output_check=checked,
        completion=completed,
        effective=effective,
    )
    replicate = _judged(steps.with_window(replicate, counted), job.seeks_rate)
    digest = _digest(opened)
    if job.full_quality:
        replicate = _with_quality(opened, replicate, digest)
    link.phase("close of the session")
    opened.session.close()
    return Done(replicate, digest)


class ColdStart(NamedTuple):
    """A session that has answered once, and what that took."""

    session: Session
    task: Callable[[], Task]
    items: Sequence[Feeds]  # those of the pool, one by one
    feeds: list[Feeds]
    pool: list[Any]  # prepared for the session
    uss_bytes: int | None  # with the model loaded
    load_ns: int
    first_ns: int


class Start(NamedTuple):
    """A warm session, and what its cold start took."""

    opened: steps.Opened
    items: Sequence[Feeds]  # those of the pool, one by one
    used: steps.Used
    warmup: Warmup
    load_ns: int
    first_ns: int


def cold_start(job: Job, link: ParentLink, runtime: steps.Runtime) -> ColdStart:
    """From the load of the model to its first answer."""
    link.phase("load of the model")
    backend, model = runtime.backend, steps.model_file(job)
    session, load_ns = timed(lambda: backend.open(model, job.options))
    uss_loaded = process_memory.uss_bytes()

    from edgebench.preparation import input_pool

    @cache
    def task() -> Task:
        return steps.task_of(job, job.fp32_inputs or session.inputs)

    link.phase("preparation of inputs")
    items = steps.items_of(job, task)
    feeds = input_pool.pool_of(items, job.batch)
    pool = [session.prepare(item) for item in feeds]

    link.phase("first inference")
    first_ns = steps.first_inference(session, pool[0], task)
    return ColdStart(session, task, items, feeds, pool, uss_loaded, load_ns, first_ns)


def warm_start(job: Job, link: ParentLink, runtime: steps.Runtime) -> Start:
    """The cold start, and the warm-up to its end."""
    cold = cold_start(job, link, runtime)

    from edgebench.measure.replicate import loops

    plan = check_plan(job)
    link.phase("warm-up", job.warmup_s + loops.MIN_WARM_UP * cold.first_ns / 1e9)
    warmup, typical_ns = loops.warm_up(
        cold.session.run, cold.pool, job.warmup_s, steady_window=plan.steady_window
    )
    used = steps.Used(cold.uss_bytes, process_memory.uss_bytes())
    opened = steps.Opened(
        job=job,
        link=link,
        plan=plan.for_queries_of(typical_ns),
        session=cold.session,
        task=cold.task,
        pool=cold.pool,
        typical_ns=typical_ns,
        feeds=cold.feeds,
    )
    return Start(opened, cold.items, used, warmup, cold.load_ns, cold.first_ns)


def _deferred(opened: steps.Opened, started: str, completed: Completion) -> Done:
    """Returns an invalid replicate: the time of such a call is no latency, and there is nothing to measure."""
    replicate = Replicate(
        index=opened.job.index,
        status="invalid",
        started_utc=started,
        reasons=[DEFERRED],
        completion=completed,
    )
    return Done(replicate, _digest(opened))


def _output_check(opened: steps.Opened, items: Sequence[Feeds]) -> OutputCheck:
    from edgebench.measure.replicate.quality_checks import CHECKED_ITEMS

    # Whoever comes first leaves outputs for all: after a killed run that need not be the replicate at length.
    comes_first = not Path(opened.job.expected).exists()
    in_turn = opened.plan.checked_items(opened.job.batch, CHECKED_ITEMS)
    count = CHECKED_ITEMS if comes_first else in_turn
    opened.phase("output check", queries=2 * count)
    return steps.output_check(opened.job, opened.session, items[:count])


def _with_quality(opened: steps.Opened, replicate: Replicate, digest: str | None) -> Replicate:
    """The replicate with its quality, over as many items as the budget leaves time for."""
    from edgebench.measure.replicate.quality_pass import QualityTime, with_quality, without_quality

    job, session, task = opened.job, opened.session, opened.task()
    left = QualityTime.of_replicate(
        job.began_ns / 1e9, job.time_s, job.most_s, step_s=opened.typical_ns / 1e9
    )
    needed_s = len(task) * opened.typical_ns / 1e9 / job.batch
    so_far = without_quality(replicate, job.quality, task.metrics, len(task), needed_s)
    opened.phase("quality pass", 10 * job.slice_s, 2 * len(task), Done(so_far, digest))
    quality = steps.quality(job, session, task, steps.lanes(job, session), left)
    return with_quality(replicate, quality, needed_s)


def _digest(opened: steps.Opened) -> str | None:
    """The hash of the pool, once a cell: its replicates have the same inputs."""
    from edgebench.preparation import input_pool

    return input_pool.digest(opened.feeds) if opened.plan.establishes else None


def _judged(replicate: Replicate, seeks_rate: bool) -> Replicate:
    """The replicate with the status that its own findings demand."""
    paced = None if seeks_rate else replicate.paced
    reasons = []
    if replicate.completion is not None and replicate.completion.incomplete:
        reasons.append(DEFERRED)
    if replicate.output_check is not None and not replicate.output_check.passed:
        from edgebench.measure.replicate.quality_checks import mismatch

        reasons.append(mismatch(replicate.output_check))
    if paced is not None and (why := _not_sustained(paced, len(replicate.samples_ns))):
        key = "rate_not_sustained" + ("" if replicate.stream is None else ".stream")
        reasons.append(reason(key, rate_per_s=paced.rate_per_s, why=why))
    if not reasons:
        return replicate
    return msgspec.structs.replace(replicate, status="invalid", reasons=reasons)


def _not_sustained(paced: Paced, queries: int) -> str:
    """Why a rate is beyond what the deployment serves; "" where it is not.

    Under random arrivals the queue grows without end once the work that comes takes as long as the time in which
    it comes: a latency would then tell how long was measured.
    """
    if paced.arrivals == "poisson":
        return overloaded(paced)
    late = paced.misses > queries / 2
    return unknown_words.too_late(queries=paced.misses) if late else ""


if __name__ == "__main__":
    main()
