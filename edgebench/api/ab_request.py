"""Runs an A/B from its options to its report, for `edgebench ab` and `edgebench.ab` alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgebench.ab_test.ab_report_types import GateReport, latency_tolerances
from edgebench.ab_test.ab_runner import Settings
from edgebench.ab_test.pairing import Request
from edgebench.ab_test.run_ab import compare
from edgebench.ab_test.variant_spec import backends_of, parse_side
from edgebench.api.energy_source import meter_here
from edgebench.api.progress_output import Telling, pair_watcher, teller
from edgebench.api.run_options import own_task_lines, positive_s
from edgebench.definitions.workload_loader import choose, load_workloads
from edgebench.errors import UsageError
from edgebench.measure.wait_for_quiet import Quiet
from edgebench.planning import run_parameters
from edgebench.planning.cells import known_axes
from edgebench.planning.own_models import OwnInputs
from edgebench.planning.settings import parse_ranges, parse_sets, parse_shapes
from edgebench.units import parse_bytes, parse_share

#: Options that mean the same as those of `edgebench run`.
_AS_RUN = (
    "names", "suite", "folders", "sets", "shapes", "ranges", "inputs", "task", "wait_quiet", "parity",
    "timeout", "memory_limit", "seed", "out", "energy_root",
)  # fmt: skip
_OWN = {
    "budget": "5min",
    "build": None,
    "artifact": None,
    "repository": ".",
    "tau": None,
    "delta": None,
    "no_energy": False,
    "no_save": False,
}
#: Parameter of `edgebench ab` -> what holds where it is not given.
DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {name: run_parameters.DEFAULTS[name] for name in _AS_RUN} | _OWN
)


def judge(params: Mapping[str, Any], progress: Telling) -> GateReport:
    """Measures both sides in turns and judges. Ctrl-C gives a report of what there is."""
    started_s = time.monotonic()
    request = request_of(params)
    say = teller(progress)
    for line in own_task_lines(request.workloads):
        say(line)
    settings = Settings(
        started_s=started_s,
        budget_s=positive_s(params["budget"], "--budget", "60s"),
        time_out_s=request.time_out_s,
        seed=params["seed"],
    )
    wait_s = (
        positive_s(params["wait_quiet"], "--wait-quiet", "60s") if params["wait_quiet"] else 0.0
    )
    with pair_watcher(progress) as watcher:
        return compare(
            [request],
            settings=settings,
            watcher=watcher,
            out=None if params["no_save"] else Path(params["out"]),
            meter=None if params["no_energy"] else meter_here(params["energy_root"]),
            quiet=Quiet(wait_s, say),
        )


def request_of(params: Mapping[str, Any]) -> Request:
    """Makes the request of an A/B from the options of the user. Raises UsageError."""
    named = bool(params["names"] or params["suite"])
    base, head = parse_side(params["base"]), parse_side(params["head"])
    known = _load_workloads(params["folders"], backends_of(base, head)) if named else {}
    parity = params["parity"]
    request = Request(
        workloads=choose(known, params["names"], params["suite"]) if known else [],
        suite=params["suite"],
        base=base,
        head=head,
        sets=parse_sets(params["sets"]),
        shapes=dict(parse_shapes(params["shapes"])),  # type: ignore[arg-type]
        task=params["task"],
        inputs=OwnInputs(
            ranges=parse_ranges(params["ranges"]),
            file=Path(params["inputs"]) if params["inputs"] else None,
        ),
        build=params["build"],
        artifact=params["artifact"],
        repository=params["repository"],
        tolerances=latency_tolerances(
            *(parse_share(params[name]) if params[name] else None for name in ("tau", "delta"))
        ),
        parity=None if parity in (None, "off") else parse_share(parity),
        parity_off=parity == "off",
        seed=params["seed"],
        time_out_s=positive_s(params["timeout"], "--timeout", "60s"),
        memory_limit_bytes=parse_bytes(params["memory_limit"]) if params["memory_limit"] else None,
    )
    of_files = {
        "--shape and --task": request.shapes or request.task,
        "--range and --inputs": request.inputs != OwnInputs(),
    }
    for told, given_for_files in of_files.items():
        if named and given_for_files:
            raise UsageError(
                f"{told} apply to model files only; workloads define their own", "leave them out"
            )
    if params["folders"] and not named:
        raise UsageError("--workloads needs workloads to measure", "name them, or a --suite")
    if (request.build or request.artifact) and not (request.base.revision or request.head.revision):
        raise UsageError(
            "--build and --artifact apply to a git: revision only",
            "name a revision: --base git:main",
        )
    return request


def _load_workloads(folders: Any, backends: list[str]) -> dict[str, Any]:
    return load_workloads([Path(folder) for folder in folders], lambda: known_axes(backends))
