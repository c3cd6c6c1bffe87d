"""Starts one profiling worker per deployment, gives them turns, and gathers what they found."""

from __future__ import annotations

import contextlib
import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median

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
    profile: Profile
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

    @property
    def compared_by_turn(self) -> list[float]:
        """The median run of each turn, of runs that are not profiled."""
        return [median(turn) for turn in self.compared_ns]


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
    jobs: Sequence[Job], time_out_s: float, *, budget_s: float = BUDGET_S, seed: int = 0
) -> list[Measured | Unmeasured]:
    """Profiles all jobs, each in a fresh process; they take turns in random order, so that a slow moment of
    the machine meets all of them alike."""
    with contextlib.ExitStack() as opened:
        sides = []
        for _ in jobs:
            try:
                child = opened.enter_context(Child(module_command(WORKER), Limits(time_out_s)))
            except OSError as error:
                return [Unmeasured(not_started(error)) for _ in jobs]
            sides.append(_Side(child))
        for side, job in zip(sides, jobs, strict=True):
            warm = _asked(side, messages.Begin(job))
            side.typical_ns = warm.typical_ns if isinstance(warm, messages.Warm) else 0
        _take_turns(sides, budget_s, random.Random(seed))
        for side in sides:
            _asked(side, messages.Finish())
        return [side.found or Unmeasured(side.child.why_no_answer()) for side in sides]


def _take_turns(sides: Sequence[_Side], budget_s: float, rng: random.Random) -> None:
    open_ones = [side for side in sides if side.found is None]
    end_s = time.monotonic() + budget_s
    for turn in range(MAX_TURNS):
        if turn >= MIN_TURNS and time.monotonic() > end_s:
            return
        for side in rng.sample(open_ones, len(open_ones)):
            done = _asked(side, messages.Turn(_runs(side.typical_ns)))
            if isinstance(done, messages.TurnDone):
                side.turns.append(done)


def _runs(typical_ns: int) -> int:
    """Runs of a turn; each is made twice, plain and profiled."""
    return max(1, min(MAX_RUNS, math.ceil(TURN_S * 1e9 / max(2 * typical_ns, 1))))


def _asked(side: _Side, ask: messages.Ask) -> messages.Answer | None:
    """Says something to a worker and hears its answer; the last one is kept in `side.found`."""
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
    if not side.child.listen(hear):
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
        if not found.alone:
            return found
        runs = [RunTime(*run) for turn in turns for run in turn.profiled_ns]
        return replace(found, profile=without_waits(found.profile, runs))
    return None
