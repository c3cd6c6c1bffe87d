"""Runs the child processes that prepare model files before a measurement.

They are started, listened to and seen off as workers are: silence is a hang, time and memory have limits,
and none outlives its parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass

from edgebench.measure.launch_worker import (
    Conversation,
    listen,
    not_started,
    oom_kill_count,
    terminate,
    why_no_answer,
)
from edgebench.measure.worker_messages import Phase
from edgebench.processes.python_command import module_command
from edgebench.record import Reason


@dataclass(frozen=True)
class Allowance:
    """The time and memory that a child may use."""

    time_out_s: float  # of silence, before it counts as a hang
    memory_limit_bytes: int | None = None
    time_s: float = float("inf")  # altogether


def ask(
    module: str, job: bytes, allowance: Allowance, on_tick: Callable[[], None] = lambda: None
) -> bytes | Reason:
    """Runs `python -m module` on `job` and returns its answer; a crash, time-out or excess of memory is a Reason."""
    conversation, answers = Conversation(), []

    def hear(line: bytes) -> Phase | None:
        step = _step(line)
        if step is None:
            answers.append(line)
        return step

    oom_kills = oom_kill_count()
    limit = allowance.memory_limit_bytes
    with tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as log:
        asked.write(job)
        asked.seek(0)
        try:
            process = subprocess.Popen(
                module_command(module, str(os.getpid()), "-" if limit is None else str(limit)),
                stdin=asked,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            return not_started(error)
        assert process.stdout is not None
        with process.stdout as answer:
            try:
                listen(
                    answer.fileno(),
                    conversation,
                    hear,
                    allowance.time_out_s,
                    allowance.time_s,
                    on_tick,
                )
            finally:
                killed = terminate(process, wait=conversation.ending)
        if answers:
            return answers[0]
        return why_no_answer(
            conversation, process.returncode, log, allowance.time_s, oom_kills, killed
        )


def _step(line: bytes) -> Phase | None:
    """The step that a line announces; None: it is the answer, or nothing that could be one."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, dict) and "step" in found:
            return Phase(str(found["step"]))
    return None
