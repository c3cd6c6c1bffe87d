"""README.md says what edgebench does."""

from __future__ import annotations

import re

import click
from click.testing import CliRunner

from edgebench.cli import cli
from edgebench.errors import ExitCode
from tests.readme import README, SCALINGS, TABLES, with_tables

TEXT = README.read_text(encoding="utf-8")


def test_the_tables_are_those_of_the_committed_results() -> None:
    assert all(f"<!-- {name}: begin -->" in TEXT for name in (*TABLES, *SCALINGS))
    assert with_tables(TEXT) == TEXT


def test_every_option_it_shows_exists() -> None:
    known = set(re.findall(r"--[a-z-]+", CliRunner().invoke(cli, ["--help"]).output))
    for name in cli.list_commands(click.Context(cli)):
        result = CliRunner().invoke(cli, [name, "--help"])
        known |= set(re.findall(r"--[a-z-]+", result.output))
    shown = set(re.findall(r"(?<=[ `])--[a-z]+[a-z-]*", TEXT))
    assert shown <= known | {"--no-deps"}  # of pip


def test_every_exit_code_of_this_version_is_documented() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)}
    assert documented == set(ExitCode)


def test_it_opens_with_the_two_commands() -> None:
    commands = TEXT.split("```")[1].strip().splitlines()
    assert [line.split("#")[0].split() for line in commands] == [
        ["make", "bench"],
        ["make", "test"],
    ]
