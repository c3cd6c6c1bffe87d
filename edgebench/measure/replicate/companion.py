"""A companion: a process that loads the machine beside the one that is measured.

    python -m edgebench.measure.replicate.companion JOB_FD RESULT_FD PARENT_PID

It says `ready` when its load is set up, and then goes on until it is ended. The process that is measured stops and
lets it by signals.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from itertools import cycle
from typing import TYPE_CHECKING

import msgspec

from edgebench.definitions.companion_load import BLOCK_BYTES
from edgebench.measure.worker_messages import Companion, CompanionReady
from edgebench.processes.memory_limit import be_first_to_go
from edgebench.processes.parent_tie import die_with_parent
from edgebench.words import note_words

if TYPE_CHECKING:
    from edgebench.measure.worker_messages import Job

PAGE_BYTES = 4096
#: How long a load is tried before it is said what it reaches.
TRIAL_S = 0.2
MIN_REACHED = 0.9


def main() -> None:
    job_fd, result_fd, parent_pid = map(int, sys.argv[1:4])
    die_with_parent(parent_pid)
    be_first_to_go()
    with os.fdopen(job_fd, "rb") as source:
        asked = msgspec.json.decode(source.readline(), type=Companion)
    try:
        load, note = _load(asked)
        said = CompanionReady(note=note)
    except MemoryError:
        load, said = None, CompanionReady(error=note_words.NO_MEMORY_FOR_COMPANION)
    except Exception as error:  # noqa: BLE001 - whatever keeps it from its load is told in the row
        load, said = None, CompanionReady(error=f"{type(error).__name__}: {error}")
    os.write(result_fd, msgspec.json.encode(said) + b"\n")
    while load is not None:
        load()


def _load(asked: Companion) -> tuple[Callable[[], object], str]:
    """One turn of its load, and what to know of it."""
    if asked.model is not None:
        return _inference(asked.model), ""
    if asked.held_bytes is not None:
        return _holding(asked.held_bytes), ""
    return (_spin, "") if asked.bytes_per_s is None else _copying(asked.bytes_per_s)


def _spin() -> None:
    """Keeps a core busy for a while, within its own caches."""
    for _ in range(100_000):
        pass


def _holding(size: int) -> Callable[[], None]:
    """Holds memory, every page of which was written once, and does nothing else."""
    held = bytearray(size)
    held[::PAGE_BYTES] = b"\x01" * len(range(0, size, PAGE_BYTES))

    def hold() -> None:
        if held:
            time.sleep(1.0)

    return hold


def _copying(bytes_per_s: float) -> tuple[Callable[[], None], str]:
    """Copies blocks at a rate; a copy reads and writes each byte."""
    source, target = bytearray(BLOCK_BYTES), memoryview(bytearray(BLOCK_BYTES))

    def copy() -> None:
        target[:] = source

    copy()
    begin, copies = time.perf_counter(), 0
    while time.perf_counter() < begin + TRIAL_S:
        copy()
        copies += 1
    reached = 2 * BLOCK_BYTES * copies / (time.perf_counter() - begin)
    period_s = 2 * BLOCK_BYTES / bytes_per_s

    def paced() -> None:
        begin_s = time.perf_counter()
        copy()
        time.sleep(max(0.0, period_s - (time.perf_counter() - begin_s)))

    short = reached < MIN_REACHED * bytes_per_s
    return paced, note_words.copies_reach(reached) if short else ""


def _inference(job: Job) -> Callable[[], None]:
    from edgebench.measure.replicate import steps
    from edgebench.preparation import input_pool

    backend = steps.backend_of(job)
    backend.import_runtime()
    session = backend.open(steps.model_file(job), job.options)
    items = steps.items_of(job, lambda: steps.task_of(job, job.fp32_inputs or session.inputs))
    pool = cycle([session.prepare(feeds) for feeds in input_pool.pool_of(items, job.batch)])
    session.run(next(pool))

    def infer() -> None:
        session.run(next(pool))

    return infer


if __name__ == "__main__":
    main()
