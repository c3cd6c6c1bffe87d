"""Runs a child of a search, and says in one line what it failed of."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.processes.child_job import Job, Say, run_job
from edgebench.search.search_messages import ChildFailure


def answer_job(kind: type[Job], work: Callable[[Job, Say], msgspec.Struct]) -> int:
    """Does the job that stands on stdin, and answers on stdout. Returns the exit code."""
    return 1 if isinstance(run_job(kind, work, _failure), ChildFailure) else 0


def _failure(error: Exception) -> ChildFailure:
    if isinstance(error, EdgebenchError):
        usage = isinstance(error, UsageError | UnsupportedError)
        return ChildFailure(error=error.message, fix=error.fix, usage=usage)
    if isinstance(error, MemoryError):
        return ChildFailure(error="the search ran out of memory", fix="close other programs")
    first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
    return ChildFailure(error=f"{type(error).__name__}: {first}")
