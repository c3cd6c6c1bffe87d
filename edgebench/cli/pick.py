"""`edgebench pick`: the deployment that meets the limits and is best at one thing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgebench.analysis.frontier import CONFIDENCE
from edgebench.analysis.limits import parse_limit
from edgebench.analysis.objectives import Objective
from edgebench.analysis.pick import pick
from edgebench.cli.shared.load_frames import load, only
from edgebench.cli.shared.prefer_option import prefer_option
from edgebench.errors import ExitCode, UsageError
from edgebench.files.json_lines import write_json
from edgebench.metrics import metric


@click.command("pick")
@click.argument("paths", metavar="RESULTS...", nargs=-1, required=True, type=Path)
@click.option(
    "--require",
    "-r",
    "texts",
    multiple=True,
    metavar="LIMIT",
    help="Like 'latency.p99<=30ms', 'memory.peak<=512MiB' or 'quality>=0.98*fp32'.",
)
@click.option(
    "--minimize", metavar="METRIC", help="By default latency.p50; offline --maximize throughput."
)
@click.option("--maximize", metavar="METRIC")
@click.option("--workload", "workloads", multiple=True, metavar="NAME", help="These alone.")
@click.option(
    "--across",
    type=click.Choice(["devices"]),
    multiple=True,
    help="Let rows of several devices compete.",
)
@prefer_option
@click.option(
    "--confidence",
    type=float,
    default=CONFIDENCE,
    show_default=True,
    help="Of what is called sure; intervals are shown at 0.95.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
)
def command(
    paths: Sequence[Path],
    texts: Sequence[str],
    minimize: str | None,
    maximize: str | None,
    workloads: Sequence[str],
    across: Sequence[Any],
    prefer: Sequence[str],
    confidence: float,
    seed: int,
    form: str,
) -> int:
    """Pick one row per device, workload and scenario from result files, folders or Parquet files.

    Exit codes: 0 where every group has a row that meets the limits, 1 where one has none, 2 for a
    wrong option or limit, 7 where results cannot be read.
    """
    gc.disable()
    limits = [parse_limit(text) for text in texts]
    objective = _objective(minimize, maximize)
    frame = only(load(paths).frame, workloads)
    found = pick(
        frame, limits, objective, confidence=confidence, seed=seed, across=across, prefer=prefer
    )
    if form == "json":
        write_json(found, sys.stdout)
    else:
        from edgebench.render.pick_text import render

        render(found, sys.stdout)
    met = bool(found.picks) and all(each.choice is not None for each in found.picks)
    return ExitCode.OK if met else ExitCode.CELL_FAILED


def _objective(minimize: str | None, maximize: str | None) -> Objective | None:
    """Raises UsageError for both at once, and for a metric that is good the other way."""
    if minimize is not None and maximize is not None:
        raise UsageError("--minimize and --maximize exclude each other", "make one of them a limit")
    if minimize is None and maximize is None:
        return None
    name, asked = (maximize, "max") if maximize is not None else (minimize or "", "min")
    found = metric(name)
    good = {"lower": "min", "higher": "max", None: "max"}[found.better]
    if asked != good:
        raise UsageError(
            f"--{asked}imize {name} asks for the worst: of {found.label}, "
            f"{found.better or 'better'} is better",
            f"--{good}imize {name}",
        )
    return Objective(found, found.better)
