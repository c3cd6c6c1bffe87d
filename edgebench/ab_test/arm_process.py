"""One arm of a pair: a fresh process that runs its block when told to and sleeps while the other runs.

    python -m edgebench.ab_test.arm_process JOB_FD RESULT_FD PARENT_PID

It may run in another Python than the parent's, with another version of a runtime.
"""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import time
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench import registry
from edgebench.ab_test.arm_messages import (
    BLOCK,
    END,
    WARM_UP,
    ArmJob,
    Broken,
    Checked,
    Loaded,
    Message,
    Ready,
    WindowDone,
    decode_begin,
    decode_job,
    decode_stretch,
    encode,
)
from edgebench.ab_test.pair_record import Alone, ArmBlock, BlockShape, Measured
from edgebench.backend import ModelFile, Session, computes_itself
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.probes import process_memory, run_queue_waits
from edgebench.processes.parent_tie import be_first_to_go
from edgebench.record import Reason

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from edgebench.preparation.input_pool import Feeds
    from edgebench.task import Task


#: Of a pair's time, for what a run's worker spends shares of its slice on; and for the closed loop of an
#: arm alone, in which the kernel counts threads, other processes and time.
LOOKS_S, COUNTED_S = 0.7, 0.1
#: Bound before any backend is loaded: what a backend makes of `time` reaches no block.
_WALL_NS, _CPU_NS = time.perf_counter_ns, time.process_time_ns


class _Link(ParentLink):
    """The arm's end of its two pipes."""

    def line(self) -> bytes:
        """The parent's next word; sleeps until it comes. Empty: the parent hung up."""
        return self._job.readline()

    def say(self, message: Message) -> None:
        self._send(encode(message))

    def say_and_wait(self, message: Message, phase: str) -> bytes:
        """Sleeps until the parent's next word, which begins `phase`; ends where it hangs up instead."""
        self.phase(phase)
        self.say(message)
        return self.line() or os._exit(1)

    def block_done(self) -> None:
        os.write(self._result_fd, BLOCK)


def main() -> None:
    link = _Link(*map(int, sys.argv[1:4]))
    link.die_with_parent()
    be_first_to_go()
    job = decode_job(link.line())
    try:
        link.say(_measure(job, link))
    except UnsupportedError as error:
        link.say(_broken("unsupported", "unsupported", error.message, error.fix))
    except MemoryError:
        link.say(_broken("failed", "out_of_memory", "the process ran out of memory"))
    except EdgebenchError as error:
        link.say(_broken("failed", "error", error.message, error.fix))
    except Exception as error:  # noqa: BLE001 - whatever a backend or task raises is a reason
        from edgebench.measure.replicate.worker import explain

        link.say(_broken("failed", *explain(error, job.job.task, job.job.backend)))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _measure(arm: ArmJob, link: _Link) -> Measured | Broken:
    job = arm.job
    everywhere = os.sched_getaffinity(0) if arm.cores else set()
    _pin(arm.lent)
    if job.memory_limit_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (job.memory_limit_bytes,) * 2)
    link.phase("import of the runtime")
    backend = registry.load(job.backend)
    os.environ.update(backend.environment(job.options))
    runtime = backend.import_runtime()

    from edgebench.analysis.per_row.answer_cache import DEFERRED
    from edgebench.measure.replicate import answer_completion, quality_checks
    from edgebench.measure.replicate.check_plan import AT_LENGTH, IN_BRIEF
    from edgebench.measure.replicate.loops import no_gc
    from edgebench.measure.replicate.phases import peak_of, precision_of
    from edgebench.measure.replicate.worker import counted_window, looks, task_of
    from edgebench.preparation.input_pool import pool_of

    plan = AT_LENGTH if arm.quality else IN_BRIEF

    @cache
    def task() -> Task:
        return task_of(job, job.fp32_inputs or session.inputs)

    # A file in a runtime's own format is described by its session alone.
    early = bool(job.fp32_inputs) or arm.items_kept
    items = _items(arm, task, link) if early else []
    link.say_and_wait(Ready(), "load of the model")
    _pin(arm.cores)
    session = backend.open(_model(job), job.options)
    items = items or _items(arm, task, link)
    pool = [session.prepare(feeds) for feeds in pool_of(items, job.batch)]
    items = items[: quality_checks.CHECKED_ITEMS]
    link.phase("warm-up")
    rotation = cycle(pool)
    typical_ns = _warm_up(session, rotation)
    if arm.quality:
        queries = answer_completion.max_queries(plan.completion_pairs)
        link.phase("check for deferred answers", queries * typical_ns / 1e9)
        if answer_completion.completion(
            session, pool, typical_ns, plan.completion_pairs
        ).incomplete:
            return Broken("invalid", DEFERRED)  # what its blocks submit would pile up
    resident, _ = process_memory.peak_rss()
    elsewhere = not computes_itself(session.device()) or session.device_memory() != (None, "")
    loaded = Loaded(typical_ns, resident, device=elsewhere)
    begin = decode_begin(link.say_and_wait(loaded, "measurement"))
    with no_gc():
        blocks = _blocks(session, rotation, begin, link)
        _stretches(session, rotation, link)
    peak = peak_of(session)
    # Alone, as the blocks were; and no earlier, since further inputs would be in the peak.
    link.line()

    def phase(name: str, seconds: float, queries: int) -> None:
        link.phase(name, seconds + queries * typical_ns / 1e9)

    phase("reading of outputs", 0.0, answer_completion.max_queries(plan.completion_pairs))
    completed = answer_completion.completion(session, pool, typical_ns, plan.completion_pairs)
    phase("count of threads and processes", COUNTED_S, 1)
    brief = msgspec.structs.replace(job, slice_s=COUNTED_S)
    window, accounts = counted_window(brief, session, pool, typical_ns)
    again = msgspec.structs.replace(arm, items_kept=Path(arm.items).is_file())
    feeds = pool_of(_items(again, task, link), job.batch)
    brief = msgspec.structs.replace(job, slice_s=LOOKS_S)
    completed, unseen, pipeline = looks(
        brief, session, feeds, pool, typical_ns, plan, completed, task, phase
    )
    del feeds
    phase("end of the looks", 0.0, 0)
    link.say_and_wait(Checked(), "output check")
    _pin(everywhere)
    link.phase("output check")
    found = quality_checks.output_check(
        session,
        items,
        batch=job.batch,
        precision=precision_of(job),
        reference=job.reference,
        expected=job.expected,
        parity=job.parity,
        asked=job.parity_limit,
    )
    checked = msgspec.structs.replace(found, rounding=job.fp32_rounding)
    quality = effective = None
    if arm.quality:
        link.phase("quality pass", 10 * job.slice_s)
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
        )
        link.phase("reading of effective facts")
        effective = session.effective()
    return Measured(
        blocks=blocks,
        memory=peak,
        output_check=checked,
        quality=quality,
        effective=effective,
        completion=completed,
        unseen=unseen,
        pipeline=pipeline,
        alone=Alone(
            window_ns=window.window_ns,
            start_ns=window.start_ns,
            end_ns=window.end_ns,
            cpu_ns=window.cpu_ns,
            accounts=accounts,
        ),
        runtime=runtime,
    )


