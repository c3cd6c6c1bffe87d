"""The worker: a fresh process that measures one replicate of a cell.

    python -m edgebench.measure.replicate.worker JOB_FD RESULT_FD PARENT_PID

The only module that opens sessions to measure them. numpy, tasks and runtimes are imported here and
below, after the clock of the cold start has begun.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from edgebench import registry
from edgebench.analysis.per_row.answer_cache import DEFERRED
from edgebench.backend import DeviceTimes, ModelFile, Session
from edgebench.errors import EdgebenchError, UnsupportedError, tells_of_no_memory
from edgebench.measure.replicate.check_plan import CheckPlan, check_plan
from edgebench.measure.replicate.phases import peak_of, precision_of, timed
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.measure.worker_messages import Done, Job
from edgebench.probes import process_accounting, process_memory
from edgebench.processes.parent_tie import be_first_to_go, limit_memory
from edgebench.record import (
    Accounts,
    Completion,
    Memory,
    Pipeline,
    Reason,
    Replicate,
    Unseen,
)
from edgebench.task import RANGE_FIX
from edgebench.user_code import place_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgebench.backend import TensorInfo
    from edgebench.measure.replicate.loops import Window
    from edgebench.preparation.input_pool import Feeds
    from edgebench.task import Task

#: Shares of the slice for what is timed beside the main window.
PIPELINE_SHARE = 0.15
DEVICE_SHARE = 0.15
#: Runs of the pipeline and of the device's part, at least.
MIN_RUNS = 5


def main() -> None:
    job_fd, result_fd, parent_pid = map(int, sys.argv[1:4])
    link = ParentLink(job_fd, result_fd, parent_pid)
    link.die_with_parent()
    be_first_to_go()
    job = link.receive_job()
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    try:
        done = measure(job, link, started)
    except MemoryError:
        done = _ended(job, started, "failed", "out_of_memory", "the worker ran out of memory", "")
    except EdgebenchError as error:
        done = _refused(job, started, error)
    except Exception as error:  # noqa: BLE001 - whatever a backend or task raises is a row
        code, text = explain(error, job.task, job.backend)
        done = _ended(job, started, "failed", code, text, "")
    link.done(done)
    # The result is out; a runtime that hangs or crashes in its destructors must not spoil it.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def measure(job: Job, link: ParentLink, started: str) -> Done:
    """The replicate, from the cold start to the quality pass."""
    began_s = time.monotonic()
    limit_memory(job.memory_limit_bytes)

    link.phase("import of the runtime")
    backend = registry.load(job.backend)
    os.environ.update(backend.environment(job.options))
    _, import_ns = timed(backend.import_runtime)
    model = ModelFile(
        path=Path(job.model_path),
        format=job.model_format,
        sha256=job.model_sha256,
        precision=job.precision,
        batch=job.batch,
        names=job.model_names,
        shapes=job.model_shapes,
        inputs=tuple(job.model_inputs),
        outputs=tuple(job.model_outputs),
    )
    if job.generate is not None:
        from edgebench.measure.replicate import generation_worker

        return generation_worker.measure(job, link, started, backend, import_ns, model)
    link.phase("load of the model")
    session, load_ns = timed(lambda: backend.open(model, job.options))
    uss_loaded = process_memory.uss_bytes()

    from edgebench.files.model_outputs import load_outputs
    from edgebench.measure.replicate import answer_completion as completion
    from edgebench.measure.replicate import loops, quality_checks
    from edgebench.measure.replicate.quality_pass import QualityTime, with_quality, without_quality
    from edgebench.preparation import input_pool

    @cache
    def task() -> Task:
        return task_of(job, job.fp32_inputs or session.inputs)

    link.phase("preparation of inputs")
    plan = check_plan(job)
    if job.items:
        items = load_outputs(job.items, input_pool.POOL * job.batch)
    else:
        items = input_pool.pool_items(task(), job.batch)
    feeds = input_pool.pool_of(items, job.batch)
    pool = [session.prepare(item) for item in feeds]

    link.phase("first inference")
    first_ns = _first_inference(session, pool[0], task)
    link.phase("warm-up", job.warmup_s + loops.MIN_WARM_UP * first_ns / 1e9)
    warmup, typical_ns = loops.warm_up(
        session.run, pool, job.warmup_s, steady_window=plan.steady_window
    )
    uss_warm = process_memory.uss_bytes()

    def phase(name: str, seconds: float, queries: int, so_far: Done | None = None) -> None:
        """Starts a phase of so many seconds, or of so many queries where they take longer."""
        link.phase(name, seconds + queries * typical_ns / 1e9, so_far)

    phase("reading of outputs", 0.0, completion.max_queries(plan.completion_pairs))
    completed = completion.completion(session, pool, typical_ns, plan.completion_pairs)
    if completed.incomplete:
        # What such a call takes is no latency: there is nothing to measure.
        deferred = Replicate(
            index=job.index,
            status="invalid",
            started_utc=started,
            reasons=[DEFERRED],
            completion=completed,
        )
        return Done(deferred, _digest(plan, feeds))

    window_s = loops.MAX_SLICES * max(job.slice_s, job.min_window_s)
    phase("measurement", window_s + 2 * job.sustain_s, 1)
    window, counted = counted_window(job, session, pool, typical_ns)
    # Before anything else is prepared: what follows holds further inputs.
    peak = peak_of(session)
    completed, unseen, pipeline = looks(
        job, session, feeds, pool, typical_ns, plan, completed, task, phase
    )
    observed = Memory(
        peak_bytes=peak.peak_bytes,
        peak_source=peak.peak_source,
        uss_loaded_bytes=uss_loaded,
        uss_warm_bytes=uss_warm,
        uss_end_bytes=process_memory.uss_bytes(),
        arena_bytes=session.arena_bytes(),
        device_peak_bytes=peak.device_peak_bytes,
        device_source=peak.device_source,
    )
    device = None
    if plan.establishes:
        phase("measurement of the device's part", job.slice_s, MIN_RUNS)
        device = _device_times(job, session, pool, typical_ns)

    count = plan.checked_items(job.batch, quality_checks.CHECKED_ITEMS)
    phase("output check", 0.0, 2 * count)
    checked = quality_checks.output_check(
        session,
        items[:count],
        batch=job.batch,
        precision=precision_of(job),
        reference=job.reference,
        expected=job.expected,
        parity=job.parity,
        asked=job.parity_limit,
    )
    checked = msgspec.structs.replace(checked, rounding=job.fp32_rounding)
    effective = None
    if job.full_quality:
        link.phase("reading of effective facts")
        effective = session.effective()
    replicate = Replicate(
        index=job.index,
        status="ok",
        started_utc=started,
        import_ns=import_ns,
        load_ns=load_ns,
        first_inference_ns=first_ns,
        warmup=warmup,
        samples_ns=window.samples_ns,
        window_ns=window.window_ns,
        window_start_ns=window.start_ns,
        window_end_ns=window.end_ns,
        window_start_unix_ns=window.start_unix_ns,
        queries=window.queries,
        cpu_ns=window.cpu_ns,
        accounts=counted,
        involuntary_switches=window.involuntary_switches,
        stop=window.stop,
        paced=window.paced,
        offline=window.offline,
        sustained=window.sustained,
        unseen=unseen,
        pipeline=pipeline,
        device=device,
        memory=observed,
        output_check=checked,
        completion=completed,
        effective=effective,
    )
    replicate, digest = _judged(replicate, window), _digest(plan, feeds)
    if job.full_quality:
        left = QualityTime.of_replicate(began_s, job.time_s, job.most_s)
        count, metrics = len(task()), task().metrics
        needed_s = count * typical_ns / 1e9 / job.batch
        so_far = without_quality(replicate, job.quality, metrics, count, needed_s)
        phase("quality pass", 10 * job.slice_s, 2 * count, Done(so_far, digest))
        quality = quality_checks.quality(
            session,
            task(),
            job.quality,
            batch=job.batch,
            precision=precision_of(job),
            reference=job.reference,
            constant=job.reference_constant,
            note=job.reference_note,
            parity=job.parity,
            asked=job.parity_limit,
            lanes=_lanes(job, session),
            time=left,
        )
        replicate = with_quality(replicate, quality, needed_s)
    link.phase("close of the session")
    session.close()
    return Done(replicate, digest)


class BeginPhase(Protocol):
    """Says that a phase of so many seconds begins, or of so many queries where they take longer."""

    def __call__(self, name: str, seconds: float, queries: int) -> None: ...


class Looks(NamedTuple):
    """What a session reported after the measurement."""

    completion: Completion
    unseen: Unseen
    pipeline: Pipeline | None  # None: another process of the cell has shown it


def counted_window(
    job: Job, session: Session, pool: list[Any], typical_ns: int
) -> tuple[Window, Accounts]:
    """The measured window, and what the kernel counted meanwhile."""
    account = process_accounting.Account()
    window = _window(job, session, pool, typical_ns)
    return window, msgspec.structs.replace(account.closed(), raw_ns=window.raw_ns)


def looks(
    job: Job,
    session: Session,
    feeds: Sequence[Feeds],
    pool: list[Any],
    typical_ns: int,
    plan: CheckPlan,
    completed: Completion,
    task: Callable[[], Task],
    phase: BeginPhase,
) -> Looks:
    """Whether outputs stay as they are, never-seen inputs take as long, and work hides beside the call.

    The same of a worker and of an arm. `pool`: what the session prepared of `feeds`; `completed`: what was
    seen when outputs were read before.
    """
    from edgebench.measure.replicate import answer_completion as completion
    from edgebench.measure.replicate import quality_checks

    phase("second look at outputs", 0.0, plan.held_queries)
    if completion.keeps_changing(session, pool[: plan.held_queries]):
        completed = msgspec.structs.replace(completed, changed=True)
    phase("measurement of never-seen inputs", job.slice_s, 4 * plan.unseen_counts[0])
    unseen = quality_checks.unseen(
        session,
        feeds,
        pool,
        typical_ns,
        counts=plan.unseen_counts,
        seconds=plan.unseen_share * job.slice_s,
        seed=job.seed + 1000 * job.index,
    )
    pipeline = None
    if plan.establishes:
        phase("measurement of the pipeline", job.slice_s, MIN_RUNS)
        pipeline = _pipeline(job, session, task(), typical_ns)
    return Looks(completed, unseen, pipeline)


def _first_inference(session: Session, prepared: Any, task: Callable[[], Task]) -> int:
    """What it takes. Where it fails on inputs that were made up, the error says from what."""
    try:
        _, first_ns = timed(lambda: session.run(prepared))
    except (MemoryError, EdgebenchError):
        raise
    except Exception as error:
        drawn = task().drawn()
        if not drawn:
            raise
        message = f"{type(error).__name__}: {error}{drawn}"
        raise EdgebenchError(message, RANGE_FIX) from None
    return first_ns


def _lanes(job: Job, session: Session) -> int:
    """Inferences side by side in the quality pass. Under a limit of memory one, as when it was timed."""
    from edgebench.measure.cpu_pinning import usable_cpus
    from edgebench.measure.replicate.quality_checks import lanes_of

    if job.memory_limit_bytes is not None:
        return 1
    return lanes_of(session, int(job.options.get("threads", 0)), usable_cpus())


def _digest(plan: CheckPlan, feeds: Sequence[Feeds]) -> str | None:
    """The hash of the pool, once a cell: its replicates have the same inputs."""
    from edgebench.preparation import input_pool

    return input_pool.digest(feeds) if plan.establishes else None


def _device_times(
    job: Job, session: Session, pool: list[Any], typical_ns: int
) -> DeviceTimes | None:
    """Transfers and computation apart, by the device's own clock, after everything was timed."""
    count = _count(DEVICE_SHARE * job.slice_s, typical_ns, least=MIN_RUNS, most=200)
    return session.device_times([pool[number % len(pool)] for number in range(count)])


