"""A real version A/B: two ONNX Runtime releases on the default suite, with the verdict table.

python -m tests.perf.gate.versions --base 1.30.0 --head 1.32.0
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import msgspec

from edgebench.ab_test.ab_report_types import GateReport
from edgebench.gate.verdict_formats import write
from tests.perf.gate import data


def reports() -> list[Path]:
    """Those that are kept: of each machine one."""
    return sorted(data.FOLDER.glob("versions*.json"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="1.30.0")
    parser.add_argument("--head", default="1.32.0")
    parser.add_argument("--suite", default="quick")
    parser.add_argument("--budget", default="15min")
    parser.add_argument(
        "--machine", default="", help="name of a further machine, in the file's name"
    )
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
    path = data.FOLDER / f"{'-'.join(filter(None, ('versions', given.machine)))}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    write_page(path)
    print(f"{report.verdict}, exit code {done.returncode}: {path}")


def write_page(path: Path) -> Path:
    """The stored report as a page, in the words that reports have now."""
    page = path.with_suffix(".md")
    write(msgspec.json.decode(path.read_bytes(), type=GateReport), "md", page)
    return page


if __name__ == "__main__":
    main()
