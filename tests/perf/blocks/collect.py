"""Runs `edgebench run` on one cell under four names, again and again: `python -m tests.perf.blocks.collect`.

Each run is a line per process: of which run, name and round, its p50, and the machine's load. Lines are
appended to results/blocks/runs.csv.gz.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebench.store import iter_records
from tests.perf.blocks.data import FILE, Measured

NAMES = 4
SLICE_S = 0.25
_BACKEND = Path(__file__).with_name("aliases.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=int)
    parser.add_argument("--pause-s", type=float, default=0.0, help="between two runs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--machine", default="", help="a word for the machine, kept with each line")
    arguments = parser.parse_args()
    FILE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        model = _model(Path(folder) / "model.onnx")
        for number in range(arguments.runs):
            lines = list(_run(model, Path(folder) / str(number), arguments))
            _append(lines)
            print(f"run {number + 1}: {len(lines)} processes, load {lines[0].load:.1f}", flush=True)
            time.sleep(arguments.pause_s)


def _model(path: Path) -> Path:
    """Four products of 384 x 384 matrices: some half a millisecond."""
    from onnx import TensorProto, helper, numpy_helper, save_model

    source = np.random.default_rng(0)
    nodes, weights = [], []
    for layer in range(4):
        weight = (source.normal(size=(384, 384)) / 20).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [f"x{layer}", f"w{layer}"], [f"x{layer + 1}"]))
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "chain",
        [value("x0", TensorProto.FLOAT, [64, 384])],
        [value("x4", TensorProto.FLOAT, [64, 384])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    save_model(model, str(path))
    return path


def _run(model: Path, out: Path, arguments: argparse.Namespace) -> Iterator[Measured]:
    seed = str(time.time_ns() % 2**31)
    command = [
        *(sys.executable, "-m", "edgebench", "run", "--model", str(model)),
        *("--backend", f"{_BACKEND}:Aliases", "--set", "precision=as-is", "--set", "threads=1"),
        *("--set", f"alias={','.join(map(str, range(NAMES)))}", "--seed", seed),
        *("--replicates", str(arguments.rounds), "--target", "90%"),  # a target that any run meets
        *("--slice", f"{SLICE_S}s", "--out", str(out)),
    ]
    load = os.getloadavg()[0]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    (file,) = out.glob("**/*.jsonl")
    for record in iter_records(file):
        for replicate in record.replicates:
            if replicate.status == "ok" and replicate.round is not None:
                yield Measured(
                    run=record.run.id,
                    machine=arguments.machine,
                    name=str(record.cell.variant["alias"]),
                    round=replicate.round,
                    p50_ns=int(np.median(replicate.samples_ns)),
                    load=round(load, 2),
                )


def _append(lines: list[Measured]) -> None:
    new = not FILE.exists()
    with gzip.open(FILE, "at", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(Measured._fields)
        writer.writerows(lines)


if __name__ == "__main__":
    main()
