"""`edgebench energy attach`: the log of any meter, integrated inside the windows of a finished run."""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.options import out_file_option, together
from edgebench.errors import StoreError, UsageError
from edgebench.files.atomic_write import whole_file
from edgebench.text.number_parsing import MARKS
from edgebench.units import parse_share

if TYPE_CHECKING:
    from edgebench.energy.meter_columns import Role

_ROLES: tuple[Role, ...] = ("time", "power", "current", "voltage", "energy")
_column_options = together(
    *(
        click.option(
            f"--{role}-column", metavar="NAME", help=f"Name of the {role} column of METER.csv."
        )
        for role in _ROLES
    )
)


@click.command(name="attach")
@click.argument("result", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument(
    "log", metavar="METER.csv", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--offset-s",
    "offset",
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Seconds to add to the log's times to get Unix time. auto: aligns the log by the bursts of "
    "--energy-markers if there are any, else trusts its clock.",
)
@click.option(
    "--scope",
    default="device input",
    show_default=True,
    help="The part of the device that the meter measures.",
)
@click.option(
    "--averages",
    is_flag=True,
    help="Each row is the mean since the row before it, not a momentary value.",
)
@click.option(
    "--accuracy",
    metavar="SHARE",
    help="Accuracy of the meter, as a share of its reading, such as 0.5%.",
)
@click.option(
    "--volts", type=float, metavar="V", help="Voltage to use if the log holds only current."
)
@click.option(
    "--decimal",
    type=click.Choice(list(MARKS)),
    help="Decimal mark of the log, if its numbers leave it open.",
)
@_column_options
@out_file_option("File to write.  [default: RESULT-attached.jsonl]")
def command(
    result: Path,
    log: Path,
    offset: str,
    scope: str,
    averages: bool,
    accuracy: str | None,
    volts: float | None,
    decimal: str | None,
    out: Path | None,
    **columns: str | None,
) -> None:
    """Compute the energy of a finished run from METER.csv, the log of any power meter.

    The records with energy are written to a new file; RESULT is not changed. The log's times may be
    in seconds, milliseconds or ISO 8601. It must hold power, or current and voltage, or an energy
    counter.

    \b
    Example:
      edgebench energy attach results/pi5/run.jsonl meter.csv --accuracy 0.5%
    """
    from edgebench.energy.attach_log import Meter, attach, offset_of
    from edgebench.energy.meter_log import read_log
    from edgebench.store import read_records

    out = out or result.with_name(f"{result.stem}-attached.jsonl")
    if out.exists():
        raise StoreError(
            f"{out}: the file exists already, and results are never overwritten",
            "give another name with -o OUT",
        )
    named: dict[Role, str] = {
        role: name for role in _ROLES if (name := columns[f"{role}_column"]) is not None
    }
    records = read_records(result)
    read = read_log(log, named, volts, MARKS.get(decimal or "", ""))
    alignment = offset_of(read, records, _offset_s(offset))
    meter = Meter(scope, averages, parse_share(accuracy) if accuracy else None)
    attached = attach(records, read, alignment, meter)
    _write(out, attached)
    _say(read, alignment, attached, out)


def _offset_s(text: str) -> float | None:
    from edgebench.energy.meter_log import LATEST_S

    if text == "auto":
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = nan
    if not abs(seconds) < LATEST_S:
        raise UsageError(f"--offset-s {text}: this is neither `auto` nor a number of seconds")
    return seconds


def _write(out: Path, records: Any) -> None:
    from edgebench.record import encode

    with whole_file(out) as partial:
        partial.write_bytes(b"".join(map(encode, records)))


def _say(read: Any, alignment: Any, records: Any, out: Path) -> None:
    good = [record for record in records if record.energy.status == "ok"]
    click.echo(f"{read.path}: {read.columns}, {1 / read.period_s:.4g} rows a second")
    if read.assumed:
        click.echo(f"assumed, as the log does not say it: {', '.join(read.assumed)}")
    if read.repeated:
        what = "last count" if read.quantity == "energy" else "mean power"
        click.echo(
            f"{read.repeated} rows have the time stamp of the row before; their {what} is used"
        )
    by = f", correlation {alignment.correlation:.2f}" if alignment.correlation < 1 else ""
    click.echo(f"offset {alignment.offset_s:+.3f} s within {alignment.error_s:.3g} s{by}")
    for record in records:
        energy = record.energy
        words = (
            f"{energy.j_per_inference:.4g} J ± {energy.uncertainty_j:.2g}, {energy.average_w:.4g} W"
            if energy.status == "ok"
            else f"unavailable ({energy.reason}): {energy.detail}"
        )
        click.echo(f"  {record.cell.id}: {words}")
    click.echo(f"{len(good)} of {len(records)} cells now have an energy: {out}")
    click.echo("In a table of both files, these rows replace those of the run.")
