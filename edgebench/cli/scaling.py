"""`edgebench scaling`: what more tokens and more samples of a decoder bring, and what they cost."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.api.result_files import files_of, records_of
from edgebench.cli.shared.options import format_option, paths_argument
from edgebench.files.json_lines import write_json


@click.command("scaling")
@paths_argument()
@click.option(
    "--within",
    metavar="TIME",
    help="Pick the most accurate point within this time, such as 2s or 500ms.",
)
@click.option(
    "--pad",
    type=click.IntRange(1),
    default=128,
    show_default=True,
    help="The runtime pads prompts to a multiple of this many tokens; 1: it does not pad.",
)
@format_option()
def command(paths: Sequence[Path], within: str | None, pad: int, form: str) -> None:
    """Print how accuracy grows with a language model's tokens and votes, and what they cost.

    RESULTS must hold a workload that answers problems, such as smollm2-reasoning. docs/scaling.md
    explains the output.

    \b
    Example:
      edgebench scaling results/ --within 2s
    """
    from edgebench.analysis.table import build_table
    from edgebench.errors import UsageError
    from edgebench.scaling.accuracy_curves import scaling
    from edgebench.units import parse_duration_s

    gc.disable()
    within_ns = None if within is None else parse_duration_s(within) * 1e9
    records = list(records_of(files_of(paths)))
    table = build_table(records)
    curves = scaling(table, records, within_ns, pad)
    if not curves.cells:
        raise UsageError(
            "these results hold no answered problems",
            "run `edgebench run smollm2-reasoning`, or a workload of task generate with the option "
            "scaling_samples",
        )
    if form == "json":
        write_json(curves, sys.stdout)
        return
    from edgebench.scaling.scaling_text import render

    render(curves, table.rows, sys.stdout)
