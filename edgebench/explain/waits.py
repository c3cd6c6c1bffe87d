"""Subtracts from a profile the time in which other programs ran, which a profiler's clock includes.

Where one thread computes, a run's time beyond its CPU time is such waiting. It is taken from the operators that
took longer than they do at best, by how much longer they took. An operator of many milliseconds waits in every run,
so that even its best is too long: where operators still sum to more than the CPU time of their run, the long ones
give the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from edgebench.operator_times import OperatorTime, Profile

#: A program is interrupted after some milliseconds: operators that take less have runs without a wait.
LONG_NS = 2_000_000


@dataclass(frozen=True)
class RunTime:
    """What a profiled run took, by the clock and of CPU time."""

    wall_ns: int
    cpu_ns: int

    @property
    def wait_ns(self) -> int:
        return max(0, self.wall_ns - self.cpu_ns)


def without_waits(profile: Profile, runs: Sequence[RunTime]) -> Profile:
    """The profile with each run's waiting taken out. `runs`: those of the profile."""
    if len(runs) != len(profile.runs_ns) or not any(run.wait_ns for run in runs):
        return profile
    operators = profile.operators
    best_ns = [min(operator.times_ns, default=0) for operator in operators]
    corrected = [list(operator.times_ns) for operator in operators]
    for place, run in enumerate(runs):
        times = [operator.times_ns[place] for operator in operators]
        for number, time_ns in enumerate(_corrected(times, best_ns, run)):
            corrected[number][place] = time_ns
    return msgspec.structs.replace(profile, operators=tuple(map(_with_times, operators, corrected)))


def _with_times(operator: OperatorTime, times_ns: list[int]) -> OperatorTime:
    return msgspec.structs.replace(operator, times_ns=times_ns)


def _corrected(times: Sequence[int], best: Sequence[int], run: RunTime) -> list[int]:
    """Times of one run without what was waited in it."""
    excess = [time_ns - least for time_ns, least in zip(times, best, strict=True)]
    left = _reduced(times, excess, min(run.wait_ns, sum(excess)))
    surplus = max(0.0, sum(left) - run.cpu_ns)
    long = [max(0.0, time_ns - LONG_NS) for time_ns in left]
    return [round(time_ns) for time_ns in _reduced(left, long, min(surplus, sum(long)))]


def _reduced(times: Sequence[float], parts: Sequence[float], by_ns: float) -> list[float]:
    """The times less `by_ns` in all, taken from each in proportion to its part."""
    share = by_ns / sum(parts) if sum(parts) else 0.0
    return [time_ns - share * part for time_ns, part in zip(times, parts, strict=True)]