def task_of(job: Job, described: Sequence[TensorInfo]) -> Task:
    """The task; `described`: the inputs of the fp32 model, or where there is none, of the session."""
    from edgebench.definitions.workload import PARITY_METRIC
    from edgebench.task import TaskContext
    from edgebench.tasks import load_task

    context = TaskContext(
        data={name: Path(path) for name, path in job.task_data.items()},
        options=job.task_options,
        model=Path(job.fp32_path),
        model_asset=Path(job.model_asset),
        inputs=described,
        input_ranges=job.input_ranges,
        seed=job.seed,
    )
    metrics = (job.quality.metric, *job.quality.also)
    return load_task(job.task, context, [name for name in metrics if name != PARITY_METRIC])


def _window(job: Job, session: Session, pool: list[Any], typical_ns: int) -> Window:
    from edgebench.measure.replicate import loops

    if job.scenario == "offline":
        return loops.offline(
            session.run,
            pool,
            batch=job.batch,
            typical_ns=typical_ns,
            slice_s=job.slice_s,
            max_samples=job.max_samples,
            min_window_s=job.min_window_s,
        )
    if job.scenario == "sustained":
        return _sustained(job, session, pool, typical_ns)
    if job.rate_per_s is not None:
        return loops.paced_stream(
            session.run,
            pool,
            rate_per_s=job.rate_per_s,
            slice_s=job.slice_s,
            max_samples=job.max_samples,
            min_window_s=job.min_window_s,
        )
    return loops.single_stream(
        session.run,
        pool,
        typical_ns=typical_ns,
        slice_s=job.slice_s,
        target=job.target,
        percentile=job.percentile,
        max_samples=job.max_samples,
        min_window_s=job.min_window_s,
    )


