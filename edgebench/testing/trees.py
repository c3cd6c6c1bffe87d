"""File-system trees for tests of probes: a machine as the files that it would show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write_tree(root: Path, contents: Mapping[str, str]) -> Path:
    """Writes each file below `root` (relative path -> text, a final newline is added); returns it."""
    for relative, text in contents.items():
        path = root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")
    return root
