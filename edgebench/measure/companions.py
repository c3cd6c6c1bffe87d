"""The companions of a measurement: started before its worker, ended after it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import msgspec

from edgebench.measure.worker_messages import Companion, CompanionReady, Company
from edgebench.probes.process_memory import available_bytes
from edgebench.processes.child import Child, Limits, Setup, Spawn, garbled_reason, not_started
from edgebench.processes.python_command import module_command
from edgebench.record import Reason
from edgebench.words.reason_words import reason

#: How long a companion may take until its load is set up.
READY_S = 120.0

#: Memory that a further process may take, in bytes; None: the system does not tell.
Available = Callable[[], "int | None"]


class CompanionError(Exception):
    """A companion that does not run, or for which there is no room. `reason` is the row's."""

    def __init__(self, why: Reason) -> None:
        super().__init__(why.message)
        self.reason = why


def _does_not_run(name: str, why: str) -> CompanionError:
    return CompanionError(reason("companion_failed", companion=name, why=why))


class Beside(NamedTuple):
    """Companions that were started; `company` is what a worker is told of them."""

    company: Company | None
    children: list[tuple[str, Child]]

    def check(self) -> None:
        """Raises CompanionError for one that has ended: what was measured since was measured without it."""
        for name, child in self.children:
            if (why := child.why_ended("its load")) is not None:
                raise CompanionError(
                    reason("companion_failed.died", companion=name, why=why.message)
                )


@contextmanager
def companions(
    asked: Sequence[Companion],
    spawn: Spawn = subprocess.Popen,
    available: Available = available_bytes,
    own_bytes: int | None = None,
) -> Iterator[Beside]:
    """The companions, standing still until the worker lets them. Raises CompanionError.

    None is started for which there is no room; `own_bytes`: what the measured process took before, for which there must
    be room beside all of them.
    """
    with ExitStack() as stack:
        beside, notes = Beside(None, []), []
        for each in asked:
            _check_room(each, available())
            child = stack.enter_context(_started(each, spawn))
            said = _ready(each, child)
            os.kill(child.pid, signal.SIGSTOP)
            beside.children.append((each.name, child))
            notes += [f"{each.name}: {said.note}"] if said.note else []
        if not asked:
            yield beside
            return
        names = [each.name for each in asked]
        _check_own_room(own_bytes, available(), names)
        pids = [child.pid for _, child in beside.children]
        yield beside._replace(company=Company(names=names, pids=pids, notes=notes))


def _check_room(asked: Companion, left_bytes: int | None) -> None:
    """Raises CompanionError for a companion that needs more memory than there is."""
    needs_bytes, needs = asked.needs_bytes, asked.needs
    if needs_bytes is None and asked.model is not None:
        needs_bytes, needs = _size(Path(asked.model.model_path)), "its model's file"
    if needs_bytes is not None and left_bytes is not None and needs_bytes > left_bytes:
        raise CompanionError(
            reason(
                "companion_does_not_fit",
                companion=asked.name,
                needs_bytes=needs_bytes,
                needs=needs,
                left_bytes=left_bytes,
            )
        )


def _check_own_room(needs_bytes: int | None, left_bytes: int | None, names: Sequence[str]) -> None:
    if needs_bytes is not None and left_bytes is not None and needs_bytes > left_bytes:
        raise CompanionError(
            reason(
                "companion_does_not_fit.beside",
                companions=", ".join(dict.fromkeys(names)),
                needs_bytes=needs_bytes,
                left_bytes=left_bytes,
            )
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


@contextmanager
def _started(asked: Companion, spawn: Spawn) -> Iterator[Child]:
    """A companion's process, which is killed at the end, stopped or not."""
    command = module_command("edgebench.measure.replicate.companion")
    try:
        child = Child(command, Limits(READY_S), Setup(spawn=spawn))
    except OSError as error:
        raise _does_not_run(asked.name, not_started(error).message) from None
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
            return garbled_reason(line, child.phase)
        return None

    child.send(msgspec.json.encode(asked) + b"\n", last=True)
    if not child.listen(hear):
        raise _does_not_run(asked.name, child.why_no_answer().message)
    if said[0].error:
        raise _does_not_run(asked.name, said[0].error)
    return said[0]
