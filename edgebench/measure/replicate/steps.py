"""The phases of a measurement, one function each. A worker, a worker of text and an arm of an A/B are drivers of
them: what is in one's list and not in another's stands there.

numpy, tasks and runtimes are imported here within functions, after the clock of the cold start has begun.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from edgebench import record, registry
from edgebench.analysis.per_row.rate_search import rounded
from edgebench.backend import Backend, ModelFile, Session
from edgebench.errors import EdgebenchError, UnsupportedError, tells_of_no_memory
from edgebench.measure.replicate.check_plan import CheckPlan
from edgebench.measure.replicate.phases import precision_of, timed
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.measure.worker_messages import Done, Job, StreamJob
from edgebench.probes import (
    contention,
    instruction_counter,
    process_accounting,
    process_memory,
)
from edgebench.processes.memory_limit import BY_ALLOCATIONS, lift_limit, limit_memory
from edgebench.processes.timer_slack import exact_timers
from edgebench.task import RANGE_FIX
from edgebench.user_code import place_of
from edgebench.words import fact_words
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgebench.backend import DeviceTimes, Effective, TensorInfo
    from edgebench.generation import GenerationSession
    from edgebench.measure.replicate.company_blocks import Blocks
    from edgebench.measure.replicate.loops import Schedule, Window
    from edgebench.measure.replicate.quality_checks import Standard
    from edgebench.measure.replicate.quality_pass import QualityTime
    from edgebench.preparation.input_pool import Feeds
    from edgebench.task import Task

#: Shares of the slice for what is timed beside the main window.
PIPELINE_SHARE = 0.15
DEVICE_SHARE = 0.15
#: Runs of the pipeline and of the device's part, at least.
MIN_RUNS = 5
#: What queries of multi_stream are ranked by.
RANKED_PERCENTILE = 0.99
#: Longest window for the sake of a number of queries, and how much longer than they take it is made.
MAX_COUNTING_S = 60.0
MAX_STREAM_S = 20.0  # hops of a stream take as long as they do
COUNTING_SHARE = 1.1
#: Of a session that is given several shapes: slices at most, and items of the task.
SHAPES_SLICES = 4
MAX_NATURAL = 256


class Announces(Protocol):
    def phase(self, name: str, limit_s: float = 0.0, /) -> None: ...


class Runtime(NamedTuple):
    backend: Backend
    version: str
    import_ns: int


def begun(job: Job) -> Job:
    """The job with the moment from which its time counts: its process was started then, and not when Python was ready."""
    return job if job.began_ns else msgspec.structs.replace(job, began_ns=time.monotonic_ns())


def allocations_limit(job: Job) -> int | None:
    """Returns what the process may allocate: the limit, and a budget that no control group holds it to."""
    by_itself = job.memory_budget_by == BY_ALLOCATIONS
    limits = (job.memory_limit_bytes, job.memory_budget_bytes if by_itself else None)
    return min((limit for limit in limits if limit is not None), default=None)


def lift_budget(job: Job) -> None:
    """Ends the budget of memory behind what is measured: the checks that follow hold references, and a runtime may open
    the model once more."""
    if job.memory_budget_bytes is None:
        return
    if job.memory_budget_group:
        lift_limit(Path(job.memory_budget_group))
    else:
        limit_memory(job.memory_limit_bytes)


def import_runtime(job: Job, link: ParentLink) -> Runtime:
    link.phase("import of the runtime")
    backend = backend_of(job)
    version, import_ns = timed(backend.import_runtime)
    return Runtime(backend, version, import_ns)


def backend_of(job: Job) -> Backend:
    """The backend, in whose environment its runtime can be imported."""
    backend = registry.load(job.backend)
    os.environ.update(backend.environment(job.options))
    return backend


def model_file(job: Job) -> ModelFile:
    return ModelFile(
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


def items_of(job: Job, task: Callable[[], Task]) -> list[Feeds]:
    """The items of the pool: those of a file, or made here."""
    from edgebench.files.model_outputs import load_outputs
    from edgebench.preparation import input_pool

    if job.items:
        return load_outputs(job.items, input_pool.POOL * job.batch)
    return input_pool.pool_items(task(), job.batch)


@dataclass(frozen=True)
class Opened:
    """A warm session, and what the phases behind its warm-up look at."""

    job: Job
    link: ParentLink
    plan: CheckPlan
    session: Session
    task: Callable[[], Task]  # made when it is first asked for
    pool: list[Any]  # what the session prepared of `feeds`
    typical_ns: int  # of a query
    feeds: Sequence[Feeds] = ()

    def phase(
        self, name: str, seconds: float = 0.0, queries: int = 0, so_far: Done | None = None
    ) -> None:
        """Starts a phase of so many seconds, or of so many queries where they take longer."""
        self.link.phase(name, seconds + queries * self.typical_ns / 1e9, so_far)


def first_inference(session: Session, prepared: Any, task: Callable[[], Task]) -> int:
    """Returns what it takes. Where it fails on inputs that were made up, the error says from what."""
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


def completion(opened: Opened, name: str = "reading of outputs") -> record.Completion:
    """Whether answers are there when a call returns."""
    from edgebench.measure.replicate import answer_completion

    pairs = opened.plan.completion_pairs
    opened.phase(name, queries=answer_completion.max_queries(pairs))
    return answer_completion.completion(opened.session, opened.pool, opened.typical_ns, pairs)


class Counted(NamedTuple):
    """The measured window, and what the kernel counted meanwhile."""

    window: Window
    accounts: record.Accounts
    instructions: instruction_counter.Count | None = None  # None: they were not looked at


def counted_window(opened: Opened) -> Counted:
    counter = instruction_counter.current()
    account, begin = process_accounting.Account(), counter.look()
    window = _window(opened)
    retired = counter.since(begin)
    accounts = msgspec.structs.replace(account.closed(), raw_ns=window.raw_ns)
    return Counted(window, accounts, retired)


def measurement(opened: Opened) -> Counted:
    """The window whose latencies are the replicate's."""
    from edgebench.measure.replicate.loops import MAX_SLICES

    job = opened.job
    window_s = MAX_SLICES * max(job.slice_s, job.min_window_s)
    rate_per_s = _rate(job, opened.typical_ns)
    between_ns = 0 if rate_per_s is None else round(1e9 / rate_per_s)
    query_ns = max(opened.typical_ns * job.runs_per_query, between_ns)
    window_s += 2 * _counted_s(job, query_ns)
    if job.stream is not None:
        window_s += 100 * job.stream.hop_ns / 1e9
    opened.phase("measurement", window_s + 2 * job.sustain_s, job.runs_per_query)
    return counted_window(opened)


