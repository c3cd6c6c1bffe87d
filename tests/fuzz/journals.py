"""Journals of unfinished runs, as `run --resume` opens them."""

from __future__ import annotations

from pathlib import Path

from edgebench.files.json_lines import encoded
from edgebench.store import JournalEntry, JournalHead, RunStore
from tests.records import generating, record, replicate

_HEAD = JournalHead(
    run_id="r1",
    started_utc="2026-01-01T00:00:00+00:00",
    options={"suite": "quick", "settings": {"target": 0.02}},
    device="desk",
    versions={"edgebench": "0.1.0", "ort": "1.32.0"},
    plan_sha256="0" * 64,
)
_RECORD = record()
_FEW = replicate(0, list(range(1000, 1012)))
_ENTRIES = [
    JournalEntry(cell=_RECORD.cell.id, replicate=_FEW, model=_RECORD.model, settings={"a": "b"}),
    JournalEntry(cell="another", replicate=generating(1, tokens=3, requests=2)),
]
SEEDS = [b"".join(map(encoded, [_HEAD, *_ENTRIES])), encoded(_HEAD)]


def read(data: bytes, folder: Path) -> None:
    journal = folder / "run.journal"
    journal.write_bytes(data)
    RunStore.resume(journal).close()
