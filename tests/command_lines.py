"""Parsing of command lines that docs and help texts show, by the command that each one names."""

from __future__ import annotations

import itertools

import click

from edgebench.cli import cli


def parse(words: list[str]) -> None:
    """Raises a click error where this is no command line; opens no file."""
    command: click.Command = cli
    context = click.Context(cli, info_name="edgebench")
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-") or words[0].isupper():
            break  # the group itself, or COMMAND for any of it
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    if any(word in context.help_option_names for word in words):
        return
    values, rest, _ = command.make_parser(context).parse_args(list(words))
    assert not rest, f"words that nothing takes: {rest}"
    for parameter in command.params:
        _check(parameter, values.get(parameter.name or ""), context)


def _check(parameter: click.Parameter, given: object, context: click.Context) -> None:
    """Choices and numbers must be some; files and texts are not looked at."""
    checked = (click.Choice, click.types.IntParamType, click.types.FloatParamType)
    if not isinstance(parameter.type, checked):
        return
    for value in given if isinstance(given, (list, tuple)) else [given]:
        if isinstance(value, str) and not value.isupper():  # N: a number of yours
            parameter.type(value, parameter, context)


def before_the_shell(words: list[str]) -> list[str]:
    """What the command itself gets: not the redirection, nor the next command."""
    return list(itertools.takewhile(lambda word: word not in (">", "2>", "|", "&&", "2>&1"), words))
