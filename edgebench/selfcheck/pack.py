"""Packs a selfcheck for a maintainer: its answers and the texts behind them, without names of users or hosts."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgebench.files.atomic_write import whole_file
from edgebench.selfcheck.check_file import CheckFile
from edgebench.selfcheck.privacy import scrubbed, scrubbed_file, scrubbed_value

#: The file's own name in the archive, and the one under which results/hardware keeps it.
CHECK_NAME = "selfcheck.json"


def check_text(file: CheckFile, secrets: Sequence[tuple[str, str]]) -> str:
    """The file as JSON for people and programs. What edgebench itself writes in it, claims and fields, stays as it is."""
    clean = replace(
        file,
        machine=scrubbed(file.machine, secrets),
        facts=scrubbed_value(file.facts, secrets),
        answers=tuple(
            replace(answer, detail=scrubbed(answer.detail, secrets)) for answer in file.answers
        ),
    )
    return msgspec.json.format(msgspec.json.encode(clean), indent=1).decode() + "\n"


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
                archive.writestr(name, scrubbed_file(name, text, secrets))
