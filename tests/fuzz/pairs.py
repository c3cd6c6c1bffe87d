"""Raw pairs of an A/B, as they are judged again."""

from __future__ import annotations

import gzip
from pathlib import Path

from edgebench.ab_test.pair_record import encode
from edgebench.ab_test.run_ab import read_pairs
from tests.ab_test.pairs import measured, pair

_ARM = measured()
_FEW = pair(base=_ARM, head=_ARM)
SEEDS = [gzip.compress(encode(_FEW) + b"\n"), encode(_FEW) + b"\n"]


def read(data: bytes, folder: Path) -> None:
    """Text is packed first, so that mutations reach what is inside."""
    file = folder / "a.pairs.jsonl.gz"
    file.write_bytes(data if data.startswith(b"\x1f\x8b") else gzip.compress(data))
    for each in read_pairs(file):
        each.rounds()
