"""Converts a model for a backend, in a process of its own: `python -m edgebench.measure.convert_model PARENT_PID
MEMORY_LIMIT`.

Reads a ConvertJob on stdin, writes a Converted or a PrepareFailure on stdout, as JSON.
"""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.preparation.preparation_messages import PrepareFailure, why_failed
from edgebench.processes.child_job import leave, run_job

_SECONDS = ".seconds"  # of the file beside a converted one that tells how long it took


class ConvertJob(msgspec.Struct, frozen=True, kw_only=True):
    backend: str
    options: dict[str, Scalar]
    path: str
    format: str
    sha256: str
    precision: str
    batch: int
    inputs: list[str] = []
    outputs: list[str] = []
    cache: str


class Converted(msgspec.Struct, frozen=True, kw_only=True, tag="converted"):
    path: str
    format: str
    sha256: str
    size_bytes: int
    #: As first converted, also where it came from the cache; None: it was there, and its time was not.
    seconds: float | None


Answer = Converted | PrepareFailure
decode_answer = msgspec.json.Decoder(Answer).decode


def main() -> None:
    run_job(ConvertJob, lambda job, _: _convert(job), why_failed)


def _convert(job: ConvertJob) -> Converted:
    backend = registry.load(job.backend)
    backend.import_runtime()
    model = ModelFile(
        Path(job.path),
        job.format,
        job.sha256,
        job.precision,
        job.batch,
        inputs=tuple(job.inputs),
        outputs=tuple(job.outputs),
    )
    cache = Path(job.cache)
    before = set(cache.iterdir()) if cache.is_dir() else set()
    start = time.perf_counter()
    converted = backend.convert(model, job.options, cache)
    seconds = time.perf_counter() - start
    entry = next(
        (part for part in (converted.path, *converted.path.parents) if part.parent == cache), None
    )
    return Converted(
        path=str(converted.path),
        format=converted.format,
        sha256=converted.sha256,
        size_bytes=_size(converted.path),
        seconds=None if entry is None else _as_converted(entry, seconds, entry in before),
    )


def _as_converted(entry: Path, seconds: float, was_there: bool) -> float | None:
    """Returns what the conversion of an entry of the cache took: kept beside it, for `seconds` of a call that
    found it there are those of a look."""
    kept = entry.with_name(f"{entry.name}{_SECONDS}")
    if not was_there:
        kept.write_text(repr(seconds), encoding="ascii")
        return seconds
    try:
        return float(kept.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _size(path: Path) -> int:
    """Bytes of a converted model: of its folder, or of all files of its name, where weights lie beside
    the graph."""
    if path.is_dir():
        parts = [part for part in path.rglob("*") if part.is_file()]
    else:
        beside = path.parent.glob(f"{path.stem}.*")
        parts = [part for part in beside if part.suffix not in (".tmp", _SECONDS)]
    return sum(part.stat().st_size for part in parts)


if __name__ == "__main__":
    main()
    leave()
