"""The parts of README.md and docs/ that edgebench prints: `python -m tests.readme` renews them.

A block names the command whose output it is, and is run in the root of the repository:

    <!-- begin: edgebench show results/reference/quick-linux-amd-2c.jsonl -->
    (what it prints, as code; after `begin: $` the command stands above it)
    <!-- end -->

`(NAME alone)` behind a command leaves one workload of its result files. `(as told in FILE.json)` prints a gate's
report that was kept, since pairs are not measured again. The block of `make perf` is what
was measured, and is taken from standard input: `make perf | python -m tests.readme`.
"""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import msgspec
from click.testing import CliRunner

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.cli import cli
from edgebench.gate.verdict_formats import render as render_verdict

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
#: The block that no command of edgebench prints.
MEASURED = "make perf"
_BLOCK = re.compile(
    r"(?P<head><!-- begin: (?P<shown>\$ )?(?P<command>[^(]+?)"
    r"(?: \((?:(?P<only>[\w-]+) alone|as told in (?P<report>[\w/.-]+))\))? -->\n)"
    r"(?P<body>.*?)(?P<tail><!-- end -->)",
    re.DOTALL,
)
_COLUMNS = "80"


def renewed(text: str, measured: str = "") -> str:
    """A page's text with every block as it is printed now."""

    def block(found: re.Match[str]) -> str:
        command = found["command"]
        if command == MEASURED:
            content = measured or _content_of(found["body"])
        elif found["report"]:
            content = told(ROOT / found["report"])
        else:
            content = printed(command, found["only"])
        lines = [f"$ {command}"] if found["shown"] else []
        return "\n".join([f"{found['head']}```", *lines, content.strip(), f"```\n{found['tail']}"])

    return _BLOCK.sub(block, text)


def commands(text: str) -> list[str]:
    """The commands whose output stands in a page."""
    return [found["command"] for found in _BLOCK.finditer(text)]


def printed(command: str, only: str | None = None) -> str:
    """What a command prints on a terminal of 80 columns."""
    arguments = shlex.split(command)[1:]
    with _at(ROOT), tempfile.TemporaryDirectory() as folder:
        if only:
            arguments = [_cut(argument, only, Path(folder)) for argument in arguments]
        result = CliRunner().invoke(cli, arguments, env={"COLUMNS": _COLUMNS})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.stdout


def told(report: Path) -> str:
    """What `ab` and `gate` print of a report that `--format json` wrote."""
    out = io.StringIO()
    with _at(ROOT), patch.dict(os.environ, COLUMNS=_COLUMNS):
        render_verdict(msgspec.json.decode(report.read_bytes(), type=GateReport), "table", out)
    return out.getvalue()


def _cut(argument: str, workload: str, folder: Path) -> str:
    """A result file with one workload left, in the place of an argument that is one."""
    if not argument.endswith(".jsonl"):
        return argument
    lines = Path(argument).read_text(encoding="utf-8").splitlines(keepends=True)
    cut = folder / Path(argument).name
    kept = [line for line in lines if json.loads(line)["cell"]["workload"] == workload]
    cut.write_text("".join(kept), encoding="utf-8")
    return str(cut)


def _content_of(body: str) -> str:
    return body.strip().removeprefix("```").removesuffix("```")


@contextmanager
def _at(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def main() -> None:
    measured = "" if sys.stdin.isatty() else sys.stdin.read().strip()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        page.write_text(renewed(text, measured), encoding="utf-8")


if __name__ == "__main__":
    main()
