"""A gate's report for GitHub Actions: the summary of the step, and annotations on the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import TextIO

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.errors import StoreError
from edgebench.files.atomic_write import append
from edgebench.gate import verdict_markdown
from edgebench.gate import verdict_wording as words
from edgebench.text.plain_text import plain_lines

_LEVEL = {"regress": "error", "invalid": "error", "inconclusive": "warning"}


def publish(
    report: GateReport, environ: Mapping[str, str] = os.environ, out: TextIO | None = None
) -> None:
    """Appends to $GITHUB_STEP_SUMMARY and $GITHUB_OUTPUT where they are, prints annotations to stderr.

    stdout stays with the report itself. Raises StoreError where GitHub's files cannot be written.
    """
    text = StringIO()
    verdict_markdown.render(report, text)
    _append(environ.get("GITHUB_STEP_SUMMARY"), text.getvalue())
    _append(environ.get("GITHUB_OUTPUT"), f"verdict={report.verdict}\n")
    print("\n".join(notices(report)), file=sys.stderr if out is None else out)


def notices(report: GateReport) -> list[str]:
    """Workflow commands: one for the verdict, one for every row that is not green."""
    lines = [
        _command(_LEVEL.get(report.verdict, "notice"), "verdict", words.verdict_sentence(report))
    ]
    for row in report.cells:
        if row.judged and row.verdict in _LEVEL:
            text = f"{row.cell}: {words.change(row.change, row.metric)} ({words.interval(row)})"
            text += f": {row.reason}" if row.reason else ""
            title = f"{row.verdict.upper()} {row.metric}"
            lines.append(_command(_LEVEL[row.verdict], title, text))
    return lines


def _command(level: str, title: str, text: str) -> str:
    return f"::{level} title=edgebench {_escaped(title, ',:')}::{_escaped(text)}"


def _escaped(text: str, more: str = "") -> str:
    """Escapes as GitHub's toolkit does: percent signs, line ends, and in properties `,` and `:`."""
    text = plain_lines(text)
    for letter in "%\r\n" + more:
        text = text.replace(letter, f"%{ord(letter):02X}")
    return text


def _append(path: str | None, text: str) -> None:
    if not path:
        return
    try:
        append(Path(path), text)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
