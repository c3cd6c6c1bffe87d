"""Runs one target in a process of its own, which `python -m tests.fuzz` starts.

Bounds of a single read are held here: seconds of the processor, so that a busy machine changes
nothing, and memory beyond what the process had before. A crash or a hang in native code ends the
process; the file under trial then lies in `--out`, so that the parent can name it.
"""

from __future__ import annotations

import argparse
import faulthandler
import hashlib
import importlib
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import FrameType, TracebackType

import msgspec

from edgebench.errors import EdgebenchError
from tests.fuzz.mutation import mutated

MAX_READ_CPU_S = 5.0
MAX_READ_BYTES = 1 << 30
MAX_VIOLATIONS = 20
UNDER_TRIAL, REPORT = "under-trial.bin", "report.json"
OWN_MODULES = ("__init__", "__main__", "mutation", "target")

Read = Callable[[bytes, Path], None]


class Violation(msgspec.Struct, frozen=True):
    """A file on which a reader did something else than return or raise an EdgebenchError."""

    target: str
    what: str  # the exception's last line, or what happened to the process
    place: str  # where in edgebench; "" where nobody knows
    file: str
    trace: str = ""


class Report(msgspec.Struct, frozen=True):
    """What came of a target."""

    target: str
    reads: int
    refused: int  # ended in an EdgebenchError
    violations: list[Violation]


class Hang(BaseException):
    """The read took too long. No Exception, so that no reader swallows it."""


def names() -> list[str]:
    """Every target, by the modules of this folder."""
    stems = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(stem for stem in stems if stem not in OWN_MODULES)


def fuzz(name: str, *, runs: int, seconds: float, seed: int, out: Path) -> Report:
    """Reads the seeds as they are, then `runs` mutated ones, or as many as `seconds` allow."""
    module = importlib.import_module(f"tests.fuzz.{name}")
    out.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], Violation] = {}
    reads = refused = 0
    for data in _files(module.SEEDS, runs, seconds, seed):
        (out / UNDER_TRIAL).write_bytes(data)
        error = failure(module.read, data)
        reads += 1
        refused += isinstance(error, EdgebenchError)
        if error is not None and not isinstance(error, EdgebenchError):
            violation = _violation(name, error, data, out)
            found.setdefault((violation.what.partition(":")[0], violation.place), violation)
        if reads == len(module.SEEDS) and refused == reads:
            raise SystemExit(f"{name}: no seed can be read, so mutated ones test nothing: {error}")
        if len(found) >= MAX_VIOLATIONS:
            break
    (out / UNDER_TRIAL).unlink()
    return Report(name, reads, refused, list(found.values()))


def _files(seeds: list[bytes], runs: int, seconds: float, seed: int) -> Iterator[bytes]:
    yield from seeds
    end = time.monotonic() + seconds
    for run in range(runs):
        if time.monotonic() > end:
            return
        yield mutated(seeds, Random(f"{seed}/{run}"))


def failure(read: Read, data: bytes) -> BaseException | None:
    """What a read of this file raises; None where it returns."""
    with tempfile.TemporaryDirectory(prefix="edgebench-fuzz-") as folder:
        signal.setitimer(signal.ITIMER_PROF, MAX_READ_CPU_S)
        try:
            read(data, Path(folder))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - whatever it raises is what is looked for
            return error
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def _violation(name: str, error: BaseException, data: bytes, out: Path) -> Violation:
    file = out / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
    file.write_bytes(data)
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    what = traceback.format_exception_only(type(error), error)[-1].strip()[:300]
    return Violation(name, what, _place(error.__traceback__), str(file), "".join(lines))


def _place(trace: TracebackType | None) -> str:
    """The innermost line that is edgebench's own."""
    frames = traceback.extract_tb(trace)
    own = [f"{f.filename}:{f.lineno}" for f in frames if "/tests/fuzz/target" not in f.filename]
    ours = [place for place in own if "/edgebench/" in place or "/backends/" in place]
    return (ours or own or [""])[-1]


def _hang(number: int, frame: FrameType | None) -> None:
    raise Hang(f"the read took more than {MAX_READ_CPU_S:g} s of the processor")


def bound_reads(name: str) -> None:
    """Limits the time and the memory of the reads that follow, once the target's imports are done."""
    importlib.import_module(f"tests.fuzz.{name}")
    signal.signal(signal.SIGPROF, _hang)
    faulthandler.enable()
    if sys.platform == "linux":  # macOS enforces no limit of address space
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MAX_READ_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    bound_reads(given.name)
    report = fuzz(
        given.name, runs=given.runs, seconds=given.seconds, seed=given.seed, out=given.out
    )
    (given.out / REPORT).write_bytes(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
