"""Children that make something ahead of a measurement: model files, conversions. Silence is a hang, time and
memory have limits, and none outlives its parent."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass

from edgebench.measure.worker_messages import Phase
from edgebench.processes import child
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
    """Returns what `python -m module` answers to `job`, in one line; its death, silence or greed is a reason."""
    limit = allowance.memory_limit_bytes
    command = module_command(module, str(os.getpid()), "-" if limit is None else str(limit))
    limits = child.Limits(allowance.time_out_s, allowance.time_s)
    answer = child.ask(command, limits, job, step=step_of, on_tick=on_tick)
    return answer.reason if isinstance(answer, child.Failed) else answer


def step_of(line: bytes) -> Phase | None:
    """The step that a line announces; None: it is the answer, or nothing that could be one."""
    with contextlib.suppress(ValueError, RecursionError):
        message = json.loads(line)
        if isinstance(message, dict) and "step" in message:
            return Phase(str(message["step"]))
    return None
