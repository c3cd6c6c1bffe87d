"""`edgebench show`: the trade-off table of result files, on any machine, without a runtime."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edgebench.analysis.table import build_table
from edgebench.errors import StoreError
from edgebench.record import Record
from edgebench.report.formats import FORMATS, render
from edgebench.store import iter_records, result_files


@click.command("show")
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=Path)
@click.option(
    "--format", "form", type=click.Choice(list(FORMATS)), default="table", show_default=True
)
def command(paths: Sequence[Path], form: str) -> None:
    """Print the trade-off table of result files, or of all below a folder."""
    gc.disable()  # nothing here has cycles, and scanning millions of samples takes seconds
    render(build_table(records_of(paths)), form, sys.stdout)


def records_of(paths: Sequence[Path]) -> Iterator[Record]:
    """The records of every file once, however often it is named."""
    files: dict[Path, Path] = {}
    for path in paths:
        for file in result_files(path):
            files.setdefault(file.resolve(), file)
    if not files:
        raise StoreError(
            f"no result files below {', '.join(map(str, paths))}",
            "`edgebench run` writes results/<device>/<time>-<id>.jsonl",
        )
    for file in files.values():
        yield from iter_records(file)
