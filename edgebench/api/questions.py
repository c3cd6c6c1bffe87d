"""Answers questions about results (fronts, picks, comparisons) for the command line and the Python API.

Questions come as users write them ("latency.p99<=30ms"), answers from the one engine (`edgebench.analysis`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.analysis import ties
from edgebench.analysis.comparison import Comparison, Side, compare
from edgebench.analysis.defaults import COMPARED, DRAWS, MAX_DRAWS, MIN_DRAWS, SURE
from edgebench.analysis.frontier import Across, Frontier, frontier
from edgebench.analysis.limits import parse_limit
from edgebench.analysis.objectives import Objective, parse_objectives
from edgebench.analysis.pick import pick
from edgebench.analysis.pick_report import PickReport
from edgebench.api.loading import Loaded, only, refuse_unknown, rows_of_workloads
from edgebench.errors import UsageError
from edgebench.metrics import metric


def frontier_of(
    loaded: Loaded,
    objectives: Sequence[str] = (),
    workloads: Sequence[str] = (),
    *,
    across: Sequence[Across] = (),
    confidence: float = SURE,
    seed: int = 0,
    draws: int = DRAWS,
) -> Frontier:
    """The fronts by these objectives ("latency.p50:min"), by default speed, quality, memory and energy."""
    if not MIN_DRAWS <= draws <= MAX_DRAWS:
        raise UsageError(f"{draws} draws are too few or too many", "between 100 and 100000")
    return frontier(
        only(loaded.frame, workloads),
        parse_objectives(objectives) or None,
        confidence=confidence,
        seed=seed,
        draws=draws,
        across=_check_across(across),
    )


def pick_of(
    loaded: Loaded,
    require: Sequence[str] = (),
    workloads: Sequence[str] = (),
    *,
    objective: Objective | None = None,
    across: Sequence[Across] = (),
    prefer: Sequence[str] = ties.DEFAULT,
    confidence: float = SURE,
    seed: int = 0,
) -> PickReport:
    """Picks a row per device, workload and scenario that meets the limits and is best by one metric."""
    limits = [parse_limit(text) for text in require]
    return pick(
        only(loaded.frame, workloads),
        limits,
        objective,
        confidence=confidence,
        seed=seed,
        across=_check_across(across),
        prefer=prefer,
    )


def compare_of(
    names: Sequence[str],
    results: Sequence[Loaded],
    metrics: Sequence[str] = (),
    workloads: Sequence[str] = (),
    *,
    confidence: float = COMPARED,
) -> Comparison:
    """The same cells of several sets of results; each is held against the first one."""
    if not 0.5 < confidence < 1:
        raise UsageError(f"--confidence {confidence:g} is not between 0.5 and 1", "try 0.95")
    asked = [metric(name) for name in dict.fromkeys(metrics)]
    refuse_unknown([each.frame for each in results], workloads)
    sides = [
        Side(name, rows_of_workloads(each.frame, workloads), each.environment)
        for name, each in zip(names, results, strict=True)
    ]
    return compare(sides, asked or None, confidence)


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, 1 + max(len(path.parts) for path in paths)):
        names = [str(Path(*path.parts[-parts:])) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path} ({number})" for number, path in enumerate(paths, start=1)]


def _check_across(across: Sequence[Across]) -> Sequence[Across]:
    """Raises UsageError for what rows cannot compete across."""
    for name in across:
        if name != "devices":
            raise UsageError(f"rows do not compete across {name!r}", 'say "devices"')
    return across


def objective_of(minimize: str | None, maximize: str | None) -> Objective | None:
    """Raises UsageError for both at once, and for a metric that is good the other way."""
    if minimize is not None and maximize is not None:
        raise UsageError("--minimize and --maximize cannot be combined", "make one of them a limit")
    if minimize is None and maximize is None:
        return None
    name, asked = (maximize, "max") if maximize is not None else (minimize or "", "min")
    chosen = metric(name)
    good = {"lower": "min", "higher": "max", None: "max"}[chosen.better]
    if asked != good:
        raise UsageError(
            f"--{asked}imize {name} would pick the worst row: of {chosen.label}, "
            f"{chosen.better or 'better'} is better",
            f"--{good}imize {name}",
        )
    return Objective(chosen, chosen.better)
