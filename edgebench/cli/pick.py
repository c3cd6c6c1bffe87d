"""`edgebench pick`: the deployment that meets the limits and is best at one thing."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgebench.analysis.defaults import SURE
from edgebench.cli.shared.options import (
    across_option,
    confidence_option,
    draws_seed_option,
    format_option,
    paths_argument,
    prefer_option,
    workload_option,
)
from edgebench.errors import ExitCode
from edgebench.files.json_lines import write_json


@click.command("pick")
@paths_argument()
@click.option(
    "--require",
    "-r",
    "texts",
    multiple=True,
    metavar="LIMIT",
    help="Limit to meet: 'latency.p99<=30ms', 'memory.peak<=512MiB', 'quality>=0.98*fp32' (repeatable).",
)
@click.option(
    "--minimize",
    metavar="METRIC",
    help="Pick the row with the lowest value.  [default: latency.p50; offline: the highest throughput]",
)
@click.option("--maximize", metavar="METRIC", help="Pick the row with the highest value.")
@workload_option()
@across_option
@prefer_option
@confidence_option(SURE)
@draws_seed_option
@click.option(
    "--include-predicted",
    "predicted",
    is_flag=True,
    help="Also list deployments that a device never ran and that are perhaps faster, by prediction.",
)
@format_option()
def command(
    paths: Sequence[Path],
    texts: Sequence[str],
    minimize: str | None,
    maximize: str | None,
    workloads: Sequence[str],
    predicted: bool,
    form: str,
    **how: Any,
) -> int:
    """Pick the best row that meets all limits, for each device, workload and scenario of RESULTS.

    RESULTS are result files, folders of them, or exported Parquet files.

    \b
    Example:
      edgebench pick results/ -r 'latency.p99<=30ms' --minimize memory.peak

    Exit codes: 0 every device, workload and scenario has a row that meets the limits; 1 one of them
    has none; 2 wrong option or limit; 7 results cannot be read.
    """
    from edgebench.api.loading import load
    from edgebench.api.questions import objective_of, pick_of

    gc.disable()
    loaded = load(paths)
    objective = objective_of(minimize, maximize)
    report = pick_of(loaded, texts, workloads, objective=objective, **how)
    more = None
    if predicted:
        from edgebench.api.predictions import worth_measuring_of

        more = worth_measuring_of(loaded, workloads)
    if form == "json":
        write_json(report if more is None else {"pick": report, "predicted": more}, sys.stdout)
    else:
        from edgebench.render.pick_text import render

        render(report, sys.stdout)
        if more is not None:
            from edgebench.predict.prediction_text import render_worth_measuring

            render_worth_measuring(more.cells, more.notes, sys.stdout)
    met = bool(report.picks) and all(each.choice is not None for each in report.picks)
    return ExitCode.OK if met else ExitCode.CELL_FAILED
