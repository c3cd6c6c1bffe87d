"""`edgebench frontier`: which deployments no other one beats, and how sure that is."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgebench.analysis.defaults import DRAWS, MAX_DRAWS, MIN_DRAWS, SURE
from edgebench.files.json_lines import write_json


@click.command("frontier")
@click.argument("paths", metavar="RESULTS...", nargs=-1, required=True, type=Path)
@click.option(
    "--objective",
    "-O",
    "texts",
    multiple=True,
    metavar="METRIC:min|max",
    help="Metric to optimise, such as latency.p90:min (repeatable).  [default: speed, quality, peak "
    "memory, and energy where it was measured]",
)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    metavar="NAME",
    help="Use only this workload (repeatable).",
)
@click.option(
    "--across",
    type=click.Choice(["devices"]),
    multiple=True,
    help="Let rows of several devices compete.",
)
@click.option(
    "--confidence",
    type=float,
    default=SURE,
    show_default=True,
    help="Probability from which a statement counts as sure. Printed intervals stay at 0.95.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the draws.")
@click.option(
    "--draws",
    type=click.IntRange(MIN_DRAWS, MAX_DRAWS),
    default=DRAWS,
    show_default=True,
    help="Number of draws from which probabilities are estimated. Very many rows get fewer; the output "
    "then says so.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Format of the answer on stdout.",
)
def command(
    paths: Sequence[Path],
    texts: Sequence[str],
    workloads: Sequence[str],
    across: Sequence[Any],
    confidence: float,
    seed: int,
    draws: int,
    form: str,
) -> None:
    """Print the Pareto fronts of RESULTS, and how sure each row's place on them is.

    RESULTS are result files, folders of them, or exported Parquet files. Rows compete with the other
    rows of their device, workload and scenario.

    \b
    Example:
      edgebench frontier results/ -O latency.p90:min -O quality:max

    Exit codes: 0 ok; 2 wrong option; 7 results cannot be read.
    """
    from edgebench.api.loading import load
    from edgebench.api.questions import frontier_of

    gc.disable()
    loaded = load(paths)
    result = frontier_of(
        loaded, texts, workloads, across=across, confidence=confidence, seed=seed, draws=draws
    )
    if form == "json":
        from edgebench.analysis.frontier_report import report

        write_json(report(result), sys.stdout)
        return
    from edgebench.analysis.precision_pairs import not_faster
    from edgebench.render.frontier_text import render

    rows = [] if loaded.table is None else loaded.table.rows
    findings = [finding.text for finding in not_faster(rows)]
    render(result, findings, sys.stdout)
