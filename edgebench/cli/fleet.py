"""`edgebench fleet`: measures on many boards at once, by Dask."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebench.cli.shared.command_groups import WholeLinesGroup
from edgebench.cli.shared.options import format_option, out_folder_option
from edgebench.errors import ExitCode, UsageError
from edgebench.text.plain_text import say

if TYPE_CHECKING:
    from edgebench.fleet.board_runs import BoardState


@click.group("fleet", cls=WholeLinesGroup)
def command() -> None:
    """Measure on many boards at once, and collect their results here.

    `fleet up` runs a scheduler on this machine, and `fleet worker` runs on each board. docs/fleet.md shows the
    whole set-up.

    \b
    Example:
      edgebench fleet run --fleet fleet.yaml -- --suite quick
    """


_fleet_option = click.option(
    "--fleet",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("fleet.yaml"),
    show_default=True,
    help="File that names the scheduler and the boards.",
)


@command.command(context_settings={"ignore_unknown_options": True})
@_fleet_option
@click.option(
    "--board", "boards", multiple=True, metavar="NAME", help="Use only this board (repeatable)."
)
@out_folder_option(
    "results",
    "Folder for result files. Each board gets a folder of its own in it.",
    flags=["--out"],
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that `edgebench assets export` wrote, for boards without internet. It is sent to each board once.",
)
@click.option("--resume", is_flag=True, help="Continue the last fleet run in --out.")
@format_option(("table", "json", "csv", "md"), "table")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF RUN...]")
def run(
    file: Path,
    boards: Sequence[str],
    out: Path,
    bundle: Path | None,
    resume: bool,
    form: str,
    arguments: Sequence[str],
) -> int:
    """Measure the same workloads on all boards, and print one table of their results.

    The options after -- are those of `edgebench run`. Nothing measured is lost when the network fails, a process
    is killed or a board reboots. If this command is interrupted, --resume continues.

    \b
    Example:
      edgebench fleet run --fleet fleet.yaml -- image-classification --budget 60s
    """
    from edgebench.api.fleet_request import planned, reopened
    from edgebench.fleet.board_runs import run_boards
    from edgebench.fleet.fleet_file import inventory_path, load_fleet
    from edgebench.fleet.live_view import LiveView

    _require_dask()
    from edgebench.fleet.dask_link import Link

    fleet = load_fleet(file)
    typed = _typed_to_run(arguments)
    link = Link(fleet.scheduler, _certs(file, fleet.certs))
    if resume:
        if arguments or bundle is not None:
            raise UsageError("--resume goes on with the options of its run", "leave the others out")
        chosen, journal = reopened(fleet, boards, out)
    else:
        inventory = inventory_path(fleet, file.parent)
        chosen, journal = planned(fleet, boards, arguments, typed, out, bundle, inventory)
    try:
        with LiveView() as view:
            states = run_boards(chosen, journal, link, out, view.show)
    except KeyboardInterrupt:
        say(
            f"edgebench: the boards go on; `edgebench fleet run --resume --out {out}` fetches their results"
        )
        raise
    finally:
        link.close()
    return _print_results(states, form)


def _typed_to_run(arguments: Sequence[str]) -> dict[str, Any]:
    """The parameters that are given to `edgebench run`. Raises click's errors for those that it does not know."""
    from edgebench.cli.run import command as run_command
    from edgebench.cli.run import typed_in

    context = run_command.make_context("edgebench run", list(arguments))
    return {name: context.params[name] for name in typed_in(context)}


def _print_results(states: Sequence[BoardState], form: str) -> int:
    """Prints the table of all that arrived. The exit code is 1 where a board has no results, or a run of one failed."""
    files = [path for state in states for path in state.files]
    if files:
        from edgebench.analysis.table import build_table
        from edgebench.api.result_files import records_of
        from edgebench.render.table_formats import render

        render(build_table(records_of(files)), form, sys.stdout)
    bad = [state for state in states if state.state != "done" or state.code]
    return ExitCode.CELL_FAILED if bad else ExitCode.OK


@command.command()
@click.argument("address", metavar="ADDRESS")
@click.option(
    "--device", required=True, metavar="NAME", help="Name of this board in the fleet file."
)
@click.option(
    "--certs",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of certificates of `edgebench fleet certs`.",
)
@click.option(
    "--insecure",
    is_flag=True,
    help="Allow a connection without TLS, although others may read and change it.",
)
def worker(address: str, device: str, certs: Path | None, insecure: bool) -> None:
    """Let this board measure for the scheduler at ADDRESS, until you stop the worker.

    \b
    Example:
      edgebench fleet worker tls://desk:8786 --device jetson-7 --certs certs/
    """
    _require_dask()
    from edgebench.definitions.device_inventory import check_given_name
    from edgebench.fleet.dask_services import serve_worker

    check_given_name(device)
    _refuse_bare_tls(address, certs)
    serve_worker(address, device, certs, insecure, say)


@command.command()
@_fleet_option
@click.option(
    "--no-workers", is_flag=True, help="Start only the scheduler, and no worker over SSH."
)
def up(file: Path, no_workers: bool) -> None:
    """Start the scheduler on this machine, and the workers of boards with an `ssh` entry.

    Both run until you stop this command. Your own ssh is used, with its keys and its known hosts, and begun again
    where it ends. For a board without an `ssh` entry, the command to type on that board is printed.

    \b
    Example:
      edgebench fleet up --fleet fleet.yaml
    """
    _require_dask()
    from edgebench.fleet.dask_services import serve_scheduler
    from edgebench.fleet.fleet_file import load_fleet
    from edgebench.fleet.ssh_workers import start_workers

    fleet = load_fleet(file)
    certs = _certs(file, fleet.certs)
    workers = []
    if not no_workers:
        workers = start_workers(fleet.boards, fleet.scheduler, fleet.certs, fleet.insecure, say)
    try:
        serve_scheduler(fleet.scheduler, certs, fleet.insecure, say)
    finally:
        for each in workers:
            each.close()


@command.command()
@out_folder_option("certs", "Folder for the certificates; nothing in it is replaced.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=365,
    show_default=True,
    help="How many days they are valid.",
)
def certs(out: Path, days: int) -> None:
    """Make the certificates by which the scheduler, the workers and this command trust each other.

    \b
    Example:
      edgebench fleet certs -o certs/
    """
    _require_dask()
    from edgebench.fleet.certificates import BOARD_FILES, CA_KEY, make_certificates

    make_certificates(out, days)
    click.echo(f"copy to each board: {', '.join(str(out / name) for name in BOARD_FILES)}")
    click.echo(f"keep here: {out / CA_KEY}")


def _certs(file: Path, folder: str | None) -> Path | None:
    """Relative to the fleet file."""
    return None if folder is None else file.parent / folder


def _refuse_bare_tls(address: str, folder: Path | None) -> None:
    if address.startswith("tls:") and folder is None:
        raise UsageError("tls:// needs certificates", "--certs FOLDER of `edgebench fleet certs`")


def _require_dask() -> None:
    from importlib.util import find_spec

    for name in ("distributed", "cryptography"):
        if find_spec(name) is None:
            raise UsageError(f"{name} is not installed", "pip install 'edgebench[fleet]'")
