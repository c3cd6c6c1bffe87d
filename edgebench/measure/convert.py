"""Converts a model for a backend, in a process of its own: `python -m edgebench.measure.convert`.

Reads a ConvertJob on stdin, writes a Converted or a ConvertFailure on stdout, as JSON.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec

from edgebench import registry
from edgebench.backend import ModelFile, Scalar
from edgebench.errors import EdgebenchError, UnsupportedError


class ConvertJob(msgspec.Struct, frozen=True, kw_only=True):
    backend: str
    options: dict[str, Scalar]
    path: str
    format: str
    sha256: str
    precision: str
    batch: int
    cache: str


class Converted(msgspec.Struct, frozen=True, kw_only=True, tag="converted"):
    path: str
    format: str
    sha256: str
    size_bytes: int
    seconds: float


class ConvertFailure(msgspec.Struct, frozen=True, kw_only=True, tag="failure"):
    kind: Literal["unsupported", "failed"]
    error: str
    fix: str = ""


Answer = Converted | ConvertFailure
decode_answer = msgspec.json.Decoder(Answer).decode


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ConvertJob)
    answer_fd = os.dup(1)
    os.dup2(2, 1)  # converters print: what they print is no answer
    answer: Answer
    try:
        answer = _convert(job)
    except UnsupportedError as error:
        answer = ConvertFailure(kind="unsupported", error=error.message, fix=error.fix)
    except EdgebenchError as error:
        answer = ConvertFailure(kind="failed", error=error.message, fix=error.fix)
    except Exception as error:  # noqa: BLE001 - whatever a converter raises becomes a row
        answer = ConvertFailure(kind="failed", error=f"{type(error).__name__}: {error}")
    os.write(answer_fd, msgspec.json.encode(answer))


def _convert(job: ConvertJob) -> Converted:
    backend = registry.load(job.backend)
    backend.import_runtime()
    model = ModelFile(Path(job.path), job.format, job.sha256, job.precision, job.batch)
    start = time.perf_counter()
    made = backend.convert(model, job.options, Path(job.cache))
    return Converted(
        path=str(made.path),
        format=made.format,
        sha256=made.sha256,
        size_bytes=_size(made.path),
        seconds=time.perf_counter() - start,
    )


def _size(path: Path) -> int:
    """Bytes of a converted model: of all files of its name, where weights lie beside the graph."""
    parts = [part for part in path.parent.glob(f"{path.stem}.*") if part.suffix != ".tmp"]
    return sum(part.stat().st_size for part in parts)


if __name__ == "__main__":
    main()
