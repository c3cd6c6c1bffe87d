"""`edgebench energy`: meters. One file per subcommand, `energy_NAME.py` with `command`."""

from __future__ import annotations

import click

from edgebench.cli.shared.command_groups import LazyGroup

_COMMANDS = {
    "watch": "Show the rails of this machine's energy meter.",
    "attach": "Attach the log of another meter to a finished run.",
}


@click.group("energy", cls=LazyGroup, commands_help=_COMMANDS, module="edgebench.cli.energy_{}")
def command() -> None:
    """Watch this machine's energy meter, or attach the log of another meter.

    \b
    Example:
      edgebench energy watch
    """
