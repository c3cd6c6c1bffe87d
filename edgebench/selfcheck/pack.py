"""Packs a selfcheck for a maintainer: its answers and the texts behind them, without names of users or hosts."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from edgebench.files.atomic_write import whole_file
from edgebench.selfcheck.check_file import CheckFile, scrubbed

#: The file's own name in the archive, and the one under which results/hardware keeps it.
CHECK_NAME = "selfcheck.json"


def check_text(file: CheckFile, secrets: Sequence[tuple[str, str]]) -> str:
    """The file as JSON for people and programs."""
    encoded = msgspec.json.format(msgspec.json.encode(file), indent=1)
    return scrubbed(encoded.decode(), secrets) + "\n"


def pack(
    path: Path, file: CheckFile, texts: Mapping[str, str], secrets: Sequence[tuple[str, str]]
) -> None:
    """Writes the archive. Raises StoreError where it cannot be written."""
    with (
        whole_file(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive,
    ):
        archive.writestr(CHECK_NAME, check_text(file, secrets))
        for name, text in texts.items():
            if text.strip():
                archive.writestr(name, scrubbed(text, secrets))
