"""`edgebench frontier`: which deployments no other one beats, and how sure that is."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgebench.api.loading import load
from edgebench.api.questions import CONFIDENCE, DRAWS, MAX_DRAWS, MIN_DRAWS, frontier_of
from edgebench.files.json_lines import write_json


@click.command("frontier")
@click.argument("paths", metavar="RESULTS...", nargs=-1, required=True, type=Path)
@click.option(
    "--objective",
    "-O",
    "texts",
    multiple=True,
    metavar="METRIC:min|max",
    help="May be given several times. By default speed, quality, peak memory, and energy where known.",
)
@click.option("--workload", "workloads", multiple=True, metavar="NAME", help="These alone.")
@click.option(
    "--across",
    type=click.Choice(["devices"]),
    multiple=True,
    help="Let rows of several devices compete.",
)
@click.option(
    "--confidence",
    type=float,
    default=CONFIDENCE,
    show_default=True,
    help="Of what is called sure; intervals are shown at 0.95.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws.")
@click.option(
    "--draws",
    type=click.IntRange(MIN_DRAWS, MAX_DRAWS),
    default=DRAWS,
    show_default=True,
    help="Fewer are made of very many rows; the output tells.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True
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
    """Print the Pareto fronts of result files, folders of them, or exported Parquet files.

    Rows compete within a device, workload and scenario. Exit codes: 0, 2 for a wrong option, 7
    where results cannot be read.
    """
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
    findings = [found.text for found in not_faster(rows)]
    render(result, findings, sys.stdout)
