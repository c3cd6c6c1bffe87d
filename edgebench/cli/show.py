"""`edgebench show`: the trade-off table of result files, on any machine, without a runtime."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.analysis.table import build_table
from edgebench.api.result_files import files_of, records_of
from edgebench.cli.shared.prefer_option import prefer_option
from edgebench.render.table_formats import FORMATS, render


@click.command("show")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=Path)
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    default="table",
    show_default=True,
    help="Format of the table on stdout.",
)
@prefer_option
def command(paths: Sequence[Path], form: str, prefer: Sequence[str]) -> None:
    """Print the trade-off table of result files, or of all result files in a folder.

    \b
    Example:
      edgebench show results/
    """
    gc.disable()  # nothing here has cycles, and scanning millions of samples takes seconds
    render(build_table(records_of(files_of(paths)), prefer), form, sys.stdout)