def instructions(job: Job, counted: Counted) -> list[record.Instructions]:
    if (found := counted.instructions) is None:
        return []
    inferences = counted.window.queries * job.runs_per_query * job.batch
    return [
        record.Instructions(
            source="perf_event", count=found.value, inferences=inferences, unknown=found.unknown
        )
    ]


def with_window(replicate: record.Replicate, counted: Counted) -> record.Replicate:
    """The replicate with what every kind of window has."""
    window, accounts, _ = counted
    return msgspec.structs.replace(
        replicate,
        samples_ns=window.samples_ns,
        window_ns=window.window_ns,
        window_start_ns=window.start_ns,
        window_end_ns=window.end_ns,
        window_start_unix_ns=window.start_unix_ns,
        cpu_ns=window.cpu_ns,
        accounts=accounts,
        involuntary_switches=window.involuntary_switches,
        stop=window.stop,
    )


class Looks(NamedTuple):
    """Holds what a session showed of itself after its times were taken."""

    completion: record.Completion
    unseen: record.Unseen
    pipeline: record.Pipeline | None  # None: another process of the cell has shown it


def looks(opened: Opened, completed: record.Completion) -> Looks:
    """Whether outputs stay as they are, never-seen inputs take as long, and work hides beside the call.
    `completed`: what was seen when outputs were read before."""
    from edgebench.measure.replicate import answer_completion, quality_checks

    job, plan = opened.job, opened.plan
    opened.phase("second look at outputs", queries=plan.held_queries)
    if answer_completion.keeps_changing(opened.session, opened.pool[: plan.held_queries]):
        completed = msgspec.structs.replace(completed, changed=True)
    opened.phase("measurement of never-seen inputs", job.slice_s, 4 * plan.unseen_counts[0])
    unseen = quality_checks.unseen(
        opened.session,
        opened.feeds,
        opened.pool,
        opened.typical_ns,
        counts=plan.unseen_counts,
        seconds=plan.unseen_share * job.slice_s,
        seed=job.seed + 1000 * job.index,
    )
    pipeline = None
    if plan.establishes:
        opened.phase("measurement of the pipeline", job.slice_s, MIN_RUNS)
        pipeline = _pipeline(job, opened.session, opened.task(), opened.typical_ns)
    return Looks(completed, unseen, pipeline)


