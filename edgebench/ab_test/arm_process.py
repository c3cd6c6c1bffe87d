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
from dataclasses import replace
from functools import cache
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgebench.ab_test import arm_messages as messages
from edgebench.ab_test.pair_record import Alone, ArmBlock, BlockShape, Measured
from edgebench.analysis.per_row.answer_cache import DEFERRED
from edgebench.backend import Backend, Session, computes_itself
from edgebench.measure.replicate import steps
from edgebench.measure.replicate.phases import peak_of
from edgebench.measure.replicate.worker_ipc import ParentLink
from edgebench.probes import process_memory, run_queue_waits
from edgebench.processes.child_job import leave
from edgebench.processes.memory_limit import be_first_to_go, limit_memory
from edgebench.record import Completion

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
    def line(self) -> bytes:
        """The parent's next word; sleeps until it comes. Empty: the parent hung up."""
        return self._job.readline()

    def say(self, message: messages.Message) -> None:
        self._send(messages.encode(message))

    def say_and_wait(self, message: messages.Message, phase: str) -> bytes:
        """Sleeps until the parent's next word, which begins `phase`; ends where it hangs up instead."""
        self.phase(phase)
        self.say(message)
        return self.line() or os._exit(1)

    def block_done(self) -> None:
        os.write(self._result_fd, messages.BLOCK)


def main() -> None:
    link = _Link(*map(int, sys.argv[1:4]))
    link.die_with_parent()
    be_first_to_go()
    job = messages.decode_job(link.line())
    try:
        link.say(_measure(job, link))
    except Exception as error:  # noqa: BLE001 - whatever a backend or task raises is a reason
        link.say(messages.Broken(*steps.failure(error, job.job)))
    leave()


def _measure(arm: messages.ArmJob, link: _Link) -> Measured | messages.Broken:
    job = arm.job
    everywhere = os.sched_getaffinity(0) if arm.cores else set()
    _pin(arm.lent)
    limit_memory(job.memory_limit_bytes)
    runtime = steps.import_runtime(job, link)
    opened, items = _open(arm, link, runtime.backend)
    if arm.quality and steps.completion(opened, "check for deferred answers").incomplete:
        return messages.Broken("invalid", DEFERRED)  # what its blocks submit would pile up
    blocks = _blocks_in_turn(opened, link)
    peak = peak_of(opened.session, job)
    # Alone, as the blocks were; and no earlier, since further inputs would be in the peak.
    link.line()
    completed = steps.completion(opened)
    alone = _alone(opened)
    completed, unseen, pipeline = _looks(arm, opened, completed)
    opened.phase("end of the looks")
    link.say_and_wait(messages.Checked(), "output check")
    _pin(everywhere)
    link.phase("output check")
    checked = steps.output_check(job, opened.session, items)
    quality = effective = None
    if arm.quality:
        link.phase("quality pass", 10 * job.slice_s)
        quality = steps.quality(job, opened.session, opened.task())
        effective = steps.effective(link, opened.session)
    return Measured(
        blocks=blocks,
        memory=peak,
        output_check=checked,
        quality=quality,
        effective=effective,
        completion=completed,
        unseen=unseen,
        pipeline=pipeline,
        alone=alone,
        runtime=runtime.version,
    )


def _open(arm: messages.ArmJob, link: _Link, backend: Backend) -> tuple[steps.Opened, list[Feeds]]:
    """The warm session, and the items whose outputs are compared. The model opens when the parent says so."""
    from edgebench.measure.replicate.check_plan import AT_LENGTH, IN_BRIEF
    from edgebench.measure.replicate.quality_checks import CHECKED_ITEMS
    from edgebench.preparation.input_pool import pool_of

    job = arm.job

    @cache
    def task() -> Task:
        return steps.task_of(job, job.fp32_inputs or session.inputs)

    # A file in a runtime's own format is described by its session alone.
    early = bool(job.fp32_inputs) or arm.items_kept
    items = _items(arm, task, link) if early else []
    link.say_and_wait(messages.Ready(), "load of the model")
    _pin(arm.cores)
    session = backend.open(steps.model_file(job), job.options)
    items = items or _items(arm, task, link)
    pool = [session.prepare(feeds) for feeds in pool_of(items, job.batch)]
    link.phase("warm-up")
    typical_ns = _warm_up(session, cycle(pool))
    plan = (AT_LENGTH if arm.quality else IN_BRIEF).for_queries_of(typical_ns)
    return steps.Opened(job, link, plan, session, task, pool, typical_ns), items[:CHECKED_ITEMS]


