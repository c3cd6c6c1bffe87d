"""Shells complete commands, options and values, at the price of a key press."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.shell_completion import BashComplete
from click.testing import CliRunner

from edgebench.cli import cli

_VARIABLE = "_EDGEBENCH_COMPLETE"


def offered(words: list[str], incomplete: str) -> list[str]:
    complete = BashComplete(cli, {}, "edgebench", _VARIABLE)
    return [item.value for item in complete.get_completions(words, incomplete)]


@pytest.mark.parametrize(
    ("words", "incomplete", "some"),
    [
        ([], "ro", ["roofline"]),
        ([], "--ver", ["--version"]),
        (["energy"], "", ["watch", "attach"]),
        (["show"], "--for", ["--format"]),
        (["show", "--format"], "", ["table", "json", "csv", "md"]),
        (["pick", "results", "--across"], "d", ["devices"]),
    ],
)
def test_commands_options_and_choices_are_offered(
    words: list[str], incomplete: str, some: list[str]
) -> None:
    assert offered(words, incomplete) == some


def test_a_command_is_offered_with_its_help_line() -> None:
    (item,) = BashComplete(cli, {}, "edgebench", _VARIABLE).get_completions([], "doctor")
    help_text = CliRunner().invoke(cli, ["--help"]).output
    assert item.help
    assert f"doctor {item.help}" in " ".join(help_text.split())


def run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", f"import sys; sys.argv[0] = 'edgebench'; {code}"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    done = run("from edgebench.cli import main; main()", **{_VARIABLE: f"{shell}_source"})
    assert done.returncode == 0, done.stderr
    assert "_edgebench_completion" in done.stdout


def test_completing_a_command_imports_no_command() -> None:
    code = (
        "from edgebench.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print([m for m in sys.modules if m.startswith('edgebench.cli.')], "
        "'numpy' in sys.modules, file=sys.stderr)"
    )
    done = run(code, COMP_WORDS="edgebench s", COMP_CWORD="1", **{_VARIABLE: "bash_complete"})
    assert "plain,show" in done.stdout.splitlines()
    assert "show" not in done.stderr
    assert done.stderr.strip().endswith("False")
