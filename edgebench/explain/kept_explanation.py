"""Reads an explanation that was kept as a file: what `edgebench explain --format json` printed."""

from __future__ import annotations

from pathlib import Path

import msgspec

from edgebench.errors import StoreError
from edgebench.explain.explanation import EXPLAIN_SCHEMA, Explanation
from edgebench.files.json_lines import decoded
from edgebench.files.regular_file import read_regular

MAX_FILE_BYTES = 1 << 24
_FIX = "`edgebench explain WORKLOAD --format json` writes one"


def read_explanation(path: Path) -> Explanation:
    """Raises StoreError where the file is missing or is none, naming the field."""
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}", _FIX) from None
    decode = msgspec.json.Decoder(Explanation).decode
    return decoded(content, decode, str(path), f"not a {EXPLAIN_SCHEMA} file", _FIX)
