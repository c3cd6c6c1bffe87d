"""How long `edgebench show` takes on 10,000 records, its start included. Target: 3 s.

    python tests/perf/show_10k.py [RECORDS] [--profile]

The records are realistic: 3 replicates of about 300 samples each, with pipeline, memory and all
else that a measured one has; 500 workloads of 20 variants.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from edgebench.record import Record, encode
from tests import records as make

_PRECISIONS = ("fp32", "int8-dynamic", "int8-static", "as-is")


def record(index: int) -> Record:
    variant = index % 20
    return make.record(
        {"precision": _PRECISIONS[variant % 4], "threads": 1 + variant // 4, "batch": 1},
        workload=f"workload-{index // 20}",
        p50=5e6 * (1 + variant / 7),
        count=280 + index % 40,
        seed=index,
        peak=(80 + variant) * make.MIB,
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("records", nargs="?", type=int, default=10_000)
    parser.add_argument("--profile", action="store_true", help="print where the time goes")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "results.jsonl"
        with file.open("wb") as out:
            for index in range(arguments.records):
                out.write(encode(record(index)))
        print(f"{arguments.records} records, {file.stat().st_size / 2**20:.0f} MiB")
        profile = ["-m", "cProfile", "-s", "tottime"] if arguments.profile else []
        for form in ("table", "json", "csv", "md"):
            shown = Path(folder) / f"shown.{form}"
            command = [sys.executable, *profile, "-m", "edgebench", "show", str(file)]
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            with shown.open("wb") as out:
                subprocess.run([*command, "--format", form], stdout=out, check=True)
            wall_s = time.perf_counter() - start
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            load = os.getloadavg()[0]
            print(f"{form:5} {wall_s:5.2f} s wall, {cpu_s:5.2f} s CPU (load {load:.1f})")
            if arguments.profile:
                print("".join(_profile_lines(shown)))
                return


def _profile_lines(shown: Path) -> list[str]:
    lines = shown.read_text().splitlines(keepends=True)
    start = next(i for i, line in enumerate(lines) if "function calls" in line)
    return lines[start : start + 40]


if __name__ == "__main__":
    main()
