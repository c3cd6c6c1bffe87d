"""Takes the time in which other programs ran out of a profile: a profiler's clock goes on meanwhile.

Where one thread computes, a run's time beyond its CPU time is such waiting. It is taken from the operators that
took longer than they do at best, by how much longer they took, and what is left of it from all by their time: an
operator of many milliseconds waits in every run, so that even its best is too long.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgebench.operator_times import OperatorTime, Profile


def without_waits(profile: Profile, waits_ns: Sequence[int]) -> Profile:
    """The profile with each run's waiting taken out. `waits_ns`: one for each profiled run."""
    if not any(waits_ns) or len(waits_ns) != len(profile.runs_ns):
        return profile
    operators = profile.operators
    best_ns = [min(operator.times_ns, default=0) for operator in operators]
    corrected = [list(operator.times_ns) for operator in operators]
    for run, wait_ns in enumerate(waits_ns):
        times = [operator.times_ns[run] for operator in operators]
        for place, time_ns in enumerate(_corrected(times, best_ns, wait_ns)):
            corrected[place][run] = time_ns
    return msgspec.structs.replace(profile, operators=tuple(map(_with_times, operators, corrected)))


def _with_times(operator: OperatorTime, times_ns: list[int]) -> OperatorTime:
    return msgspec.structs.replace(operator, times_ns=times_ns)


def _corrected(times: Sequence[int], best: Sequence[int], wait_ns: int) -> list[int]:
    """Times of one run without what was waited in it."""
    excess = [time_ns - least for time_ns, least in zip(times, best, strict=True)]
    share = min(1.0, wait_ns / sum(excess)) if sum(excess) else 0.0
    left = [time_ns - share * more for time_ns, more in zip(times, excess, strict=True)]
    rest = max(0.0, wait_ns - sum(excess))
    keep = max(0.0, 1 - rest / sum(left)) if sum(left) else 1.0
    return [round(keep * time_ns) for time_ns in left]