def _blocks_in_turn(opened: steps.Opened, link: _Link) -> list[ArmBlock]:
    """The measured blocks, and the windows of energy behind them."""
    from edgebench.measure.replicate.loops import no_gc

    session, rotation = opened.session, _rotation(opened)
    resident, _ = process_memory.peak_rss()
    elsewhere = not computes_itself(session.device()) or session.device_memory() != (None, "")
    loaded = messages.Loaded(opened.typical_ns, resident, device=elsewhere)
    begin = messages.decode_begin(link.say_and_wait(loaded, "measurement"))
    with no_gc():
        blocks = _blocks(session, rotation, begin, link)
        _stretches(session, rotation, link)
    return blocks


def _rotation(opened: steps.Opened) -> Iterator[Any]:
    """The pool over and over, from where the warm-up left it."""
    rotation = cycle(opened.pool)
    for _ in range(messages.WARM_UP):
        next(rotation)
    return rotation


def _alone(opened: steps.Opened) -> Alone:
    """The arm in a closed loop, as the kernel counts it: threads, other processes, time."""
    opened.phase("count of threads and processes", COUNTED_S, 1)
    window, accounts, _ = steps.counted_window(_brief(opened, COUNTED_S))
    return Alone(
        window_ns=window.window_ns,
        start_ns=window.start_ns,
        end_ns=window.end_ns,
        cpu_ns=window.cpu_ns,
        accounts=accounts,
    )


def _looks(arm: messages.ArmJob, opened: steps.Opened, completed: Completion) -> steps.Looks:
    """Returns what the session shows of itself, on the inputs of the blocks, which are read or made once more."""
    from edgebench.preparation.input_pool import pool_of

    again = msgspec.structs.replace(arm, items_kept=Path(arm.items).is_file())
    feeds = pool_of(_items(again, opened.task, opened.link), opened.job.batch)
    return steps.looks(replace(_brief(opened, LOOKS_S), feeds=feeds), completed)


def _brief(opened: steps.Opened, slice_s: float) -> steps.Opened:
    return replace(opened, job=msgspec.structs.replace(opened.job, slice_s=slice_s))


def _pin(cores: Collection[int]) -> None:
    """Moves every thread of this process there: an import may have started some. No cores: leaves them."""
    for thread in Path("/proc/self/task").iterdir() if cores else ():
        with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)


def _items(arm: messages.ArmJob, task: Callable[[], Task], link: ParentLink) -> list[Feeds]:
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


def _warm_up(session: Session, rotation: Iterator[Any]) -> int:
    """A fixed number of iterations: how long one arm warms up must not depend on how it does.

    Returns what an iteration takes when it has its core: it decides how many make a block.
    """
    run, clock, waiting = session.run, time.perf_counter_ns, run_queue_waits.WaitClock()
    times = []
    for _ in range(messages.WARM_UP):
        prepared = next(rotation)
        waited, start = waiting.read_ns(), clock()
        run(prepared)
        took = clock() - start
        times.append(took - (waiting.read_ns() - waited))
    waiting.close()
    return max(1, min(times[messages.WARM_UP // 2 :]))


def _blocks(
    session: Session, rotation: Iterator[Any], begin: BlockShape, link: _Link
) -> list[ArmBlock]:
    """A block for each word of the parent, until it says that it was the last."""
    run = session.run
    wall_clock, cpu_clock, usage = _WALL_NS, _CPU_NS, resource.getrusage
    myself, calls = resource.RUSAGE_SELF, range(begin.calls)
    waiting = run_queue_waits.WaitClock()
    done: list[ArmBlock] = []
    while link.line() == messages.BLOCK:
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
    while (line := link.line()) and line != messages.END:
        seconds = messages.decode_stretch(line).seconds
        link.phase("energy window", seconds)
        iterations, start = 0, clock()
        end, until = start, start + round(seconds * 1e9)
        while end < until:
            run(next(rotation))
            iterations, end = iterations + 1, clock()
        link.say(messages.WindowDone(start, end, iterations))


if __name__ == "__main__":
    main()
