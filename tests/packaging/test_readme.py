"""README.md is a front door: short, the two commands first; docs/command-line.md has the exit codes."""

from __future__ import annotations

import re

from edgebench.errors import ExitCode
from tests.readme import README, ROOT

TEXT = README.read_text(encoding="utf-8")


def test_readme_opens_with_the_two_commands() -> None:
    commands = TEXT.split("```")[1].strip().splitlines()
    assert [line.split("#")[0].split() for line in commands] == [
        ["make", "bench"],
        ["make", "test"],
    ]


def test_readme_has_at_most_150_lines() -> None:
    assert len(TEXT.splitlines()) <= 150


def test_every_exit_code_of_this_version_is_documented() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text(encoding="utf-8")
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    assert documented == set(ExitCode)
