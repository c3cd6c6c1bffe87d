"""Whether the gate sees what it must see, on this machine, with real processes: `make gate-selftest`.

An injected +30 % must be REGRESS, +5 % never PASS; a head that crashes, is empty, answers otherwise or from a
cache, or returns before its work is done is INVALID; one that is faster and below its quality floor fails; the
same thing twice is no REGRESS. Prints a line per case and ends with 1 where one does not hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from edgebench.testing.models import chain

FAULTS = "edgebench.testing.faults"
ALLOWED_CODES = {"pass": 0, "improve": 0, "regress": 1, "inconclusive": 4, "invalid": 5}


@dataclass(frozen=True)
class Case:
    """Options of `edgebench ab`, and the verdicts that may come of them."""

    name: str
    options: tuple[str, ...]
    verdicts: tuple[str, ...]
    because: str = ""  # text that the reasons must hold


def cases(folder: Path) -> list[Case]:
    model = str(chain(32).write(folder).path)
    empty = folder / "empty.onnx"
    empty.touch()

    def head(fault: str, *sets: str) -> tuple[str, ...]:
        more = [part for text in sets for part in ("--head", text)]
        return ("--base", model, "--base", "ort", "--head", f"{FAULTS}:{fault}", *more)

    same = ("--base", model, "--base", f"{FAULTS}:Slower", "--base", "percent=0.0")
    return [
        Case("+30 % of work", (*same, "--head", "percent=30.0"), ("regress",)),
        Case("+5 % of work", (*same, "--head", "percent=5.0"), ("regress", "inconclusive")),
        Case("the same thing", (*same, "--head", "percent=0.0", "--budget", "90s"), NOT_REGRESS),
        Case("a head that crashes", head("Segfault", "after=30"), ("invalid",), "SIGSEGV"),
        Case("a head that raises", head("Crash", "after=30"), ("invalid",), "gave up"),
        Case("an empty head", ("--base", model, "--head", str(empty)), ("invalid",), "head"),
        Case("other answers", head("WrongOutput"), ("invalid",), "differ"),
        Case("a head that caches", head("Memoise"), ("invalid",), "the backend caches results"),
        Case("a head that returns early", head("Async"), ("invalid",), "not complete"),
        Case(
            "faster, below its floor",
            ("--base", "precision=fp32", "--head", "precision=int8-static", "file-typing"),
            ("regress",),
            "accuracy_whole",
        ),
    ]


NOT_REGRESS = ("pass", "improve", "inconclusive")


def main() -> None:
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(Path(folder)):
            begun = time.monotonic()
            problem, verdict = run(case)
            failed += bool(problem)
            took = time.monotonic() - begun
            print(f"{'FAILED' if problem else 'ok':<7}{case.name:<26}{verdict:<14}{took:5.0f} s")
            if problem:
                print(f"       {problem}")
    sys.exit(1 if failed else 0)


def run(case: Case) -> tuple[str, str]:
    """What is wrong with the outcome ("" if nothing), and the verdict."""
    options = case.options if "--budget" in case.options else (*case.options, "--budget", "60s")
    done = subprocess.run(
        [sys.executable, "-m", "edgebench", "ab", *options, "--no-save", "--format", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        report = json.loads(done.stdout)
    except json.JSONDecodeError:
        return f"no report, exit code {done.returncode}: {done.stderr.strip()[-300:]}", "-"
    verdict = report["verdict"]
    words = " ".join(row["reason"] for row in report["cells"])
    words += " ".join(reason["message"] for reason in report["reasons"])
    if report["canary"] and any(row["verdict"] == "invalid" for row in report["canary"]):
        return f"the machine is too busy to tell: {words[:200]}", verdict
    if verdict not in case.verdicts:
        return f"it must be {' or '.join(case.verdicts)}: {words[:300]}", verdict
    if done.returncode != ALLOWED_CODES[verdict]:
        return f"exit code {done.returncode}", verdict
    if case.because not in words:
        return f"the reasons do not say {case.because!r}: {words[:300]}", verdict
    return "", verdict


if __name__ == "__main__":
    main()
