"""Runs a child of a search: it reads a job from stdin and writes steps and an answer to stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Literal, TypeVar

import msgspec

from edgebench.errors import EdgebenchError, StoreError, UnsupportedError, UsageError
from edgebench.preparation.preparation_messages import encode_step
from edgebench.processes.parent_tie import tie_to_parent
from edgebench.search.search_messages import ChildFailure

Job = TypeVar("Job", bound=msgspec.Struct)


def answer_job(
    kind: type[Job], work: Callable[[Job, Callable[[str], object]], msgspec.Struct]
) -> int:
    """Reads the job, answers on stdout; whatever libraries print goes to stderr. Returns the exit code."""
    tie_to_parent(sys.argv[1:])
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        answer: msgspec.Struct
        try:
            job = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
            answer = work(job, lambda step: out.write(encode_step(step)))
        except EdgebenchError as error:
            answer = ChildFailure(error=error.message, fix=error.fix, kind=_kind(error))
        except MemoryError:
            answer = ChildFailure(error="the search ran out of memory", fix="close other programs")
        except Exception as error:  # noqa: BLE001 - whatever a library raises becomes one line
            first = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
            answer = ChildFailure(error=f"{type(error).__name__}: {first}")
        out.write(msgspec.json.encode(answer) + b"\n")
    return 1 if isinstance(answer, ChildFailure) else 0


def _kind(error: EdgebenchError) -> Literal["", "usage", "store"]:
    if isinstance(error, UsageError | UnsupportedError):
        return "usage"
    return "store" if isinstance(error, StoreError) else ""