def _sustained(job: Job, session: Session, pool: list[Any], typical_ns: int) -> Window:
    from edgebench.measure.replicate.sustained_loop import sustained
    from edgebench.probes.temperature import Thermometer

    _, device_source = session.device_memory()
    thermometer = Thermometer.find(gpu_used=bool(device_source))
    return sustained(
        session.run,
        pool,
        typical_ns=typical_ns,
        limit_s=job.sustain_s,
        max_samples=job.max_samples,
        temperature=thermometer.read,
        temperature_source=thermometer.source,
        min_window_s=job.min_window_s,
    )


def _pipeline(job: Job, session: Session, task: Task, typical_ns: int) -> Pipeline:
    """The application's way with fresh raw items: pre-processing, inference, post-processing."""
    from edgebench.measure.replicate import answer_completion as completion
    from edgebench.preparation import input_pool

    clock = time.perf_counter_ns
    split = Pipeline(
        preprocess_ns=[],
        inference_ns=[],
        postprocess_ns=[],
        end_to_end_ns=[],
        prepare_ns=[],
        read_ns=[],
        copy_ns=[],
    )
    count = _count(PIPELINE_SHARE * job.slice_s, 2 * typical_ns, least=MIN_RUNS, most=200)
    raw = [task.raw(index) for index in range(min(len(task), input_pool.POOL * job.batch))]
    deadline = clock() + round(2 * PIPELINE_SHARE * job.slice_s * 1e9)
    for number in range(count):
        chosen = [raw[(number * job.batch + offset) % len(raw)] for offset in range(job.batch)]
        begin = clock()
        feeds = input_pool.stack([task.preprocess(item) for item in chosen])
        made = clock()
        prepared = session.prepare(feeds)
        ready = clock()
        answer = session.run(prepared)
        returned = clock()
        outputs = session.outputs_of(prepared, answer)
        completion.read(outputs)
        answered = clock()
        for item, source in zip(input_pool.split(outputs, job.batch), chosen, strict=True):
            task.postprocess(item, source)
        end = clock()
        split.preprocess_ns.append(ready - begin)
        split.inference_ns.append(answered - ready)
        split.postprocess_ns.append(end - answered)
        split.end_to_end_ns.append(end - begin)
        split.prepare_ns.append(ready - made)
        split.read_ns.append(answered - returned)
        split.copy_ns.append(completion.copying_ns(feeds, outputs))
        if end > deadline and number + 1 >= MIN_RUNS:
            break
    return split


