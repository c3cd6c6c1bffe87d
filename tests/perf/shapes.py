"""How much memory one session takes on over 1,000 changes of shape, on models of real tasks at their own lengths.

    python -m tests.perf.shapes [WORKLOAD ...]

Downloads the models. What is printed is memory, which a busy machine does not change: bytes that the process has to itself,
and those of the runtime's allocator where it tells, after every shape was seen once and after all changes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

#: Of each model as it came, whose axes are open.
WORKLOADS = ("sentence-embedding", "text-recognition")
ARGUMENTS = (
    "--backend", "ort", "--set", "precision=fp32", "--set", "batch=1", "--set", "threads=1",
    "--scenario", "single_stream", "--shape-sequence", "natural", "--slice", "30s", "--replicates", "1",
)  # fmt: skip


def measured(workload: str) -> dict[str, object]:
    """The shapes of the row, and what was held meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgebench", "run", workload, *ARGUMENTS, "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        (file,) = Path(folder).rglob("*.jsonl")
        record = json.loads(file.read_text().splitlines()[-1])
    shapes: dict[str, object] = record["replicates"][0]["shapes"]
    return shapes


def main() -> None:
    for workload in sys.argv[1:] or WORKLOADS:
        shapes = measured(workload)
        print(f"{workload}: {len(shapes['shapes'])} shapes")  # type: ignore[arg-type]
        for held in shapes["memory"]:  # type: ignore[attr-defined]
            arena = held["arena_bytes"]
            told = "not told" if arena is None else f"{arena / 2**20:8.1f} MiB"
            uss = held["uss_bytes"]
            own = "not told" if uss is None else f"{uss / 2**20:8.1f} MiB"
            print(f"  {held['changes']:5} changes: process {own}, arena {told}")


if __name__ == "__main__":
    main()
