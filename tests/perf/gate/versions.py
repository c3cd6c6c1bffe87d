"""A real version A/B: two ONNX Runtime releases on the default suite, with the verdict table.

python -m tests.perf.gate.versions --base 1.30.0 --head 1.32.0
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from edgebench.analysis.gate_types import GateReport
from edgebench.report.gate_formats import write
from tests.perf.gate import data

REPORT = data.FOLDER / "versions.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="1.30.0")
    parser.add_argument("--head", default="1.32.0")
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--budget", default="15min")
    given = parser.parse_args()
    done = subprocess.run(
        [
            sys.executable, "-m", "edgebench", "ab", "--base", f"onnxruntime=={given.base}",
            "--head", f"onnxruntime=={given.head}", "--suite", given.suite, "--budget", given.budget,
            "--no-save", "--format", "json",
        ],
        stdout=subprocess.PIPE,
        check=False,
    )  # fmt: skip
    report = msgspec.json.decode(done.stdout, type=GateReport)
    REPORT.parent.mkdir(parents=True, exist_ok=True)
    REPORT.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    write_page()
    print(f"{report.verdict}, exit code {done.returncode}: {REPORT}")


def write_page() -> Path:
    """The stored report as a page, in the words that reports have now."""
    page = REPORT.with_suffix(".md")
    write(msgspec.json.decode(REPORT.read_bytes(), type=GateReport), "md", page)
    return page


if __name__ == "__main__":
    main()
