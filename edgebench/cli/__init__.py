"""The command line. One file per command, imported only when that command runs."""

from __future__ import annotations

import errno
import os
import sys
from typing import NoReturn

import click

from edgebench import __version__
from edgebench.cli.lazy import LazyGroup
from edgebench.errors import EdgebenchError, ExitCode
from edgebench.signals import ended_by, listen_for_endings

#: Command -> module in this package and its help line; here so that `--help` imports no command.
_COMMANDS = {
    "run": "Measure workloads on this machine and print the trade-off table.",
    "ab": "Compare two deployments in the same job: regression, improvement or neither.",
    "gate": "Judge a change in CI: a policy's A/B, or stored results against limits.",
    "show": "Print the trade-off table of result files.",
    "report": "Write a report of result files: HTML, Markdown or pictures.",
    "import": "Turn the results of other tools into records of edgebench.",
    "query": "Run SQL over result files.",
    "export": "Write the trade-off table as Parquet, CSV, JSON or Markdown.",
    "frontier": "Say which deployments no other one beats, and how sure that is.",
    "pick": "Pick the deployment that meets limits and is best at one thing.",
    "compare": "Put the same cells of several result files side by side.",
    "view": "Print rows in the columns of the literature, or at equal latency or quality.",
    "calibrate": "Measure this machine's peak arithmetic and memory bandwidth.",
    "roofline": "Say how far rows are from what the machine can do.",
    "scaling": "Say what more tokens and more samples of a decoder bring.",
    "list": "List workloads, backends or devices.",
    "doctor": "Say what is available, what is wrong with this machine, and how to mend it.",
    "energy": "Watch this machine's energy meter, or attach the log of another.",
    "assets": "Pull, verify, prune, export or import model and data files.",
    "schema": "Print the JSON Schema of a definition or result format.",
}


@click.group(
    cls=LazyGroup,
    commands_help=_COMMANDS,
    module="edgebench.cli.{}_",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 a cell failed, none was measured, or a regression, 2 usage, 3 device state, "
    "4 inconclusive (ab, gate), 5 invalid (ab, gate, compare), 6 asset, 7 results cannot be written or "
    "read, 130 interrupted.",
)
@click.version_option(__version__, prog_name="edgebench")
def cli() -> None:
    """Benchmark on-device inference: latency, memory, energy and quality, side by side."""


def _invoke() -> object:
    """Runs the command and gives its exit code."""
    try:
        return cli.main(standalone_mode=False)
    except SystemExit as ended:
        if ended.code != 1:
            raise
        # No command ends so. click does where the reader of stdout has gone, and 1 is a failed cell.
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None


def main() -> NoReturn:
    """Entry point: one clear error on stderr and a documented exit code, never a traceback."""
    listen_for_endings()
    try:
        code = _invoke()
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else ExitCode.OK)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except click.Abort:
        sys.exit(ExitCode.INTERRUPTED)
    except EdgebenchError as error:
        print(f"edgebench: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:
        print(f"edgebench: {ended_by(error)}", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT):
            raise
        # Of stdout, as what fails elsewhere names its file: point it where the exit can flush it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # the reader (head, less) has enough
            sys.exit(ExitCode.OK)
        print(f"edgebench: stdout cannot be written: {error.strerror}", file=sys.stderr)
        sys.exit(ExitCode.STORE)
