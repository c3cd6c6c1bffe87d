"""Result files: whatever is read as records makes a table, and every view and report of it."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from edgebench.cli import cli
from edgebench.errors import UsageError
from edgebench.record import Record, encode
from edgebench.store import read_records
from tests.records import generating, offline, record, replicate, reported
from tests.report_records import decoders, loads, realistic, reasoning

COMMANDS = (
    "show FILE",
    "show FILE --format json",
    "show FILE --format csv",
    "show FILE --format md",
    "report FILE -o FILE.md",
    "frontier FILE --draws 100",
    "pick FILE --require latency.p50<=10s",
    "compare FILE FILE",
    "gate --baseline FILE FILE",
    "show FILE --columns efficientllm",
    "show FILE --columns iso-latency",
    "scaling FILE",
    "roofline FILE",
)


def _small(records: list[Record]) -> bytes:
    """Two records at most: a mutation is to meet a field, not one of ten thousand samples."""
    return b"".join(map(encode, records[:2]))


def _seeds() -> list[bytes]:
    few = [replicate(index, list(range(1000, 1012))) for index in range(2)]
    tokens = [generating(index, tokens=3, requests=2) for index in range(2)]
    return [
        _small([record(replicates=few)]),
        _small([record(scenario="offline", replicates=[offline(0), offline(1)])]),
        _small([record(scenario="generate", replicates=tokens)]),
        _small([reported("throughput", 120.0)]),
        _small(reasoning()),
        _small(decoders()),
        _small(loads()),
        _small(realistic()),
    ]


SEEDS = _seeds()


def read(data: bytes, folder: Path) -> None:
    """Reads the file, and gives what was accepted to every command."""
    file = folder / "results.jsonl"
    file.write_bytes(data)
    read_records(file)
    for command in COMMANDS:
        with contextlib.suppress(UsageError):  # `scaling` of results without problems
            run(*(word.replace("FILE", str(file)) for word in command.split()))


def run(*arguments: str) -> None:
    """A command, with nothing to see of it."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        cli.main(list(arguments), standalone_mode=False)
