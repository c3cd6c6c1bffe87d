"""`edgebench view`: rows in the columns of the literature."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from click.core import ParameterSource

from edgebench.analysis import views
from edgebench.analysis.table_types import Row
from edgebench.api.loading import load, only
from edgebench.errors import UsageError
from edgebench.units import parse_duration_s

#: View -> the options that it alone takes, by the names of their arguments.
TAKES = {
    "efficientllm": (),
    "mnasnet": ("target", "exponent"),
    "iso-latency": ("axis", "at"),
    "iso-quality": ("axis", "at"),
}


@click.command("view")
@click.argument("name", type=click.Choice(list(TAKES)))
@click.argument("paths", metavar="RESULTS...", nargs=-1, required=True, type=Path)
@click.option("--target", metavar="TIME", help="mnasnet: the target latency T, such as 10ms.")
@click.option(
    "--exponent",
    type=float,
    default=views.MNASNET_W,
    show_default=True,
    help="mnasnet: the exponent w.",
)
@click.option(
    "--by",
    "axis",
    default="precision",
    show_default=True,
    help="iso-latency, iso-quality: the variant axis to compare, or `backend`.",
)
@click.option(
    "--at",
    metavar="TIME|QUALITY",
    help="iso-latency, iso-quality: the latency or the quality to compare at.",
)
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    metavar="NAME",
    help="Use only this workload (repeatable).",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "md"]),
    default="table",
    show_default=True,
    help="Format of the table on stdout.",
)
@click.pass_context
def command(
    context: click.Context,
    name: str,
    paths: Sequence[Path],
    target: str | None,
    exponent: float,
    axis: str,
    at: str | None,
    workloads: Sequence[str],
    form: str,
) -> None:
    """Print RESULTS with the metrics of a paper (EfficientLLM, MnasNet), or at equal latency or quality.

    A value that the results do not hold is printed as unknown, with the reason.

    \b
    Example:
      edgebench view mnasnet results/ --target 10ms

    Exit codes: 0 ok; 2 wrong option; 7 results cannot be read.
    """
    foreign = {option for each in TAKES.values() for option in each}.difference(TAKES[name])
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if given and option.name in foreign:
            raise UsageError(f"the view {name} has no option {option.opts[0]}", "leave it out")
    loaded = load(paths)
    if loaded.table is None:
        raise UsageError("view reads result files, not Parquet", "give the .jsonl files")
    only(loaded.frame, workloads)  # complains of an unknown name
    rows = [row for row in loaded.table.rows if not workloads or row.workload in workloads]
    view = _view(name, rows, target, exponent, axis, at)
    if form == "json":
        from edgebench.files.json_lines import write_json

        write_json(view, sys.stdout)
        return
    from edgebench.render.view_text import render

    render(view, form, sys.stdout)


def _view(
    name: str, rows: Sequence[Row], target: str | None, exponent: float, axis: str, at: str | None
) -> views.View:
    if name == "efficientllm":
        return views.efficientllm(rows)
    if name == "mnasnet":
        if target is None:
            raise UsageError(
                "the view mnasnet needs a target latency", "give it, such as --target 10ms"
            )
        target_ns = parse_duration_s(target) * 1e9
        if target_ns <= 0:
            raise UsageError(
                "--target must be more than 0", "give a latency, such as --target 10ms"
            )
        return views.mnasnet(rows, target_ns, exponent)
    if name == "iso-latency":
        return views.iso_latency(rows, axis, None if at is None else parse_duration_s(at) * 1e9)
    return views.iso_quality(rows, axis, None if at is None else _quality(at))


def _quality(text: str) -> float:
    """Raises UsageError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"--at {text!r} is not a quality", "give a number, such as 0.88")
    return value
