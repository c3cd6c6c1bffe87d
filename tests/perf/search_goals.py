"""The whole search of the workloads that have goals, one after the other: what each reached, as a table.

    python -m tests.perf.search_goals                                  all six, at most 4 minutes each
    python -m tests.perf.search_goals voice-activity file-typing --budget 3min --out results

Speed is the searches' own: p50 of processes that took turns with those of fp32, with its interval. `safe`: every limit
was shown on test items that no map was tuned on. Points: measured deployments that nothing measured beats in latency,
memory and quality. Memory: the most that the search and its children held together, of two looks a second. Exit code 1
where a goal is not reached: the speed, or 2 GiB.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import psutil

from edgebench.search.search_report import SearchReport, SearchRow

MAX_BYTES = 2 * 2**30
LOOK_EVERY_S = 0.5
#: Speed against fp32 with every limit held on test items.
GOALS = {
    "file-typing": 1.7,
    "image-classification": 1.8,
    "text-recognition": 1.2,
    "voice-activity": 1.8,
    "music-transcription": 1.05,
    "sentence-embedding": 2.0,
}
HEAD = (
    "| workload | goal | found | x fp32 (95 %) | limits | test items | int8-static | points | time | memory |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Ran:
    """One search as it ran."""

    workload: str
    report: SearchReport | None
    peak_bytes: int
    said: str  # its last line on stderr

    @property
    def reached(self) -> bool:
        found = self.report.deployment if self.report is not None else None
        fast = found is not None and (found.speedup or 0.0) >= GOALS[self.workload]
        return fast and self.peak_bytes <= MAX_BYTES


def ran(workload: str, budget: str, out: Path) -> Ran:
    """Searches one workload in a process of its own; its steps go to stderr."""
    asked = [sys.executable, "-m", "edgebench", "search", workload, "--budget", budget]
    out.mkdir(parents=True, exist_ok=True)
    answer, steps = out / f"{workload}.search.json", out / f"{workload}.steps.txt"
    with answer.open("wb") as stdout, steps.open("wb") as stderr:
        process = subprocess.Popen(
            [*asked, "--out", str(out), "--format", "json"], stdout=stdout, stderr=stderr
        )
        peak_bytes = 0
        while process.poll() is None:
            peak_bytes = max(peak_bytes, held_bytes(process.pid))
            time.sleep(LOOK_EVERY_S)
    said = (steps.read_text(errors="replace").strip().splitlines() or [""])[-1]
    text = answer.read_bytes()
    report = msgspec.json.decode(text, type=SearchReport) if text.strip() else None
    return Ran(workload, report, peak_bytes, said)


def held_bytes(pid: int) -> int:
    """The resident memory of a process and all that descend from it; pages that they share count each time."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        root = psutil.Process(pid)
        for each in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += each.memory_info().rss
    return total


def line(each: Ran) -> str:
    report, goal = each.report, f"{GOALS[each.workload]:g}x"
    if report is None:
        return f"| {each.workload} | {goal} | failed: {each.said} |"
    found = report.deployment
    shown = found or next((row for row in report.rows if row.standing == "held"), None)
    verdict = next((v for v in report.verdicts if shown and v.precision == shown.precision), None)
    static = next((row for row in report.rows if row.precision == "int8-static"), None)
    cells = (
        each.workload,
        goal + (", reached" if each.reached else ""),
        "nothing" if shown is None else _name(shown),
        "-" if shown is None else _speed(shown),
        "-" if shown is None else shown.standing,
        "-" if verdict is None else str(verdict.items),
        "-" if static is None else f"{_speed(static)} {static.standing}",
        str(sum(row.front for row in report.rows)),
        f"{report.seconds:.0f} of {report.budget_s:.0f} s",
        f"{each.peak_bytes / 2**20:.0f} MiB",
    )
    return f"| {' | '.join(cells)} |"


def _name(row: SearchRow) -> str:
    parts = "" if row.groups is None else f" ({row.int8_groups} of {row.groups})"
    return f"{row.precision}{parts}"


def _speed(row: SearchRow) -> str:
    if row.speedup is None:
        return "?"
    if row.speedup_low is None or row.speedup_high is None:
        return f"{row.speedup:.2f} (?)"
    return f"{row.speedup:.2f} ({row.speedup_low:.2f}-{row.speedup_high:.2f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", choices=[*GOALS, []], metavar="WORKLOAD")
    parser.add_argument("--budget", default="4min")
    parser.add_argument("--out", type=Path, default=Path("results"))
    given = parser.parse_args()
    print(HEAD, flush=True)
    found = []
    for workload in given.workloads or GOALS:
        found.append(ran(workload, given.budget, given.out))
        print(line(found[-1]), flush=True)
        peaks = {each.workload: each.peak_bytes for each in found}
        (given.out / "peak-bytes.json").write_text(json.dumps(peaks))
    return 0 if all(each.reached for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
