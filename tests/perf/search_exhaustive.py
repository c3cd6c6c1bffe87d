"""The search on a small network beside all of its maps, each built, judged on tuning items and timed in turns.

    python -m tests.perf.search_exhaustive voice-activity        6 groups: 64 maps, about two minutes

How far the best map that the search found is from the best of all, and how many maps it looked at.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
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
from edgebench.search.requirements import requirements_of
from edgebench.search.run_search import CALIBRATIONS, fp32_cell, request_of
from edgebench.search.search_messages import Candidate, ExploreJob
from edgebench.search.sessions import times_in_turns

SECONDS_EACH = 1.0


def job_of(name: str, folder: Path) -> ExploreJob:
    params = {**DEFAULTS, "names": (name,), "budget": "300s", "points": 6, "resume": False}
    request = request_of({**params, "require": (), "maximize": None, "confidence": 0.95}, [])
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


def every_map(it: exploring.Explorer) -> Iterator[Draft]:
    groups = [unit.name for unit in it.source.units.groups]
    for size in range(1, len(groups) + 1):
        for chosen in combinations(groups, size):
            yield Draft(it.source.units.joined(chosen, JOINERS), "all")


def best(found: list[Candidate], times: dict[str, float]) -> Candidate:
    holding = [each for each in found if each.spare is None or each.spare >= 0]
    return min(holding, key=lambda each: times[each.map.precision])


def compared(name: str, folder: Path) -> str:
    """The search and all maps of one workload, timed in the same turns."""
    it = exploring.begun(job_of(name, folder), lambda step: None, "u8s8/1")
    mine = exploring.explored(it)
    spec, ranges, _ = exploring.calibrated(it, exploring.everything(it))
    tradeoff = tradeoff_of(mine.units, it.source.units.edges)
    judge = exploring.Judge(it, spec, ranges, tradeoff, (mine.fp32_evaluation, mine.fp32_tuning))
    maps = [judge.candidate(draft) for draft in every_map(it)]
    known = {each.map.precision for each in maps}
    others = [each for each in mine.candidates if each.map.precision not in known]
    for each in others:
        judge.candidate(Draft(each.map.quantized, each.origin))
    end_s = it.clock() + SECONDS_EACH * len(judge.sessions)
    times = times_in_turns(judge.sessions, it.items[:4], lambda: it.clock() > end_s)
    told, all_best = best(list(mine.candidates), times), best([*maps, *others], times)
    gap = times[told.map.precision] / times[all_best.map.precision] - 1
    groups = len(it.source.units.groups)
    return (
        f"{name}: {groups} groups, {len(maps)} maps; the search judged {len(mine.candidates)} and "
        f"{groups} groups alone; best found {times[told.map.precision]:.4f} ms, best of all "
        f"{times[all_best.map.precision]:.4f} ms: {gap:+.1%}"
    )


def main(names: list[str]) -> None:
    for name in names or ["voice-activity"]:
        with tempfile.TemporaryDirectory() as folder:
            print(compared(name, Path(folder)))


if __name__ == "__main__":
    main(sys.argv[1:])
