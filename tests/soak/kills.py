"""Runs killed with SIGKILL at random moments, each resumed: no cell may be lost or repeated.

    python -m tests.soak.kills [RUNS]

Each run measures six cells of the quick suite and is killed once to three times, up to 15 s after its
start, before it may finish. Exit code 1 if any run lost or repeated a cell or a replicate.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ARGUMENTS = (
    "image-classification", "file-typing", "--suite", "quick", "--replicates", "2",
    "--slice", "0.2s", "--budget", "5min",
)  # fmt: skip
CELLS, REPLICATES = 6, 2


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    good = sum(trial(number) for number in range(runs))
    print(f"{good} of {runs} runs complete: every cell once, every replicate once")
    sys.exit(good != runs)


def trial(number: int) -> bool:
    """One run with its kills; prints what became of it."""
    source = random.Random(number)
    kills: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        while True:
            command = [sys.executable, "-m", "edgebench", "run", "--format", "json"]
            # Killed before it had planned anything, there is nothing to resume: it starts anew.
            command += [*ARGUMENTS, "--resume"] if kills else ARGUMENTS
            process = subprocess.Popen(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            moment_s = source.uniform(0.1, 15.0) if len(kills) <= number % 3 else None
            try:
                out, err = process.communicate(timeout=moment_s)
                break
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                kills.append(moment_s or 0.0)
        records = [
            json.loads(line)
            for file in Path(folder).rglob("*.jsonl")
            for line in file.read_text().splitlines()
        ]
    ids = [record["cell"]["id"] for record in records]
    replicates = [[r["index"] for r in record["replicates"]] for record in records]
    good = (
        len(ids) == len(set(ids)) == CELLS
        and replicates == [list(range(REPLICATES))] * CELLS
        and len(json.loads(out)["rows"]) == CELLS
    )
    moments = ", ".join(f"{kill:.1f} s" for kill in kills) or "no moment"
    print(
        f"run {number}: kills at {moments}; {len(ids)} cells; {'ok' if good else err}", flush=True
    )
    return good


if __name__ == "__main__":
    main()
