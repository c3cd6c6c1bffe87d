"""`--instructions callgrind`: behind the first process of each cell, another one under valgrind that counts.

It is slow (5 to 50 times) and times nothing; its count joins the replicate whose process ran before it.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from edgebench.errors import UsageError
from edgebench.measure.replicate.instruction_worker import uncounted
from edgebench.measure.worker_messages import Done, Job, Phase, decode_message, encode_job
from edgebench.processes.child import Failed, Limits, Setup, Spawn, ask, garbled_reason
from edgebench.processes.python_command import module_command
from edgebench.record import Instructions, Reason
from edgebench.words import unknown_words

PROGRAMS: Final = ("valgrind", "callgrind_control")
SLOWER: Final = 20.0  # than outside of it, for what may be silent how long
_MODULE = "edgebench.measure.replicate.instruction_worker"

Launch = Callable[..., Done]


def check_callgrind() -> None:
    """Raises UsageError where it is not installed, or the machine is none of its own."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        raise UsageError(
            f"--instructions callgrind needs {missing[0]}, which is not here",
            "apt-get install valgrind"
            if platform.system() == "Linux"
            else "valgrind runs on Linux: leave --instructions out",
        )


def counting(launch: Launch) -> Launch:
    """Runs a worker as `launch` does, and counts the instructions of what the first one of a cell measured."""

    def both(job: Job, **options: Any) -> Done:
        begin = time.monotonic()
        done = launch(job, **options)
        if not job.thorough or done.replicate.status != "ok":
            return done
        left_s = options.get("time_s", float("inf")) - (time.monotonic() - begin)
        found = count_instructions(job, options["time_out_s"], left_s)
        told = [*done.replicate.instructions, found]
        replicate = msgspec.structs.replace(done.replicate, instructions=told)
        return msgspec.structs.replace(done, replicate=replicate)

    return both


def count_instructions(
    job: Job, time_out_s: float, time_s: float, spawn: Spawn = subprocess.Popen
) -> Instructions:
    """In a process of its own; why not, where it cannot be."""
    if job.generate is not None or job.stream is not None:
        return uncounted(unknown_words.NOT_FOR_CALLGRIND)
    if time_s <= 0:
        return uncounted(unknown_words.NO_TIME_TO_COUNT)
    alone = msgspec.structs.replace(
        job, companions=[], memory_budget_bytes=None, memory_limit_bytes=None
    )
    with tempfile.TemporaryDirectory(prefix="edgebench-callgrind-") as folder:
        dump = Path(folder) / "out"
        command = [
            "valgrind",
            "--quiet",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={dump}",
            *module_command(_MODULE, str(dump)),
        ]
        found = _answer(command, alone, Limits(SLOWER * time_out_s, time_s), Setup(spawn=spawn))
    return uncounted(found.message) if isinstance(found, Reason) else found


def _answer(command: list[str], job: Job, limits: Limits, setup: Setup) -> Instructions | Reason:
    answer = ask(command, limits, encode_job(job) + b"\n", setup, _step)
    if isinstance(answer, Failed):
        return answer.reason
    message = _message(answer)
    if not isinstance(message, Done) or not message.replicate.instructions:
        return garbled_reason(answer, "count of instructions")
    return message.replicate.instructions[-1]


def _step(line: bytes) -> Phase | None:
    message = _message(line)
    if not isinstance(message, Phase):
        return None
    return msgspec.structs.replace(message, limit_s=SLOWER * message.limit_s)


def _message(line: bytes) -> Phase | Done | None:
    """Returns what the worker said; None: it is no message."""
    with contextlib.suppress(msgspec.MsgspecError, RecursionError):
        return decode_message(line)
    return None
