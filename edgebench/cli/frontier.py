"""`edgebench frontier`: which deployments no other one beats, and how sure that is."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgebench.analysis.defaults import DRAWS, MAX_DRAWS, MIN_DRAWS, SURE
from edgebench.cli.shared.options import (
    across_option,
    confidence_option,
    draws_seed_option,
    format_option,
    paths_argument,
    workload_option,
)
from edgebench.files.json_lines import write_json


@click.command("frontier")
@paths_argument()
@click.option(
    "--objective",
    "-O",
    "texts",
    multiple=True,
    metavar="METRIC:min|max",
    help="Metric to optimise, such as latency.p90:min (repeatable).  [default: speed, quality, peak "
    "memory, and energy where it was measured]",
)
@workload_option()
@across_option
@confidence_option(SURE)
@draws_seed_option
@click.option(
    "--draws",
    type=click.IntRange(MIN_DRAWS, MAX_DRAWS),
    default=DRAWS,
    show_default=True,
    help="Number of draws from which probabilities are estimated. Very many rows get fewer; the output "
    "then says so.",
)
@format_option()
def command(
    paths: Sequence[Path], texts: Sequence[str], workloads: Sequence[str], form: str, **how: Any
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
    result = frontier_of(loaded, texts, workloads, **how)
    if form == "json":
        from edgebench.analysis.frontier_report import report

        write_json(report(result), sys.stdout)
        return
    from edgebench.analysis.precision_pairs import not_faster
    from edgebench.render.frontier_text import render

    rows = [] if loaded.table is None else loaded.table.rows
    findings = [finding.text for finding in not_faster(rows)]
    render(result, findings, sys.stdout)
