"""A group whose help shows the first sentence of each command whole."""

from __future__ import annotations

import click

_LONGEST = 1000  # characters: click cuts at 45, in the middle of a sentence


class WholeLinesGroup(click.Group):
    """Lists its commands with whole sentences, wrapped to the width of the terminal."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        names = self.list_commands(ctx)
        commands = [(name, self.get_command(ctx, name)) for name in names]
        lines = [
            (name, found.get_short_help_str(_LONGEST))
            for name, found in commands
            if found is not None and not found.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(lines)
