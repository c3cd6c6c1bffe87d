"""`edgebench site`: static pages of results."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebench.cli.shared.options import metrics_option, out_folder_option, paths_argument

if TYPE_CHECKING:
    from edgebench.api.results_site import Reports


@click.command("site")
@paths_argument()
@out_folder_option("public", "Folder to write: a new or an empty one, or a site that it replaces.")
@click.option("--title", default="Results", show_default=True, help="Title of the pages.")
@metrics_option("Metric whose series are drawn")
@click.option(
    "--reports",
    type=click.Choice(["newest", "all", "none"]),
    default="newest",
    show_default=True,
    help="Also write the report of the newest run of each device, or of all runs, and link it.",
)
def command(
    paths: Sequence[Path], out: Path, title: str, metrics: Sequence[str], reports: Reports
) -> None:
    """Write a static site: newest results by device and workload, trends, and a report for each device.

    It needs no server: open index.html, or publish the folder. docs/history.md says what it shows.

    \b
    Example:
      edgebench site results/ -o public/
    """
    from edgebench.api.results_site import make_site
    from edgebench.text.plain_text import say
    from edgebench.units import format_bytes

    gc.disable()
    size = make_site(paths, out, title=title, metrics=metrics, reports=reports)
    say(f"site: {out}/index.html ({format_bytes(size)} without reports)")
