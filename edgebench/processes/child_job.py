"""A child's side of one job: it reads the job on stdin, and tells its steps and its answer on stdout."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

import msgspec

from edgebench.processes.parent_tie import tie_to_parent

Job = TypeVar("Job", bound=msgspec.Struct)
Answer = TypeVar("Answer", bound=msgspec.Struct)
Failure = TypeVar("Failure", bound=msgspec.Struct)
#: Tells the parent which step begins, or that it is still at it.
Say = Callable[[str], object]


def leave(code: int = 0) -> NoReturn:
    """Ends the process at once: its answer is out, and a runtime that hangs or crashes in its destructors must not
    spoil it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run_job(
    kind: type[Job], work: Callable[[Job, Say], Answer], failed: Callable[[Exception], Failure]
) -> Answer | Failure:
    """Does a job of this kind, and answers; whatever libraries print goes to stderr.

    The arguments of the process are those of `tie_to_parent`. `failed` makes the answer of what `work`
    raised: whatever a library raises is an answer, and no traceback.
    """
    tie_to_parent(sys.argv[1:])
    with os.fdopen(os.dup(1), "wb", buffering=0) as out:
        os.dup2(2, 1)
        answer: Answer | Failure
        try:
            job = msgspec.json.decode(sys.stdin.buffer.read(), type=kind)
            answer = work(job, lambda step: out.write(msgspec.json.encode({"step": step}) + b"\n"))
        except Exception as error:  # noqa: BLE001
            answer = failed(error)
        out.write(msgspec.json.encode(answer) + b"\n")
    return answer