def _pin(cores: Collection[int]) -> None:
    """Moves every thread of this process there: an import may have started some. No cores: leaves them."""
    for thread in Path("/proc/self/task").iterdir() if cores else ():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)


def _items(arm: ArmJob, task: Callable[[], Task], link: _Link) -> list[Feeds]:
    """The items of the queries, the same in every pair: made in the first, read from then on."""
    from edgebench.files.model_outputs import load_outputs, save_outputs
    from edgebench.preparation import input_pool

    link.phase("preparation of inputs")
    if arm.items_kept:
        return load_outputs(arm.items, input_pool.POOL * arm.job.batch)
    items = input_pool.pool_items(task(), arm.job.batch)
    if arm.items and input_pool.can_be_kept(items):
        save_outputs(arm.items, items)
    return items


def _model(job: Any) -> ModelFile:
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


def _warm_up(session: Session, rotation: Iterator[Any]) -> int:
    """A fixed number of iterations: how long one arm warms up must not depend on how it does.

    Returns what an iteration takes when it has its core: it decides how many make a block.
    """
    run, clock, waiting = session.run, time.perf_counter_ns, run_queue_waits.WaitClock()
    times = []
    for _ in range(WARM_UP):
        prepared = next(rotation)
        waited, start = waiting.read_ns(), clock()
        run(prepared)
        took = clock() - start
        times.append(took - (waiting.read_ns() - waited))
    waiting.close()
    return max(1, min(times[WARM_UP // 2 :]))


def _blocks(
    session: Session, rotation: Iterator[Any], begin: BlockShape, link: _Link
) -> list[ArmBlock]:
    """A block for each word of the parent, until it says that it was the last."""
    run = session.run
    wall_clock, cpu_clock, usage = _WALL_NS, _CPU_NS, resource.getrusage
    myself, calls = resource.RUSAGE_SELF, range(begin.calls)
    waiting = run_queue_waits.WaitClock()
    done: list[ArmBlock] = []
    while link.line() == BLOCK:
        block = ArmBlock(wall_ns=[], cpu_ns=[], switches=[], waited_ns=[])
        for _ in range(begin.samples):
            switched, waited = usage(myself).ru_nivcsw, waiting.read_ns()
            cpu = cpu_clock()
            start = wall_clock()
            for _ in calls:
                run(next(rotation))
            end = wall_clock()
            block.cpu_ns.append(cpu_clock() - cpu)
            block.wall_ns.append(end - start)
            if waiting.known:
                block.waited_ns.append(waiting.read_ns() - waited)
            block.switches.append(usage(myself).ru_nivcsw - switched)
        done.append(block)
        link.block_done()
    return done


def _stretches(session: Session, rotation: Iterator[Any], link: _Link) -> None:
    """Runs on for as long as the parent says each time, until it says that it was the last."""
    run, clock = session.run, time.monotonic_ns
    while (line := link.line()) and line != END:
        seconds = decode_stretch(line).seconds
        link.phase("energy window", seconds)
        iterations, start = 0, clock()
        end, until = start, start + round(seconds * 1e9)
        while end < until:
            run(next(rotation))
            iterations, end = iterations + 1, clock()
        link.say(WindowDone(start, end, iterations))


def _broken(status: Any, code: str, message: str, fix: str = "") -> Broken:
    return Broken(status, Reason(code=code, message=message, fix=fix))


if __name__ == "__main__":
    main()
