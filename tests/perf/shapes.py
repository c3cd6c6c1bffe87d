"""How much memory one session takes on over 1,000 changes of shape, on models of real tasks at their own lengths.

    python -m tests.perf.shapes [WORKLOAD ...]

Downloads the models. What is printed is memory, which a busy machine does not change: bytes that the process has to
itself after every shape was seen once, and as shapes go on to change. ONNX Runtime does not tell its arena, so each
model is measured with and without it: what it grows more with is the arena's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Of each model as it came, whose axes are open.
WORKLOADS = ("sentence-embedding", "text-recognition")
ARGUMENTS = (
    "--backend", "ort", "--set", "precision=fp32", "--set", "batch=1", "--set", "threads=1", "--set",
    "arena=true,false", "--scenario", "single_stream", "--shape-sequence", "natural", "--slice", "30s",
    "--replicates", "1",
)  # fmt: skip


def measured(workload: str) -> dict[bool, dict[str, Any]]:
    """Whether there was an arena -> the shapes of the row, and what was held meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "edgebench", "run", workload, *ARGUMENTS, "--out", folder]
        subprocess.run(command, check=True, capture_output=True)
        (file,) = Path(folder).rglob("*.jsonl")
        records = [json.loads(line) for line in file.read_text().splitlines()]
    cells = [record for record in records if record.get("replicates")]
    return {
        each["cell"]["variant"]["arena"]: each["replicates"][0]["shapes"]
        for each in cells
        if each["replicates"][0]["shapes"]
    }


def main() -> None:
    for workload in sys.argv[1:] or WORKLOADS:
        for arena, shapes in measured(workload).items():
            print(
                f"{workload}, {'with' if arena else 'without'} arena: {len(shapes['shapes'])} shapes"
            )
            for held in shapes["memory"]:
                own = (
                    "not told"
                    if held["uss_bytes"] is None
                    else f"{held['uss_bytes'] / 2**20:.1f} MiB"
                )
                print(f"  {held['changes']:5} changes: {own}")


if __name__ == "__main__":
    main()
