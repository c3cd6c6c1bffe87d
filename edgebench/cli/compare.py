"""`edgebench compare`: the same cells of several sets of results, side by side."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.analysis.defaults import COMPARED
from edgebench.cli.shared.options import (
    confidence_option,
    format_option,
    paths_argument,
    workload_option,
)
from edgebench.errors import ExitCode, UsageError
from edgebench.files.json_lines import write_json

FORMATS = ("table", "json", "md", "csv")


@click.command("compare")
@paths_argument("A B...")
@click.option(
    "--metric",
    "names",
    multiple=True,
    metavar="NAME",
    help="Compare only this metric, such as latency.p99 (repeatable).",
)
@workload_option("Compare")
@confidence_option(COMPARED, "Confidence of the printed intervals.")
@format_option(FORMATS, "comparison")
def command(
    paths: Sequence[Path],
    names: Sequence[str],
    workloads: Sequence[str],
    confidence: float,
    form: str,
) -> int:
    """Compare the cells of B with the same cells of A, which is the baseline.

    A and B are result files, folders of them, or exported Parquet files. The output starts with what
    differs between the devices and set-ups. It lists the cells that cannot be compared, with the
    reason: rows that do not count (struck) are among them, except those that only miss a limit of their
    device. `compare` does not judge regressions: `gate` does.

    \b
    Example:
      edgebench compare old.jsonl new.jsonl --metric latency.p50

    Exit codes: 0 at least one cell was compared; 2 wrong option; 5 no cell can be compared; 7
    results cannot be read.
    """
    from edgebench.api.loading import load
    from edgebench.api.questions import compare_of, names_of

    gc.disable()
    if len(paths) < 2:
        raise UsageError("compare needs two or more files or folders", "edgebench compare A B")
    loaded = [load([path]) for path in paths]
    comparison = compare_of(names_of(paths), loaded, names, workloads, confidence=confidence)
    if form == "json":
        from edgebench.analysis.comparison_report import report

        write_json(report(comparison), sys.stdout)
    else:
        from edgebench.analysis.precision_pairs import not_faster
        from edgebench.render.comparison_text import render

        rows = [row for each in loaded if each.table is not None for row in each.table.rows]
        rows = [row for row in rows if not workloads or row.workload in workloads]
        render(comparison, list(dict.fromkeys(f.text for f in not_faster(rows))), form, sys.stdout)
    compared = any(len(pairing.compared) for pairing in comparison.pairings)
    return ExitCode.OK if compared else ExitCode.INVALID
