"""Fuzzes the readers: `python -m tests.fuzz [NAME...] [--runs N] [--seconds S] [--seed K]`.

Each target runs in a process of its own. Every violation is printed with a file that shows it; the
exit code is then 1. What a target is stands in this package's docstring.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import msgspec

from edgebench.errors import EdgebenchError
from tests.fuzz.target import REPORT, UNDER_TRIAL, Report, Violation, bound_reads, failure, names

CHECKOUT = Path(__file__).parents[2]
OUT = CHECKOUT / "build" / "fuzz"
MAX_LAST_READ_S = 300.0  # beyond its time: imports and the last read, on a machine with other work


def report_of(name: str, *, runs: int, seconds: float, seed: int, out: Path = OUT) -> Report:
    """What came of a target, in a process of its own: a crash or a native hang is a violation too."""
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    limits = [f"--runs={runs}", f"--seconds={seconds}", f"--seed={seed}", f"--out={folder}"]
    command = [sys.executable, "-m", "tests.fuzz.target", name, *limits]
    try:
        ended = subprocess.run(
            command,
            check=False,
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds + MAX_LAST_READ_S,
        )
        what, trace = f"the process ended with {ended.returncode}", ended.stderr
    except subprocess.TimeoutExpired:
        what, trace = "the process hung in native code", ""
    if (folder / REPORT).exists():
        return msgspec.json.decode((folder / REPORT).read_bytes(), type=Report)
    violation = Violation(name, what, "", str(folder / UNDER_TRIAL), trace)
    return Report(name, 0, 0, [violation])


def text_of(report: Report) -> str:
    """A line for a target, and of each violation its trace and how to see it again."""
    count = len(report.violations)
    lines = [f"{report.target}: {report.reads} files, {report.refused} refused, {count} violations"]
    for violation in report.violations:
        again = f"python -m tests.fuzz {violation.target} --file {violation.file}"
        lines += [f"  {violation.what}", f"    at {violation.place}", f"    again: {again}"]
    return "\n".join(lines)


def read_once(name: str, file: Path) -> int:
    """Reads one file as the target does and says what came of it."""
    bound_reads(name)
    error = failure(importlib.import_module(f"tests.fuzz.{name}").read, file.read_bytes())
    if error is None or isinstance(error, EdgebenchError):
        print("it is read" if error is None else f"refused: {error}")
        return 0
    traceback.print_exception(type(error), error, error.__traceback__)
    return 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(names())}")
    parser.add_argument("--runs", type=int, default=5000, help="mutated files of each target")
    parser.add_argument("--seconds", type=float, default=120.0, help="at most, for each target")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--file", type=Path, help="read this file once, with its traceback")
    given = parser.parse_args()
    unknown = set(given.names) - set(names())
    if unknown or (given.file and len(given.names) != 1):
        parser.error(
            f"no target {', '.join(unknown)}" if unknown else "--file goes with one target"
        )
    if given.file:
        return read_once(given.names[0], given.file)
    reports = []
    for name in given.names or names():
        reports.append(report_of(name, runs=given.runs, seconds=given.seconds, seed=given.seed))
        print(text_of(reports[-1]), flush=True)
    return int(any(report.violations for report in reports))


if __name__ == "__main__":
    sys.exit(main())
