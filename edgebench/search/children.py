"""The two children of a search: how the parent starts them and hears their steps, and what a child answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

import msgspec

from edgebench.errors import EdgebenchError, StoreError, UnsupportedError, UsageError
from edgebench.measure.preparation_process import step_of
from edgebench.measure.worker_messages import Phase
from edgebench.processes import child
from edgebench.processes.child_job import Job, Say, run_job
from edgebench.processes.python_command import module_command
from edgebench.search.search_messages import ChildFailure

Answer = TypeVar("Answer", bound=msgspec.Struct)

#: A step that says nothing for so long hangs: calibrating is one step.
STEP_TIMEOUT_S = 120.0
#: What a child may take beyond the time that it was told of.
OVERTIME_S = 60.0


@dataclass(frozen=True)
class Asking:
    """How a child is started."""

    time_s: float
    memory_limit_bytes: int | None
    hear: Callable[[str], object]  # of its steps


def ask_child(module: str, job: msgspec.Struct, kind: type[Answer], asking: Asking) -> Answer:
    """The answer of `python -m module`. Raises EdgebenchError with its reason where it has none."""
    limit = asking.memory_limit_bytes
    command = module_command(module, str(os.getpid()), "-" if limit is None else str(limit))
    limits = child.Limits(STEP_TIMEOUT_S, asking.time_s + OVERTIME_S)

    def hear(line: bytes) -> Phase | None:
        phase = step_of(line)
        if phase is not None:
            asking.hear(phase.name)
        return phase

    answer = child.ask(command, limits, msgspec.json.encode(job), step=hear)
    if isinstance(answer, child.Failed):
        raise EdgebenchError(answer.reason.message, answer.reason.fix)
    return _decoded(answer, kind)


def _decoded(answer: bytes, kind: type[Answer]) -> Answer:
    found = msgspec.json.decode(answer)
    if isinstance(found, dict) and "error" in found:
        failure = msgspec.convert(found, ChildFailure)
        errors = {"usage": UnsupportedError, "store": StoreError, "": EdgebenchError}
        raise errors[failure.kind](failure.error, failure.fix)
    return msgspec.convert(found, kind)


# In the child


def answer_job(kind: type[Job], work: Callable[[Job, Say], msgspec.Struct]) -> int:
    """Does the job that stands on stdin, and answers on stdout. Returns the exit code."""
    return 1 if isinstance(run_job(kind, work, _failure), ChildFailure) else 0


def _failure(error: Exception) -> ChildFailure:
    if isinstance(error, EdgebenchError):
        return ChildFailure(error=error.message, fix=error.fix, kind=_kind(error))
    if isinstance(error, MemoryError):
        return ChildFailure(error="the search ran out of memory", fix="close other programs")
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ChildFailure(error=f"{type(error).__name__}: {first}")


def _kind(error: EdgebenchError) -> Literal["", "usage", "store"]:
    if isinstance(error, UsageError | UnsupportedError):
        return "usage"
    return "store" if isinstance(error, StoreError) else ""
