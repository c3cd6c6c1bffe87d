"""The formats of a gate's report, by name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TextIO

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.errors import StoreError
from edgebench.files.atomic_write import replacing
from edgebench.files.json_lines import write_json

#: Name -> module in this package, imported only when it is asked for.
_MODULES = {
    "table": "verdict_terminal",
    "md": "verdict_markdown",
    "markdown": "verdict_markdown",
    "junit": "junit_xml",
}


def render(report: GateReport, form: str, out: TextIO | None = None) -> None:
    """Writes the report as "table", "json", "md" ("markdown") or "junit"."""
    out = sys.stdout if out is None else out
    if form == "json":
        write_json(report, out, indent=2)
    else:
        importlib.import_module(f"edgebench.gate.{_MODULES[form]}").render(report, out)


def write(report: GateReport, form: str, path: Path) -> None:
    """The same into a file. Raises StoreError where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial, partial.open("w", encoding="utf-8") as file:
            render(report, form, file)
    except OSError as error:
        raise StoreError(f"{path}: cannot be written: {error.strerror}") from None
