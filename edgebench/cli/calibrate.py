"""`edgebench calibrate`: the ceilings of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgebench.cli.shared.options import format_option, out_file_option
from edgebench.files.json_lines import write_json
from edgebench.text.plain_text import say
from edgebench.units import parse_duration_s


@click.command("calibrate")
@click.option(
    "--processes",
    type=click.IntRange(2, 50),
    default=5,
    show_default=True,
    help="Number of fresh processes per ceiling; its interval is computed over them.",
)
@click.option(
    "--slice",
    "slice_",
    default="1s",
    show_default=True,
    metavar="TIME",
    help="Measured time of each process.",
)
@out_file_option("File to write.  [default: a file in the cache, where `roofline` finds it]")
@format_option(what="ceilings")
def command(processes: int, slice_: str, out: Path | None, form: str) -> None:
    """Measure this machine's peak arithmetic (fp32 and int8) and memory bandwidth.

    `edgebench roofline` uses them as ceilings. Each is measured with one thread and with all threads,
    in fresh processes that take turns. Leave the machine alone meanwhile: other programs lower the
    ceilings.

    \b
    Example:
      edgebench calibrate --processes 5
    """
    from edgebench.assets import cache_dir
    from edgebench.calibration import default_path, write_calibration
    from edgebench.errors import UsageError
    from edgebench.files.atomic_write import ready_to_write
    from edgebench.probes import device_facts, machine_state
    from edgebench.roofline.measure_ceilings import calibrate
    from edgebench.roofline.roofline_text import render_ceilings

    seconds = parse_duration_s(slice_)
    if not 0.05 <= seconds <= 60:
        raise UsageError(f"--slice {slice_} is out of range", "give a time between 50ms and 60s")
    facts = device_facts.detect()
    before = machine_state.preflight()
    for check in before:
        if check.level in ("warn", "invalid"):
            say(f"{check.level}: {check.name}: {check.evidence}")
    path = out or default_path(cache_dir(), facts.name)
    with ready_to_write(path):  # before minutes are spent on what it cannot take
        calibration = calibrate(facts, before, processes, seconds, _progress)
        if form == "json":
            write_json(calibration, sys.stdout)
        else:
            render_ceilings(facts.name, calibration.ceilings, sys.stdout)
        # Last: what was measured is shown where it cannot be kept.
        write_calibration(path, calibration)
    say(f"calibration: {path}")


def _progress(what: str, number: int, total: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if number == total else ""
        click.echo(f"\r\x1b[K[{number}/{total}] {what}{end}", nl=False, err=True)
    elif number in (1, total):
        say(f"[{number}/{total}] {what}")