class Used(NamedTuple):
    """Memory that a process had to itself as it went on, in bytes."""

    loaded: int | None
    warm: int | None


def memory(session: Session | GenerationSession, peak: record.Memory, used: Used) -> record.Memory:
    """All of it, now that everything was measured. `peak`: as it was when the window was over."""
    return msgspec.structs.replace(
        peak,
        uss_loaded_bytes=used.loaded,
        uss_warm_bytes=used.warm,
        uss_end_bytes=process_memory.uss_bytes(),
        arena_bytes=session.arena_bytes(),
    )


def device_times(opened: Opened) -> DeviceTimes | None:
    """Transfers and computation apart, by the device's own clock, after everything was timed; None: another
    process of the cell has shown it."""
    if not opened.plan.establishes:
        return None
    opened.phase("measurement of the device's part", opened.job.slice_s, MIN_RUNS)
    each_s = DEVICE_SHARE * opened.job.slice_s
    count = _count(each_s, opened.typical_ns, least=MIN_RUNS, most=200)
    pool = opened.pool
    return opened.session.device_times([pool[number % len(pool)] for number in range(count)])


def company(opened: Opened) -> record.Company | None:
    """The model alone and beside its companions, after everything else was timed; None: it has none."""
    from edgebench.measure.replicate.company_blocks import Companions, in_company, plan
    from edgebench.measure.replicate.company_blocks import Counted as Counted_

    beside = opened.job.company
    if beside is None:
        return None
    asked = plan(opened.job.slice_s, opened.typical_ns)
    opened.phase("measurement in company", 20 * asked.pairs * asked.block_s, 100)
    told = contention.counters()

    def look() -> Counted_:
        return Counted_(*process_accounting.cpu_and_wait_ns(), told.look())

    blocks = in_company(opened.session.run, opened.pool, Companions(beside.pids), asked, look=look)
    counters = _counters(blocks, told)
    in_part = sorted(told.sources.keys() - {counter.name for counter in counters})
    return record.Company(
        companions=beside.names,
        alone_mean_ns=[max(block.mean_ns, 1) for block in blocks.alone],
        company_mean_ns=[max(block.mean_ns, 1) for block in blocks.company],
        alone_ns=[block.kept_ns for block in blocks.alone],
        company_ns=[block.kept_ns for block in blocks.company],
        total_bytes=process_memory.resident_together((os.getpid(), *beside.pids)),
        alone_cpu_ns=_known([block.counted.cpu_ns for block in blocks.alone]),
        company_cpu_ns=_known([block.counted.cpu_ns for block in blocks.company]),
        alone_waited_ns=_known([block.counted.waited_ns for block in blocks.alone]),
        company_waited_ns=_known([block.counted.waited_ns for block in blocks.company]),
        counters=counters,
        untold=told.untold | dict.fromkeys(in_part, fact_words.COUNTED_IN_PART),
        notes=beside.notes,
    )


def _counters(blocks: Blocks, told: contention.Told) -> list[record.CompanyCounter]:
    """What was told in every block, a query."""
    every = [block.counted.more for block in (*blocks.alone, *blocks.company)]
    return [
        record.CompanyCounter(
            name=name,
            source=source,
            alone=[block.counted.more[name] for block in blocks.alone],
            company=[block.counted.more[name] for block in blocks.company],
        )
        for name, source in told.sources.items()
        if all(name in more for more in every)
    ]


def _known(values: Sequence[int | None]) -> list[int]:
    """All of them, or none where one is unknown."""
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else []


