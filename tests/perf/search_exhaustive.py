"""The search on a small network beside all of its maps, each built, judged on tuning items and timed in turns.

    python -m tests.perf.search_exhaustive voice-activity file-typing     127 and 7 maps, about three minutes

Each group is in int8 or in fp32, each recurrent layer quantised at run time or in fp32. How far the best map that the
search found is from the best of all, and how many qualities it asked for; the damage of a group alone is asked of
eight items, and counts apart.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import combinations
from math import inf
from pathlib import Path

from edgebench import assets
from edgebench.api.run_options import workloads_of
from edgebench.measure.prepare_targets import fetch_assets, prepare_job
from edgebench.models.quantization_recipes import JOINERS
from edgebench.planning.run_parameters import DEFAULTS
from edgebench.search import explore as exploring
from edgebench.search.candidates import Draft
from edgebench.search.group_costs import tradeoff_of
from edgebench.search.judge import Explorer, Judge
from edgebench.search.requirements import requirements_of
from edgebench.search.run_search import CALIBRATIONS, fp32_cell, request_of
from edgebench.search.search_messages import Candidate, ExploreJob
from edgebench.search.sessions import times_in_turns

SECONDS_EACH = 0.5


def job_of(name: str, folder: Path) -> ExploreJob:
    params = {**DEFAULTS, "names": (name,), "budget": "300s", "points": 6, "resume": False}
    request = request_of(
        {**params, "require": (), "maximize": None, "confidence": 0.95, "via": ()}, []
    )
    [workload] = workloads_of(request.options)
    cell = fp32_cell(request.options, workload)
    paths = fetch_assets([cell]).paths
    return ExploreJob(
        prepare=prepare_job(cell, request.options.settings, assets.cache_dir(), paths),
        workload=name,
        demands=requirements_of(workload, ()).demands,
        recipes=["u8s8/1"],
        calibrations=list(CALIBRATIONS),
        backend="ort",
        options=dict(cell.options),
        threads=1,
        points=12,
        time_s=inf,
        state=str(folder / "state.json"),
    )


def every_map(it: Explorer) -> Iterator[Draft]:
    units = it.source.units
    recurrent = {unit.name for unit in units.recurrent}
    names = [*(unit.name for unit in units.groups), *recurrent]
    for size in range(1, len(names) + 1):
        for chosen in map(frozenset, combinations(names, size)):
            static = units.joined(chosen - recurrent, JOINERS)
            yield Draft(static, "all", chosen & recurrent)


def best(found: list[Candidate], times: dict[str, float]) -> Candidate:
    holding = [each for each in found if each.spare is None or each.spare >= 0]
    return min(holding, key=lambda each: times[each.map.precision])


def compared(name: str, folder: Path) -> str:
    """The search and all maps of one workload, timed in the same turns."""
    it = exploring.begun(job_of(name, folder), lambda step: None, "u8s8/1")
    mine = exploring.explored(it)
    spec, ranges, _ = exploring.calibrated(it, exploring.everything(it))
    tradeoff = tradeoff_of(mine.units, it.source.units.edges)
    judge = Judge(it, spec, ranges, tradeoff, (mine.fp32_evaluation, mine.fp32_tuning))
    maps = [judge.candidate(draft) for draft in every_map(it)]
    known = {each.map.precision for each in maps}
    others = [each for each in mine.candidates if each.map.precision not in known]
    for each in others:
        told = each.map
        judge.candidate(Draft(told.quantized, each.origin, told.dynamic, told.in_blocks))
    end_s = it.clock() + SECONDS_EACH * len(judge.sessions)
    times = times_in_turns(judge.sessions, it.items[:4], lambda: it.clock() > end_s)
    found, all_best = best(list(mine.candidates), times), best([*maps, *others], times)
    gap = times[found.map.precision] / times[all_best.map.precision] - 1
    asked, groups = len(mine.candidates), len(it.source.units.groups)
    fp32 = times_in_turns(
        {"fp32": it.fp32, "best": judge.sessions[all_best.map.precision]}, it.items[:4], past(it)
    )
    return (
        f"{name}: {len(maps)} maps, best {fp32['fp32'] / fp32['best']:.2f}x; the search asked for the quality of {asked} "
        f"({asked / len(maps):.0%}) and the damage of {groups} groups; its best is {gap:+.1%} from the best of all"
    )


def past(it: Explorer) -> Callable[[], bool]:
    end_s = it.clock() + 2 * SECONDS_EACH
    return lambda: it.clock() > end_s


def main(names: list[str]) -> None:
    for name in names or ["voice-activity"]:
        with tempfile.TemporaryDirectory() as folder:
            print(compared(name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