def _count(seconds: float, each_ns: int, *, least: int, most: int) -> int:
    return max(least, min(most, round(seconds * 1e9 / max(each_ns, 1))))


def _judged(replicate: Replicate, window: Window) -> Replicate:
    """The replicate with the status that its own findings demand."""

    reasons = []
    if replicate.completion is not None and replicate.completion.incomplete:
        reasons.append(DEFERRED)
    if replicate.output_check is not None and not replicate.output_check.passed:
        from edgebench.measure.replicate.quality_checks import mismatch

        reasons.append(mismatch(replicate.output_check))
    if window.paced is not None and window.paced.misses > len(window.samples_ns) / 2:
        reasons.append(
            Reason(
                code="rate_not_sustained",
                message=f"{window.paced.rate_per_s:g} queries a second are more than this "
                f"deployment serves: {window.paced.misses} came too late or never ran",
                fix="lower --rate",
            )
        )
    if not reasons:
        return replicate
    return msgspec.structs.replace(replicate, status="invalid", reasons=reasons)


def explain(error: Exception, *specs: str) -> tuple[str, str]:
    """The code of a failure and its words, with the place where it arose in a file that `specs` name."""
    place = place_of(error, specs)
    text = f"{place}: {type(error).__name__}: {error}".removeprefix(": ").strip()
    return ("out_of_memory" if tells_of_no_memory(error) else "error"), text


def _refused(job: Job, started: str, error: EdgebenchError) -> Done:
    """What ends in an error of our own. A runtime's refusal for want of memory is none of what it can do."""
    code, _ = explain(error)
    if code == "error" and isinstance(error, UnsupportedError):
        return _ended(job, started, "unsupported", "unsupported", error.message, error.fix)
    return _ended(job, started, "failed", code, error.message, error.fix)


def _ended(job: Job, started: str, status: Any, code: str, message: str, fix: str) -> Done:
    from edgebench.preparation.preparation_messages import as_users_file

    message = as_users_file(message, job.model_asset, job.model_path)
    reason = Reason(code=code, message=message, fix=fix)
    return Done(Replicate(index=job.index, status=status, started_utc=started, reasons=[reason]))


if __name__ == "__main__":
    main()