def loadgen(opened: Opened, window: Window) -> record.LoadGen | None:
    """The same load by MLPerf's LoadGen; None: it was not asked for."""
    from edgebench.measure.loads import loadgen_driver as driver

    job = opened.job
    if job.loadgen is None:
        return None
    opened.phase("measurement by LoadGen", 3 * window.window_ns / 1e9 + 2)
    load = driver.Load(
        scenario=driver.SCENARIOS[job.scenario],
        queries=max(1, window.queries),
        window_ns=window.window_ns,
        call_ns=opened.typical_ns,
        calls_per_query=job.runs_per_query,
        samples_per_call=job.batch,
        rate_per_s=window.paced.rate_per_s if window.paced is not None else None,
        seed=job.seed + 1000 * job.index,
    )
    return driver.drive(opened.session.run, opened.pool, load, job.loadgen)


def shape_changes(opened: Opened) -> record.ShapeChanges | None:
    """One session that is given several shapes in turn; None: the row is of one shape."""
    from edgebench.measure.loads import shape_changes as shapes

    job = opened.job
    if job.shape_sequence is None:
        return None
    seconds = SHAPES_SLICES * job.slice_s
    opened.phase("measurement of several shapes", seconds, 4 * shapes.CHANGES)
    model = ModelFile(
        path=Path(job.open_path), format=job.model_format, sha256="", precision=job.precision
    )
    session = registry.load(job.backend).open(model, job.options)
    try:
        every = _shaped(opened, job.shape_sequence)
        queries = [
            shapes.Query(shapes.shape_text(feeds), session.prepare(feeds)) for feeds in every
        ]
        seed = job.seed + 1000 * job.index
        return shapes.measure(
            session.run,
            queries,
            None if job.shape_sequence else shapes.drawn(queries, seed),
            shapes.Asked(seconds),
            lambda changes: record.HeldMemory(
                changes=changes,
                uss_bytes=process_memory.uss_bytes(),
                arena_bytes=session.arena_bytes(),
            ),
        )
    finally:
        session.close()


def _shaped(opened: Opened, sequence: Sequence[Mapping[str, Sequence[int]]]) -> list[Feeds]:
    """The inputs of every step of a sequence; of an empty one, items of the task at their own size."""
    from edgebench.measure.loads.shape_changes import in_shape

    if sequence:
        feeds = opened.feeds
        return [in_shape(feeds[place % len(feeds)], step) for place, step in enumerate(sequence)]
    task = opened.task()
    count = min(len(task), MAX_NATURAL)
    return [task.at_own_size(task.preprocess(task.raw(index))) for index in range(count)]


def worst_case(opened: Opened) -> record.WorstCase | None:
    """The slowest input that is found in the time that was given; None: it was not asked for."""
    from edgebench.measure.loads import worst_inputs
    from edgebench.preparation import input_pool

    job, session = opened.job, opened.session
    if not job.worst_case_s:
        return None
    task = opened.task()  # which a replicate that seeks nothing does without
    opened.phase("search for the slowest input", 4 * job.worst_case_s, 8 * worst_inputs.ITEMS)
    raws = [task.raw(index) for index in range(min(len(task), worst_inputs.ITEMS))]
    answering = raws[0]
    clock = time.perf_counter_ns

    def serve(feeds: Mapping[str, Any]) -> worst_inputs.Timed:
        prepared = session.prepare(input_pool.stack([dict(feeds)] * job.batch))
        start = clock()
        answer = session.run(prepared)
        ran = clock()
        outputs = session.outputs_of(prepared, answer)
        for item in input_pool.split(outputs, job.batch):
            task.postprocess(item, answering)
        return worst_inputs.Timed(ran - start, clock() - ran)

    return worst_inputs.search(
        serve,
        worst_inputs.Inputs([task.preprocess(raw) for raw in raws]),
        job.worst_case_s,
        job.seed + 1000 * job.index,
        windows=worst_inputs.Windows(job.min_window_s, job.batch),
    )


def check_shapes(opened: Opened) -> None:
    """Raises EdgebenchError for shapes that the inputs cannot have, before anything is timed."""
    if opened.job.shape_sequence is not None:
        _shaped(opened, opened.job.shape_sequence)


