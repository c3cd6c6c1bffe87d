"""Groups of commands: one imports a command only when it runs, one shows whole sentences in its help."""

from __future__ import annotations

import gc
import importlib
import keyword
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_LONGEST = 1000  # characters: click cuts at 45, in the middle of a sentence


class LazyGroup(click.Group):
    """`commands_help`: name -> help line, so that `--help` imports no command. `module`: the pattern
    of the module that holds a command's `command`; a name that Python keeps for itself ends with `_`.
    `moved`: a former command -> what to type in its place."""

    def __init__(
        self,
        *args: Any,
        commands_help: Mapping[str, str],
        module: str,
        moved: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self._moved = moved or {}
        self._help_of = commands_help
        self._module = module

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._help_of)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self._help_of:
            return None
        gc.disable()  # what an import makes stays: looking for garbage is a tenth of its time
        try:
            stem = f"{name}_" if keyword.iskeyword(name) else name
            module = importlib.import_module(self._module.format(stem))
        finally:
            gc.enable()
        command: click.Command = module.command
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands that begin so, with their help lines: a key press imports none of them."""
        from click.shell_completion import CompletionItem

        commands = [
            CompletionItem(name, help=line)
            for name, line in self._help_of.items()
            if name.startswith(incomplete)
        ]
        return commands + click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._help_of and not args[0].startswith("-"):
            from edgebench.text.did_you_mean import did_you_mean

            if args[0] in self._moved:
                ctx.fail(f"the command {args[0]!r} is now: {self._moved[args[0]]}")
            ctx.fail(f"no command {args[0]!r}{did_you_mean(args[0], self._help_of)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self._help_of.items()))


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
