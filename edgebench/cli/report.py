"""`edgebench report`: a page, a Markdown text or a picture to decide from; needs no runtime."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from edgebench.api.result_files import calibrations_of, files_of, records_of, refuse_to_replace
from edgebench.cli.shared.options import (
    calibration_option,
    out_file_option,
    paths_argument,
    prefer_option,
    workload_option,
)
from edgebench.errors import UsageError
from edgebench.record import Record
from edgebench.text.did_you_mean import did_you_mean
from edgebench.text.plain_text import say

FORMATS = ("html", "md", "png", "svg")


@click.command("report")
@paths_argument("FILE|DIR...")
@out_file_option("File to write; - writes to stdout.  [default: report.FORMAT]")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    help="Format of the report.  [default: by the name of --out, else html]",
)
@calibration_option
@workload_option("Report")
@click.option(
    "--explanation",
    "explanations",
    multiple=True,
    type=Path,
    help="File of `edgebench explain --format json`, for a section on why (repeatable).",
)
@click.option(
    "--search",
    "searches",
    multiple=True,
    type=Path,
    help="File of a precision search, RESULTS.search.json (repeatable).  [default: those beside the result files]",
)
@prefer_option
def command(
    paths: Sequence[Path],
    out: Path | None,
    form: str | None,
    calibrations: Sequence[Path],
    workloads: Sequence[str],
    explanations: Sequence[Path],
    searches: Sequence[Path],
    prefer: Sequence[str],
) -> None:
    """Write a report of result files: the decision first, then the trade-offs and the evidence.

    html writes one self-contained page, md a text for a pull request, png and svg the charts.

    \b
    Example:
      edgebench report results/ -o report.html
    """
    from edgebench.explain.explanation import read_explanation
    from edgebench.report.build_report import build_report
    from edgebench.report.write_report import write
    from edgebench.search.kept_search import searches_beside
    from edgebench.search.search_report import read_search
    from edgebench.search.search_summary import summary_of

    gc.disable()  # nothing here has cycles, and scanning millions of samples takes seconds
    form = form or _form(out)
    if form != "md":
        from edgebench.report import vegalite

        vegalite.require()  # before minutes of reading
    files = files_of(paths)
    refuse_to_replace(out, files)
    report = build_report(
        _records(files, workloads),
        [file.name for file in files],
        lambda devices: calibrations_of(calibrations, devices),
        prefer=prefer,
        explanations=[read_explanation(path) for path in explanations],
        searches=[
            summary_of(found)
            for found in (map(read_search, searches) if searches else searches_beside(files, say))
            if not workloads or found.workload in workloads
        ],
    )
    write(report, out or Path(f"report.{form}"), form)


def _records(files: Sequence[Path], workloads: Sequence[str]) -> Iterator[Record]:
    """Yields those of the chosen workloads. Raises UsageError where one of these is in no file."""
    met: set[str] = set()
    for record in records_of(files):
        met.add(record.cell.workload)
        if not workloads or record.cell.workload in workloads:
            yield record
    for name in workloads:
        if name not in met:
            raise UsageError(f"no workload {name!r} in these files{did_you_mean(name, met)}")


def _form(out: Path | None) -> str:
    """The format that a file name asks for. Raises UsageError where it asks for none."""
    if out is None:
        return "html"
    name = {"htm": "html", "markdown": "md"}.get(out.suffix[1:].lower(), out.suffix[1:].lower())
    if name not in FORMATS:
        raise UsageError(
            f"{out}: the file name does not say which format to write",
            f"give --format {'|'.join(FORMATS)}",
        )
    return name
