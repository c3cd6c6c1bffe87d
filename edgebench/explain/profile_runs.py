"""Starts one profiling worker per deployment, gives them turns, and gathers what they found."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from edgebench.backend import Effective, computes_itself
from edgebench.explain import profile_messages as messages
from edgebench.explain.graph_facts import NodeFacts
from edgebench.explain.waits import RunTime, without_waits
from edgebench.measure.worker_messages import Job, Phase
from edgebench.operator_times import Profile
from edgebench.processes.child import Child, Limits, garbled_reason, not_started
from edgebench.processes.python_command import module_command
from edgebench.record import Reason

#: Turns of each deployment: each is a block in which all deployments met the same machine.
MAX_TURNS, MIN_TURNS = 16, 6
#: What a turn of one deployment takes, about, and the runs in it.
TURN_S, MAX_RUNS = 0.08, 40
#: For the turns of all deployments together.
BUDGET_S = 6.0
WORKER = "edgebench.explain.profile_worker"


@dataclass(frozen=True)
class Measured:
    """What the turns of one deployment gave."""

    plain_ns: list[list[int]]  # per turn, of runs that were not profiled
    cpu_ns: list[list[int]]  # of the same runs, the CPU time of the calling thread
    profile: Profile | None
    effective: Effective
    nodes: list[NodeFacts]

    @property
    def alone(self) -> bool:
        """Whether one thread of the process computes: then its CPU time is what the work takes."""
        return self.effective.threads == 1 and computes_itself(self.effective.device)

    @property
    def compared_ns(self) -> list[list[int]]:
        """What ratios are made of: CPU time where one thread computes, as other programs do not lengthen it."""
        return self.cpu_ns if self.alone else self.plain_ns


def _without_waits(found: Measured, runs: Sequence[RunTime]) -> Measured:
    if found.profile is None or not found.alone:
        return found
    return replace(found, profile=without_waits(found.profile, runs))


@dataclass(frozen=True)
class Unmeasured:
    """Why a deployment has no profile."""

    reason: Reason
    unsupported: bool = False


@dataclass
class _Side:
    """One worker and what it has told."""

    child: Child
    typical_ns: int = 0
    turns: list[messages.TurnDone] = field(default_factory=list)
    found: Measured | Unmeasured | None = None


def profile_in_turns(
    jobs: Sequence[Job],
    time_out_s: float,
    *,
    profiled: bool = True,
    budget_s: float = BUDGET_S,
    seed: int = 0,
    on_tick: Callable[[], None] = lambda: None,
    clock: Callable[[], float] = time.monotonic,
) -> list[Measured | Unmeasured]:
    """Profiles all jobs, each in a fresh process; they take turns in random order, so that a slow moment of
    the machine meets all of them alike. `profiled` False: only whole runs are timed."""
    with contextlib.ExitStack() as opened:
        sides = []
        for _ in jobs:
            try:
                child = opened.enter_context(Child(module_command(WORKER), Limits(time_out_s)))
            except OSError as error:
                return [Unmeasured(not_started(error)) for _ in jobs]
            sides.append(_Side(child))
        talk = _Talk(on_tick)
        for side, job in zip(sides, jobs, strict=True):
            warm = talk.ask(side, messages.Begin(job, profiled))
            side.typical_ns = warm.typical_ns if isinstance(warm, messages.Warm) else 0
        _take_turns(sides, talk, budget_s, random.Random(seed), clock)
        for side in sides:
            talk.ask(side, messages.Finish())
        return [side.found or Unmeasured(side.child.why_no_answer()) for side in sides]


def _take_turns(
    sides: Sequence[_Side],
    talk: _Talk,
    budget_s: float,
    rng: random.Random,
    clock: Callable[[], float],
) -> None:
    open_ones = [side for side in sides if side.found is None]
    end_s = clock() + budget_s
    for turn in range(MAX_TURNS):
        if turn >= MIN_TURNS and clock() > end_s:
            return
        for side in rng.sample(open_ones, len(open_ones)):
            done = talk.ask(side, messages.Turn(_runs(side.typical_ns)))
            if isinstance(done, messages.TurnDone):
                side.turns.append(done)


def _runs(typical_ns: int) -> int:
    """Runs of a turn; each is made twice, plain and profiled."""
    return max(1, min(MAX_RUNS, math.ceil(TURN_S * 1e9 / max(2 * typical_ns, 1))))


class _Talk:
    """Says something to a worker and hears its answer; the last one is kept."""

    def __init__(self, on_tick: Callable[[], None]) -> None:
        self._on_tick = on_tick

    def ask(self, side: _Side, ask: messages.Ask) -> messages.Answer | None:
        if side.found is not None:
            return None
        answers: list[messages.Answer] = []

        def hear(line: bytes) -> Phase | Reason | None:
            try:
                said = messages.decode_said(line)
            except (msgspec.MsgspecError, RecursionError):
                return garbled_reason(line, side.child.phase)
            if isinstance(said, Phase):
                return said
            answers.append(said)
            return None

        last = isinstance(ask, messages.Finish)
        side.child.send(messages.encode(ask) + b"\n", last=last)
        if not side.child.listen(hear, self._on_tick):
            side.found = Unmeasured(side.child.why_no_answer())
            return None
        side.found = _profile_of(answers[0], side.turns)
        return answers[0]


def _profile_of(
    answer: messages.Answer, turns: Sequence[messages.TurnDone]
) -> Measured | Unmeasured | None:
    if isinstance(answer, messages.Refused):
        code = "unsupported" if answer.unsupported else "error"
        reason = Reason(code=code, message=answer.message, fix=answer.fix)
        return Unmeasured(reason, answer.unsupported)
    if isinstance(answer, messages.Profiled):
        plain, cpu = [turn.plain_ns for turn in turns], [turn.cpu_ns for turn in turns]
        found = Measured(plain, cpu, answer.profile, answer.effective, answer.nodes)
        return _without_waits(found, [RunTime(*run) for turn in turns for run in turn.profiled_ns])
    return None
