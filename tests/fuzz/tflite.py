"""LiteRT's own files, as far as edgebench reads them: LiteRT verifies and opens them in a worker."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgebench.preparation.preparation_messages import PrepareJob
from edgebench.preparation.prepare import prepare

SEEDS = [(Path(__file__).parents[1] / "data" / "models" / "open_batch.tflite").read_bytes()]


def read(data: bytes, folder: Path) -> None:
    source = folder / "model.tflite"
    source.write_bytes(data)
    prepare(
        PrepareJob(
            task="seeded_inputs",
            source=str(source),
            source_sha256=hashlib.sha256(data).hexdigest(),
            format="tflite",
            cache=str(folder / "cache"),
        )
    )
