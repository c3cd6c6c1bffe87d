"""The help of every command: 80 columns, an example that parses, a sentence for every option."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgebench.cli import cli
from tests.command_lines import before_the_shell, parse


def _commands(command: click.Command, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield words
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _commands(child, (*words, name))


COMMANDS = list(_commands(cli, ()))


def _help(words: tuple[str, ...]) -> str:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(cli, [*words, "--help"])
    assert result.exit_code == 0, result.output
    return result.output


def examples(text: str) -> list[str]:
    """The command lines below "Example:", continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    starts = [i for i, line in enumerate(lines) if line.strip() in ("Example:", "Examples:")]
    return [line.strip() for start in starts for line in lines[start + 1 : lines.index("", start)]]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_shows_an_example_of_its_command_that_parses(words: tuple[str, ...]) -> None:
    shown = examples(_help(words))
    assert shown, "no example"
    for example in shown:
        assert example.startswith(" ".join(["edgebench", *words]))
        parse(before_the_shell(shlex.split(example)[1:]))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_fits_80_columns(words: tuple[str, ...]) -> None:
    assert max(map(len, _help(words).splitlines())) <= 80


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_cuts_no_sentence(words: tuple[str, ...]) -> None:
    described = [line for line in _help(words).splitlines() if not line.startswith("Usage:")]
    assert [line for line in described if line.endswith("...")] == []


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_option_has_help(words: tuple[str, ...]) -> None:
    command: click.Command = cli
    for name in words:
        assert isinstance(command, click.Group)
        child = command.get_command(click.Context(command), name)
        assert child is not None
        command = child
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.hidden and not option.help] == []


def test_an_example_that_does_not_parse_is_found() -> None:
    wrong = "Usage\n\n  Example:\n    edgebench show --no-such-option results/\n\nOptions:\n"
    (line,) = examples(wrong)
    with pytest.raises(click.NoSuchOption):
        parse(shlex.split(line)[1:])


def test_no_help_loads_what_only_the_command_needs() -> None:
    """numpy alone takes longer than all the rest of `--help`."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom edgebench import cli\n"
        "for name in cli._COMMANDS:\n"
        "    done = CliRunner().invoke(cli.cli, [name, '--help'])\n"
        "    assert done.exit_code == 0, name\n"
        "    assert 'numpy' not in sys.modules, name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
