"""Seconds and memory of frontier, compare and pick at growing numbers of rows, start included.

    python tests/perf/analysis_scale.py [--most ROWS]

Parquet rows are real ones (results/reference/), resampled: every simulated device holds all of them
with values moved by a common factor and by noise. Targets: 1,000,000 rows in 20 s and 2 GB, in step
with the rows; 10,000 result records with samples in 10 s; pick on 10,000 rows in 1 s; a front of
100,000 points in 3 objectives in 2 s.
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

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from edgebench.analysis.dominance import non_dominated
from edgebench.analysis.table import build_table
from edgebench.export import duckdb_tables as db
from edgebench.record import encode
from edgebench.store import read_records
from tests.perf import show_10k

_OBJECTIVES = ("latency.p50:min", "quality:max", "memory.peak:min")
_MOVED = ("latency.", "throughput", "cold_start", "warmup", "pipeline.")


def resample(folder: Path, rows: int, name: str, runs: int) -> Path:
    """A Parquet file of that many rows; each device was measured in so many runs."""
    out = folder / f"{name}-{rows}.parquet"
    files = sorted((ROOT / "results" / "reference").glob("*.jsonl"))
    rows_of = {row.id: row for file in files for row in build_table(read_records(file)).rows}
    base = list(rows_of.values())  # one row a cell
    database = db.connect()
    db.add_rows(database, base, [])
    copies = -(-rows // len(base))
    described = database.execute("DESCRIBE rows").fetchall()
    columns = []
    for column, kind, *_ in described:
        quoted = f'"{column}"'
        if column == "device":
            columns.append(f"'device-' || (copy // {runs}) AS device")
        elif column == "run":
            columns.append("'run-' || copy || '-' || run AS run")
        elif column.startswith(_MOVED) and kind in ("BIGINT", "DOUBLE"):
            columns.append(f"CAST({quoted} * factor AS {kind}) AS {quoted}")
        else:
            columns.append(quoted)
    database.execute(f"SELECT setseed({len(name) / 100})")
    moved = "exp(0.3 * sin(copy) + 0.02 * (random() - 0.5)) AS factor"
    database.execute(
        f"COPY (SELECT {', '.join(columns)} FROM (SELECT *, {moved} FROM "
        f"(SELECT unnest(range({copies})) AS copy), rows) LIMIT {rows}) "
        f"TO '{out}' (FORMAT parquet, COMPRESSION zstd)"
    )
    return out


def measured(*arguments: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MiB of one command."""
    program = (
        "import sys\n"
        "from edgebench.cli import cli\n"
        "from edgebench.probes.process_memory import peak_rss\n"
        "cli.main(sys.argv[1:], standalone_mode=False)\n"
        "print(peak_rss()[0], file=sys.stderr)\n"
    )
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall_s, cpu_s, int(done.stderr.split()[-1]) / 2**20


def _report(name: str, rows: int, *arguments: str, before: float | None = None) -> float:
    wall_s, cpu_s, peak = measured(*arguments)
    grew = "" if before is None else f", {cpu_s / before:.1f}x the CPU time of a tenth"
    load = os.getloadavg()[0]
    print(
        f"{name:20} {rows:9,} rows {wall_s:6.2f} s wall {cpu_s:6.2f} s CPU {peak:6.0f} MiB{grew} "
        f"(load {load:.1f})"
    )
    return cpu_s


def _points() -> None:
    random = np.random.default_rng(0)
    cube = random.random((100_000, 3))
    ball = np.abs(random.normal(size=(100_000, 3)))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    for name, points in (("in a cube", cube), ("all on the front", ball)):
        start = time.perf_counter()
        front = int(non_dominated(points).sum())
        wall_s = time.perf_counter() - start
        print(f"front of 100,000 points {name}: {wall_s:.2f} s, {front:,} on it")


def _records(folder: Path) -> Path:
    file = folder / "records.jsonl"
    with file.open("wb") as out:
        for index in range(10_000):
            out.write(encode(show_10k.record(index)))
    return file


def main(most: int = 1_000_000) -> None:
    _points()
    objectives = [word for name in _OBJECTIVES for word in ("--objective", name)]
    require = ["--require", "latency.p90<=30ms", "--require", "quality>=0.98*fp32"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = _records(folder)
        for command in (["frontier", *objectives], ["pick", *require], ["compare", str(file)]):
            _report(f"{command[0]} (records)", 10_000, *command, str(file))
        frontier = compare = None
        for rows in (size for size in (10_000, 100_000, 1_000_000) if size <= most):
            one = resample(folder, rows, "runs", runs=10)
            frontier = _report("frontier", rows, "frontier", *objectives, str(one), before=frontier)
            one.rename(folder / "one.parquet")
            half, other = (
                resample(folder, rows // 2, side, runs=1) for side in ("base", "head-of")
            )
            compare = _report("compare", rows, "compare", str(half), str(other), before=compare)
            if rows == 10_000:
                _report("pick", rows, "pick", *require, str(folder / "one.parquet"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=1_000_000)
    main(parser.parse_args().most)
