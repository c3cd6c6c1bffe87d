"""The parent of a worker: starts it, sleeps until it reports, and turns its end into a replicate."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from edgebench.measure.companions import CompanionError, companions
from edgebench.measure.worker_messages import Done, Job, Phase, decode_message, encode_job
from edgebench.measure.worker_observer import END, Witness
from edgebench.models.weight_files import weights_beside
from edgebench.processes.child import (
    OUT_OF_TIME,
    Child,
    Limits,
    Setup,
    Spawn,
    garbled_reason,
    not_started,
)
from edgebench.processes.memory_limit import (
    BY_ALLOCATIONS,
    MemoryGroup,
    drop_from_page_cache,
    memory_group,
)
from edgebench.processes.python_command import module_command
from edgebench.record import Reason, Replicate
from edgebench.record_validation import replicate_findings
from edgebench.text.plain_text import utf8
from edgebench.words.reason_words import reason


def run_worker(
    job: Job,
    *,
    time_out_s: float,
    time_s: float = float("inf"),
    inherited_fds: tuple[int, ...] = (),
    on_tick: Callable[[], None] = lambda: None,
    spawn: Spawn = subprocess.Popen,
) -> Done:
    """Measures one replicate in a fresh process and returns it, whatever became of the process.

    `time_out_s` bounds each phase of the worker, on top of what the phase itself announces; `time_s`
    bounds them all together. The worker is killed, with its process group, when either is exceeded, and
    on any exception here. What it had measured before its quality pass stands where only time ran out.
    """
    started = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    begin, cpu_begin = time.perf_counter(), time.process_time()
    limits, setup = Limits(time_out_s, time_s), Setup(inherited_fds=inherited_fds, spawn=spawn)
    outcome = _in_company(job, limits, setup, on_tick)
    if isinstance(outcome, Reason):
        failed = Replicate(index=job.index, status="failed", started_utc=started, reasons=[outcome])
        outcome = Done(failed)
    return msgspec.structs.replace(
        outcome,
        replicate=msgspec.structs.replace(
            outcome.replicate,
            wall_s=time.perf_counter() - begin,
            parent_cpu_s=time.process_time() - cpu_begin,
        ),
    )


def _in_company(
    job: Job, limits: Limits, setup: Setup, on_tick: Callable[[], None]
) -> Done | Reason:
    """What the worker finds, with its companions beside it and its budget of memory around it."""
    try:
        with (
            companions(job.companions, setup.spawn, own_bytes=job.needs_bytes) as beside,
            _budget(job) as group,
        ):
            alone = msgspec.structs.replace(
                job,
                memory_budget_by=group.by,
                memory_budget_group=str(group.folder or ""),
                companions=[],
                company=beside.company,
            )
            found = _fitting(_ask_worker(alone, group, limits, setup, on_tick), job, group)
            beside.check()
            return found
    except CompanionError as error:
        return error.reason


def _budget(job: Job) -> AbstractContextManager[MemoryGroup]:
    """The control group that holds the worker to its budget of memory, which the model's pages count for."""
    if job.memory_budget_bytes is None:
        return nullcontext(MemoryGroup(""))
    drafting = (
        [] if job.generate is None or job.generate.draft is None else [job.generate.draft.path]
    )
    for model in map(Path, (job.model_path, *drafting)):
        drop_from_page_cache(model, weights_beside(model))
    return memory_group(job.memory_budget_bytes)


def _fitting(found: Done | Reason, job: Job, group: MemoryGroup) -> Done | Reason:
    """Returns what was found; where memory ran out under a budget, that the deployment does not fit into it. Libraries
    that may allocate no more say so in many ways; a run whose time ended says nothing of memory."""
    failed = isinstance(found, Reason) or found.replicate.status == "failed"
    if job.memory_budget_bytes is None or not failed:
        return found
    reasons = [found] if isinstance(found, Reason) else found.replicate.reasons
    lacking = next((each for each in reasons if each.code == "out_of_memory"), None)
    if lacking is not None or (isinstance(found, Reason) and group.kills):
        code = "does_not_fit"
    elif group.by == BY_ALLOCATIONS and all(each.code != OUT_OF_TIME for each in reasons):
        code = "failed_within_budget"
    else:
        return found
    detail = (lacking or reasons[0]).message
    return reason(code, budget_bytes=job.memory_budget_bytes, by=group.by, detail=detail)


def _ask_worker(
    job: Job, group: MemoryGroup, limits: Limits, setup: Setup, on_tick: Callable[[], None]
) -> Done | Reason:
    """The replicate as the worker tells it, or why it told none."""
    try:
        encoded = encode_job(msgspec.structs.replace(job, began_ns=time.monotonic_ns())) + b"\n"
    except UnicodeEncodeError as error:
        return _not_utf8(str(error.object))
    kept: list[Done] = []
    witness = Witness()

    def hear(line: bytes) -> Phase | Reason | None:
        message = _message(line, worker.phase)
        if isinstance(message, Reason):
            return message
        name = message.name if isinstance(message, Phase) else END
        witness.hear(name, message.at_ns, worker.late)
        so_far = message if isinstance(message, Done) else message.so_far
        if so_far is not None:
            kept.append(witness.with_observations(so_far))
        return message if isinstance(message, Phase) else None

    try:
        worker = Child(module_command("edgebench.measure.replicate.worker"), limits, setup)
    except OSError as error:
        return not_started(error)
    with worker:
        try:
            group.add(worker.pid)
        except OSError as error:
            return reason("memory_budget_unavailable", error=str(error.strerror or error))
        worker.send(encoded)
        answered = worker.listen(hear, on_tick, on_wake=lambda: witness.look(worker.pid))
        if kept and (answered or worker.out_of_time):
            return kept[-1]
        return worker.why_no_answer()


def _not_utf8(path: str) -> Reason:
    return reason("path_not_utf8", path=utf8(path))


def _message(line: bytes, phase: str) -> Phase | Done | Reason:
    """Returns what a worker said, or why that cannot be: a runtime or a task may write to any descriptor, and
    whatever it says must be readable in a record."""
    try:
        message = decode_message(line)
    except (msgspec.MsgspecError, RecursionError):
        return garbled_reason(line, phase)
    done = message if isinstance(message, Done) else message.so_far
    if done is not None:
        for field, problem in replicate_findings(done.replicate):
            return reason("nonsense", field=field, problem=problem)
    return message
