"""A report into its file, whole or not at all."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from edgebench.errors import StoreError
from edgebench.report.model import Report

#: Format -> module of this package and its function that gives text or bytes.
_FORMS = {
    "html": ("page", "render"),
    "md": ("page_markdown", "render"),
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
    partial = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(f"{out}: cannot be written: {error.strerror}") from None
    print(f"report: {out} ({len(content) / 2**20:.1f} MiB)", file=sys.stderr)
