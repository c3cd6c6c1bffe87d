"""The command line. One file per command, imported only when that command runs."""

from __future__ import annotations

import importlib
import sys
from typing import NoReturn

import click

from edgebench import __version__
from edgebench.errors import EdgebenchError, ExitCode

#: Command -> module in this package and its help line; here so that `--help` imports no command.
_COMMANDS = {
    "run": "Measure workloads on this machine and print the trade-off table.",
    "show": "Print the trade-off table of result files.",
    "scaling": "Accuracy against latency of a decoder over token budgets and samples.",
    "list": "List workloads, backends or devices.",
    "doctor": "Say what is available, what is wrong with this machine, and how to mend it.",
    "assets": "Pull, verify, prune, export or import model and data files.",
    "schema": "Print the JSON Schema of a definition or result format.",
}


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module = importlib.import_module(f"edgebench.cli.{name}_")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from edgebench.suggest import did_you_mean

            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 a cell failed, 2 usage, 3 device state under --strict, "
    "6 asset, 7 results not written, 130 interrupted.",
)
@click.version_option(__version__, prog_name="edgebench")
def cli() -> None:
    """Benchmark on-device inference: latency, memory, energy and quality, side by side."""


def main() -> NoReturn:
    """Entry point: one clear error on stderr and a documented exit code, never a traceback."""
    try:
        code = cli.main(standalone_mode=False)
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
    except KeyboardInterrupt:
        print("edgebench: interrupted", file=sys.stderr)
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) went away: point stdout elsewhere so that the exit is silent.
        import os

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.OK)
