"""`edgebench predict`: predicts the latency of what a device never ran."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgebench.cli.shared.options import calibration_option, format_option, paths_argument
from edgebench.errors import UsageError
from edgebench.files.json_lines import write_json
from edgebench.predict.prediction_report import SUGGESTIONS


@click.command("predict")
@paths_argument()
@click.option(
    "--device",
    "device",
    metavar="FILE|NAME",
    help="Results of the device to predict, or its name within RESULTS.",
)
@click.option(
    "--suggest",
    is_flag=True,
    help="Only list what to measure next. Without --device, the list is for a device that ran nothing yet.",
)
@click.option(
    "--anchors",
    "count",
    type=click.IntRange(1, 1000),
    default=SUGGESTIONS,
    show_default=True,
    help="How many measurements to suggest.",
)
@calibration_option
@format_option()
def command(
    paths: Sequence[Path],
    device: str | None,
    suggest: bool,
    count: int,
    calibrations: Sequence[Path],
    form: str,
) -> None:
    """Predict the latency of what a device never ran, from the little it ran.

    RESULTS are results of other devices. The predictions are marked as modelled, and no command ranks
    them. docs/predict.md says how good they are.

    \b
    Examples:
      edgebench predict results/ --suggest
      edgebench predict results/ --device new.jsonl
    """
    from edgebench.analysis.table import build_table
    from edgebench.api.result_files import calibrations_of, files_of, records_of
    from edgebench.predict.latency_matrix import cells_of
    from edgebench.predict.predict_device import predict_device, suggest_anchors

    if device is None and not suggest:
        raise UsageError(
            "which device?", "give --device FILE, or --suggest for a device that ran nothing"
        )
    more, name = _device_of(device)
    table = build_table(records_of(files_of([*paths, *more])))
    cells = cells_of(table.rows, table.runs)
    if name is not None and name not in cells.devices and not suggest:
        raise UsageError(
            f"no measured rows of a device {name!r}: {', '.join(cells.devices) or 'there are none'}",
            "give --device the file of its results",
        )
    ceilings = calibrations_of(calibrations, cells.devices)
    if suggest or name is None:
        found = suggest_anchors(cells, name, ceilings, count)
    else:
        found = predict_device(cells, name, ceilings, count)
    if form == "json":
        write_json(found, sys.stdout)
        return
    from edgebench.predict.prediction_text import render

    render(found, sys.stdout)


def _device_of(device: str | None) -> tuple[list[Path], str | None]:
    """The file to read as well, and the name of the device. Raises UsageError for a file of several."""
    from edgebench.api.result_files import files_of, records_of

    if device is None or not Path(device).exists():
        return [], device
    names = dict.fromkeys(record.device.name for record in records_of(files_of([Path(device)])))
    if len(names) != 1:
        raise UsageError(
            f"{device} holds {len(names) or 'no'} devices: {', '.join(names)}".rstrip(": "),
            "give --device the results of one device",
        )
    return [Path(device)], next(iter(names))