def output_check(job: Job, session: Session, items: Sequence[Feeds]) -> record.OutputCheck:
    from edgebench.measure.replicate import quality_checks

    check = quality_checks.output_check(session, items, _standard(job), job.expected)
    return msgspec.structs.replace(check, rounding=job.reference.rounding)


def effective(link: Announces, session: Session | GenerationSession) -> Effective:
    link.phase("reading of effective facts")
    return session.effective()


def quality(
    job: Job, session: Session, task: Task, lanes: int = 1, time: QualityTime | None = None
) -> record.Quality:
    """Returns the model's quality, over as many items as fit into `time`."""
    from edgebench.measure.replicate import quality_checks
    from edgebench.measure.replicate.quality_pass import UNLIMITED

    return quality_checks.quality(
        session, task, job.quality, _standard(job), lanes=lanes, time=time or UNLIMITED
    )


def _standard(job: Job) -> Standard:
    from edgebench.measure.replicate import quality_checks

    return quality_checks.Standard(
        precision=precision_of(job),
        reference=job.reference,
        batch=job.batch,
        asked=job.parity_limit,
    )


def lanes(job: Job, session: Session) -> int:
    """Inferences side by side in the quality pass. Under a limit of memory one, as when it was timed."""
    from edgebench.measure.cpu_pinning import usable_cpus
    from edgebench.measure.replicate.quality_checks import lanes_of

    if job.memory_limit_bytes is not None:
        return 1
    return lanes_of(session, int(job.options.get("threads", 0)), usable_cpus())


def _window(opened: Opened) -> Window:
    from edgebench.measure.replicate import loops

    job, session, pool = opened.job, opened.session, opened.pool
    typical_ns = opened.typical_ns
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
    if job.scenario == record.MULTI_STREAM:
        return _multi_stream(job, session, pool, typical_ns)
    if job.stream is not None:
        return _stream(job, job.stream, opened)
    if (rate_per_s := _rate(job, typical_ns)) is not None:
        if job.workers > 1:
            return _served(opened, _schedule(job, rate_per_s))
        with exact_timers():
            return loops.at_a_rate(session.run, pool, _schedule(job, rate_per_s))
    return loops.single_stream(
        session.run,
        pool,
        typical_ns=typical_ns,
        slice_s=job.slice_s,
        precision=loops.Precision(job.target, job.percentile),
        max_samples=job.max_samples,
        min_window_s=job.min_window_s,
    )


def _stream(job: Job, stream: StreamJob, opened: Opened) -> Window:
    """Hops at their real rate, from a fresh state on; then a stop, and how long it takes to catch up."""
    from edgebench.measure.replicate import loops
    from edgebench.measure.replicate.stream_loop import Stepper, recovery_ns

    opened.session.reset()
    step = Stepper(opened.session, stream.state, opened.feeds[0])
    for feeds in opened.feeds:
        step(feeds)
    rate_per_s = 1e9 / stream.hop_ns
    least_s = max(job.min_window_s, min(_counted_s(job, stream.hop_ns), MAX_STREAM_S))
    count = loops.queries_at(rate_per_s, job.slice_s, job.max_samples, least_s)
    with exact_timers():
        window = loops.at_a_rate(step, opened.feeds, loops.equal_periods(rate_per_s, count))
        recovered_ns = recovery_ns(step, opened.feeds, stream.hop_ns)
    window.stream = record.Stream(
        hop_ns=stream.hop_ns,
        window_ns=stream.window_ns,
        lookahead_ns=stream.lookahead_ns,
        warm_up_hops=stream.warm_up_hops,
        state=stream.state,
        state_bytes=step.state_bytes if stream.state else None,
        recovery_ns=recovered_ns,
    )
    return window


def _rate(job: Job, typical_ns: int) -> float | None:
    """At which queries arrive; None: a closed loop. A search for a rate begins at a share of what is served."""
    if job.rate_share is None:
        return job.rate_per_s
    return rounded(job.workers * job.rate_share * 1e9 / max(typical_ns, 1))


def _served(opened: Opened, schedule: Schedule) -> Window:
    from edgebench.measure.loads.several_workers import served_by, workers_of

    job = opened.job

    def open_another() -> Session:
        return registry.load(job.backend).open(model_file(job), job.options)

    with workers_of(opened.session, open_another, opened.feeds, job.workers) as workers:
        return served_by(workers, schedule)


