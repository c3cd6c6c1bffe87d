"""Writes a report to its file, completely or not at all."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from edgebench.files.atomic_write import whole_file
from edgebench.report.report_model import Report
from edgebench.text.plain_text import say
from edgebench.units import format_bytes

#: Format -> module of this package and its function that gives text or bytes.
_FORMS = {
    "html": ("html_page", "render"),
    "md": ("report_markdown", "render"),
    "png": ("pictures", "png"),
    "svg": ("pictures", "svg"),
}


def write(report: Report, out: Path, form: str) -> None:
    """Writes the report; to stdout where `out` is "-". Raises StoreError and UsageError."""
    module, function = _FORMS[form]
    made = getattr(importlib.import_module(f"edgebench.report.{module}"), function)(report)
    content = made.encode() if isinstance(made, str) else made
    if str(out) == "-":
        sys.stdout.buffer.write(content)
        return
    with whole_file(out) as partial:
        partial.write_bytes(content)
    say(f"report: {out} ({format_bytes(len(content))})")
