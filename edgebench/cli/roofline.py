"""`edgebench roofline`: rows under the ceilings of their device."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.api.result_files import calibrations_of, files_of, records_of
from edgebench.cli.shared.options import calibration_option, format_option, paths_argument
from edgebench.files.json_lines import write_json


@click.command("roofline")
@paths_argument("FILE|DIR...")
@calibration_option
@click.option(
    "--layers",
    type=click.IntRange(0),
    default=0,
    help="For each row, also print this many of its most expensive layers.",
)
@format_option()
def command(paths: Sequence[Path], calibrations: Sequence[Path], layers: int, form: str) -> None:
    """Print how close each row comes to the limits of its device, and which limit binds it.

    The operations and bytes were counted in the model's graph during the run. The limits of the
    device are measured by `edgebench calibrate`; run it first. docs/roofline.md explains the output.

    \b
    Example:
      edgebench roofline results/ --layers 5
    """
    from edgebench.analysis.table import build_table
    from edgebench.roofline.roofline_points import roofline
    from edgebench.roofline.roofline_text import render

    gc.disable()
    table = build_table(records_of(files_of(paths)))
    devices = [device.name for device in table.devices]
    result = roofline(table.rows, calibrations_of(calibrations, devices))
    if form == "json":
        write_json(result, sys.stdout)
    else:
        render(result, table.rows, layers, sys.stdout)