def _multi_stream(job: Job, session: Session, pool: list[Any], typical_ns: int) -> Window:
    """A closed loop of queries of several runs, until their p99 is known: it is what they are ranked by."""
    from edgebench.measure.replicate import loops

    run, queries = loops.queries_of(session.run, pool, job.runs_per_query)
    return loops.single_stream(
        run,
        queries,
        typical_ns=typical_ns * job.runs_per_query,
        slice_s=job.slice_s,
        precision=loops.Precision(job.target, max(job.percentile, RANKED_PERCENTILE)),
        max_samples=job.max_samples,
        min_window_s=max(job.min_window_s, _counted_s(job, typical_ns * job.runs_per_query)),
    )


def _counted_s(job: Job, query_ns: int) -> float:
    """How long a window takes that holds as many queries as the percentile of the row needs."""
    return min(COUNTING_SHARE * job.min_queries * query_ns / 1e9, MAX_COUNTING_S)


def _schedule(job: Job, rate_per_s: float) -> Schedule:
    """When its queries are due; every replicate of a server's load has a schedule of its own."""
    from edgebench.measure.replicate import loops

    counted_s = _counted_s(job, round(1e9 / rate_per_s))
    least_s = max(job.min_window_s, counted_s)
    count = loops.queries_at(rate_per_s, job.slice_s, job.max_samples, least_s)
    if job.scenario == "server":
        return loops.poisson(rate_per_s, count, job.seed + 1000 * job.index)
    return loops.equal_periods(rate_per_s, count)


def _sustained(job: Job, session: Session, pool: list[Any], typical_ns: int) -> Window:
    from edgebench.measure.replicate.sustained_loop import Temperature, sustained
    from edgebench.probes.temperature import Thermometer

    _, device_source = session.device_memory()
    thermometer = Thermometer.find(gpu_used=bool(device_source))
    return sustained(
        session.run,
        pool,
        typical_ns=typical_ns,
        limit_s=job.sustain_s,
        max_samples=job.max_samples,
        temperature=Temperature(thermometer.read, thermometer.source),
        min_window_s=job.min_window_s,
    )


def _pipeline(job: Job, session: Session, task: Task, typical_ns: int) -> record.Pipeline:
    """The application's way with fresh raw items: pre-processing, inference, post-processing."""
    from edgebench.measure.replicate import answer_completion as completion
    from edgebench.preparation import input_pool

    clock = time.perf_counter_ns
    split = record.Pipeline(
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
        prepared_ns = clock()
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
        split.prepare_ns.append(ready - prepared_ns)
        split.read_ns.append(answered - returned)
        split.copy_ns.append(completion.copying_ns(feeds, outputs))
        if end > deadline and number + 1 >= MIN_RUNS:
            break
    return split


def _count(seconds: float, each_ns: int, *, least: int, most: int) -> int:
    return max(least, min(most, round(seconds * 1e9 / max(each_ns, 1))))


def explain(error: Exception, *specs: str) -> tuple[str, str]:
    """The code of a failure and its words, with the place where it arose in a file that `specs` name."""
    place = place_of(error, specs)
    text = f"{place}: {type(error).__name__}: {error}".removeprefix(": ").strip()
    return ("out_of_memory" if tells_of_no_memory(error) else "error"), text


def failure(error: Exception, job: Job) -> tuple[record.Status, record.Reason]:
    """How the process of a job ends by an error, and why; files that were made are named as the user's. A runtime that
    refuses for want of memory says nothing of what it can do."""
    from edgebench.preparation.preparation_messages import as_users_file

    if isinstance(error, MemoryError):
        return "failed", reason("out_of_memory")
    status: record.Status = "failed"
    code, text = explain(error, job.task, job.backend)
    why = record.Reason(code=code, message=text)
    if isinstance(error, EdgebenchError):
        if code == "error" and isinstance(error, UnsupportedError):
            status = code = "unsupported"
        why = record.Reason(code=code, message=error.message, fix=error.fix)
    message = as_users_file(why.message, job.model_asset, job.model_path)
    return status, msgspec.structs.replace(why, message=message)
