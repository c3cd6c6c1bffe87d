"""`edgebench show`: the trade-off table of result files, on any machine, without a runtime."""

from __future__ import annotations

import gc
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from edgebench.api.result_files import files_of, records_of
from edgebench.cli.shared.options import (
    format_option,
    paths_argument,
    prefer_option,
    workload_option,
)
from edgebench.errors import UsageError
from edgebench.render.table_formats import FORMATS, render

if TYPE_CHECKING:
    from edgebench.analysis.table_types import Row, Table
    from edgebench.export.chosen_columns import Options

#: An option of sets of columns -> the sets that take it.
TAKEN_BY = {
    "target": ("mnasnet",),
    "exponent": ("mnasnet",),
    "axis": ("iso-latency", "iso-quality"),
    "at": ("iso-latency", "iso-quality"),
}


@click.command("show")
@paths_argument("FILE|DIR...")
@format_option(list(FORMATS), "table")
@prefer_option
@click.option(
    "--verbose",
    "-v",
    is_flag=True,
    help="Also print every doubt and reason, what is less precise than asked for, and cold start.",
)
@click.option(
    "--columns",
    metavar="NAME[,NAME...]",
    help="Print only these columns: metrics, names from docs/export.md, or a set from a paper: efficientllm, "
    "mnasnet, iso-latency, iso-quality.",
)
@workload_option("With --columns: print")
@click.option(
    "--target", metavar="TIME", help="With --columns mnasnet: the latency T, such as 10ms."
)
@click.option(
    "--exponent", type=float, help="With --columns mnasnet: the exponent w.  [default: -0.07]"
)
@click.option(
    "--by",
    "axis",
    metavar="AXIS",
    help="With iso-latency and iso-quality: the axis whose values are compared, or backend.  [default: precision]",
)
@click.option(
    "--at",
    metavar="TIME|QUALITY",
    help="With iso-latency and iso-quality: the latency or quality that all rows must keep.",
)
@click.pass_context
def command(
    context: click.Context,
    /,
    paths: Sequence[Path],
    form: str,
    prefer: Sequence[str],
    verbose: bool,
    columns: str | None,
    workloads: Sequence[str],
    **of_sets: Any,
) -> None:
    """Print the trade-off table of result files, or of all result files in a folder.

    \b
    Example:
      edgebench show results/
    """
    from edgebench.analysis.table import build_table

    gc.disable()  # nothing here has cycles, and scanning millions of samples takes seconds
    names = [] if columns is None else list(filter(None, map(str.strip, columns.split(","))))
    _refuse_foreign(context, names)
    table = build_table(records_of(files_of(paths)), prefer)
    if columns is None:
        render(table, form, sys.stdout, verbose)
        return
    if not names:
        raise UsageError("--columns names no column", "--columns latency.p50,memory.peak")
    from edgebench.export.chosen_columns import choose
    from edgebench.render.columns_text import render as render_columns

    options = _options(names, **of_sets)
    render_columns(choose(_rows(table, workloads), names, options), form, sys.stdout)


def _refuse_foreign(context: click.Context, names: Sequence[str]) -> None:
    """Raises UsageError for an option that none of the columns takes."""
    for option in context.command.params:
        name = option.name or ""
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if name == "workloads" and not names:
            raise UsageError("--workload needs --columns", "leave it out")
        if name in TAKEN_BY and not set(names) & set(TAKEN_BY[name]):
            sets = " or ".join(TAKEN_BY[name])
            raise UsageError(f"{option.opts[0]} belongs to --columns {sets}", "leave it out")


def _options(
    names: Sequence[str],
    target: str | None,
    exponent: float | None,
    axis: str | None,
    at: str | None,
) -> Options:
    from edgebench.export.chosen_columns import Options
    from edgebench.export.literature_columns import MNASNET_W
    from edgebench.units import parse_duration_s

    if target is not None and parse_duration_s(target) <= 0:
        raise UsageError("--target 0 is no latency", "--target 10ms")
    latency = at if "iso-latency" in names else None
    quality = at if "iso-quality" in names else None
    return Options(
        target_ns=None if target is None else parse_duration_s(target) * 1e9,
        exponent=MNASNET_W if exponent is None else exponent,
        axis=axis or "precision",
        budget_ns=None if latency is None else parse_duration_s(latency) * 1e9,
        level=None if quality is None else _quality(quality),
    )


def _quality(text: str) -> float:
    """Raises UsageError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--at {text!r} is no quality", "like 0.88")
    return value


def _rows(table: Table, workloads: Sequence[str]) -> list[Row]:
    """Returns those of these workloads, all where none is named, in the order in which tables print them."""
    from edgebench.analysis.frame import RowFrame
    from edgebench.api.loading import refuse_unknown
    from edgebench.render.table_wording import blocks

    refuse_unknown([RowFrame(table.rows)], workloads)
    rows = [table.rows[index] for _, _, members in blocks(table) for index in members]
    return [row for row in rows if not workloads or row.workload in workloads]
