"""The companions of a measurement: started before its worker, ended after it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import msgspec

from edgebench.measure.worker_messages import Companion, CompanionReady, Company
from edgebench.processes.child import Child, Limits, Setup, Spawn, garbled, not_started
from edgebench.processes.python_command import module_command
from edgebench.record import Reason
from edgebench.words.reason_words import reason

#: How long a companion may take until its load is set up.
READY_S = 120.0


class CompanionError(Exception):
    """A companion that does not run. `reason` is the row's."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.reason = reason("companion_failed", companion=name, why=why)


@contextmanager
def companions(
    asked: Sequence[Companion],
    spawn: Spawn = subprocess.Popen,
    ready_s: float = READY_S,
    kill: Callable[[int, int], None] = os.kill,
) -> Iterator[Company | None]:
    """The companions, standing still until the worker lets them; None where there are none. Raises
    CompanionError."""
    if not asked:
        yield None
        return
    with ExitStack() as stack:
        pids, notes = [], []
        for each in asked:
            child = stack.enter_context(_started(each, spawn, ready_s))
            said = _ready(each, child)
            kill(child.pid, signal.SIGSTOP)
            pids.append(child.pid)
            notes += [f"{each.name}: {said.note}"] if said.note else []
        yield Company(names=[each.name for each in asked], pids=pids, notes=notes)


@contextmanager
def _started(asked: Companion, spawn: Spawn, ready_s: float) -> Iterator[Child]:
    """A companion's process, which is killed at the end, stopped or not."""
    command = module_command("edgebench.measure.replicate.companion")
    try:
        child = Child(command, Limits(ready_s), Setup(spawn=spawn))
    except OSError as error:
        raise CompanionError(asked.name, not_started(error).message) from None
    with child:
        try:
            yield child
        finally:
            child.end(wait=False)


def _ready(asked: Companion, child: Child) -> CompanionReady:
    """What it says when its load is set up."""
    said: list[CompanionReady] = []

    def hear(line: bytes) -> Reason | None:
        try:
            said.append(msgspec.json.decode(line, type=CompanionReady))
        except msgspec.MsgspecError:
            return garbled(line, child.phase)
        return None

    child.send(msgspec.json.encode(asked) + b"\n", last=True)
    if not child.listen(hear):
        raise CompanionError(asked.name, child.why_no_answer().message)
    if said[0].error:
        raise CompanionError(asked.name, said[0].error)
    return said[0]
