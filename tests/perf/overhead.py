"""What edgebench adds to a call: its loop and session against a bare loop around `session.run`.

    python -m tests.perf.overhead

Both sides run in one process, pinned to one core, on one ONNX Runtime session and one pool of inputs,
in blocks that take turns; each pair of neighbouring blocks gives one ratio, and a process the median of
its ratios. A process has its luck with memory layout: the median of several processes is printed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgebench import registry
from edgebench.backend import ModelFile, Session
from edgebench.measure.replicate import loops

PROCESSES = 7
PAIRS = 30
CALLS = 4000
POOL = 16


def tiny_model(path: Path) -> Path:
    """A network of about 5 us: two small layers."""
    from onnx import TensorProto, helper, numpy_helper

    from edgebench.models.onnx_file import save_model

    rng = np.random.default_rng(0)
    nodes, weights, name = [], [], "x"
    for layer in range(2):
        matrix = rng.standard_normal((64, 64)).astype(np.float32) / 8
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node("MatMul", [name, f"w{layer}"], [f"m{layer}"]))
        nodes.append(helper.make_node("Relu", [f"m{layer}"], [f"r{layer}"]))
        name = f"r{layer}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 64])],
        weights,
    )
    opset = helper.make_opsetid("", 17)
    save_model(helper.make_model(graph, opset_imports=[opset]), path)
    return path


def open_session(path: Path, **options: Any) -> Session:
    backend = registry.load("ort")
    backend.import_runtime()
    return backend.open(ModelFile(path, "onnx", ""), {"threads": 1, **options})


Block = Callable[[], tuple[float, float]]  # -> (p50 in ns, wall in ns per call)


def bare_block(inner: Any, pool: list[Any]) -> Block:
    """The loop that a careful person writes by hand."""

    def block() -> tuple[float, float]:
        samples = []
        clock = time.perf_counter_ns
        begin = clock()
        for feeds in islice(cycle(pool), CALLS):
            start = clock()
            inner.run(None, feeds)
            end = clock()
            samples.append(end - start)
        wall = clock() - begin
        return median(samples), wall / CALLS

    return block


def bare_bound_block(inner: Any, pool: list[Any]) -> Block:
    """The same with IO binding."""

    def block() -> tuple[float, float]:
        samples = []
        clock = time.perf_counter_ns
        begin = clock()
        for binding in islice(cycle(pool), CALLS):
            start = clock()
            inner.run_with_iobinding(binding)
            end = clock()
            samples.append(end - start)
        wall = clock() - begin
        return median(samples), wall / CALLS

    return block


def edgebench_block(session: Session, pool: list[Any]) -> Block:
    def block() -> tuple[float, float]:
        window = loops.single_stream(
            session.run,
            pool,
            typical_ns=5000,
            slice_s=60.0,
            precision=loops.Precision(
                1e-9, 0.5
            ),  # never met: the block ends at its number of calls
            max_samples=CALLS,
        )
        return median(window.samples_ns), window.window_ns / CALLS

    return block


def paired(first: Block, second: Block) -> tuple[list[float], list[float], list[float]]:
    """Ratios first/second of p50 and of wall time, and differences of p50 in ns, pair by pair."""
    p50_ratios, wall_ratios, differences = [], [], []
    for number in range(PAIRS):
        if number % 2 == 0:
            mine, theirs = first(), second()
        else:
            theirs, mine = second(), first()
        p50_ratios.append(mine[0] / theirs[0])
        wall_ratios.append(mine[1] / theirs[1])
        differences.append(mine[0] - theirs[0])
    return p50_ratios, wall_ratios, differences


def in_process(path: Path) -> list[float]:
    """Medians of one process: bare p50 in ns, ratio of p50, ratio of wall, what IO binding adds in ns."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    rng = np.random.default_rng(1)
    feeds = [{"x": rng.standard_normal((1, 64)).astype(np.float32)} for _ in range(POOL)]
    session: Any = open_session(path)
    inner = session._inner
    bare = bare_block(inner, feeds)
    mine = edgebench_block(session, [session.prepare(item) for item in feeds])
    for block in (bare, mine):
        block()
    p50, wall, _ = paired(mine, bare)

    bound: Any = open_session(path, io_binding=True)
    prepared = [bound.prepare(item) for item in feeds]
    raw = bare_bound_block(bound._inner, prepared)
    mine = edgebench_block(bound, prepared)
    for block in (raw, mine):
        block()
    _, _, difference = paired(mine, raw)
    return [bare()[0], median(p50), median(wall), median(difference)]


def in_processes(path: Path) -> None:
    command = [sys.executable, "-m", "tests.perf.overhead", str(path)]
    found = [json.loads(_output(command)) for _ in range(PROCESSES)]
    bare, p50, wall, bound = (median(column) for column in zip(*found, strict=True))
    spread = f"{min(row[1] for row in found):.3f} .. {max(row[1] for row in found):.3f}"
    print(f"bare loop p50                        {bare / 1e3:8.2f} us")
    print(f"p50, edgebench / bare loop           {p50:8.3f}    (<= 1.02; processes {spread})")
    print(f"wall per call, edgebench / bare loop {wall:8.3f}    (<= 1.10)")
    print(f"IO binding, added per call           {bound:8.0f} ns (<= 150)")


BARE_PROCESS = """
import sys, time, statistics, numpy as np, onnxruntime as ort
options = ort.SessionOptions(); options.intra_op_num_threads = 1
session = ort.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
rng = np.random.default_rng(1)
pool = [{"x": rng.standard_normal((1, 64)).astype(np.float32)} for _ in range(16)]
samples = []
for number in range(8192 + 200):
    feeds = pool[number % 16]
    start = time.perf_counter_ns()
    session.run(None, feeds)
    end = time.perf_counter_ns()
    samples.append(end - start)
print(statistics.median(samples[200:]))
"""


def across_processes(path: Path, rounds: int = 9) -> None:
    """The p50 that `edgebench run` reports against a bare loop in fresh processes, in turn."""
    pin = ["taskset", "-c", str(max(os.sched_getaffinity(0)))]
    ratios = []
    for _ in range(rounds):
        bare = float(_output([*pin, sys.executable, "-c", BARE_PROCESS, str(path)]))
        table = json.loads(
            _output(
                [
                    *pin, sys.executable, "-m", "edgebench", "run", "--model", str(path),
                    "--set", "threads=1", "--replicates", "1", "--no-save", "--format", "json",
                ]
            )
        )  # fmt: skip
        bare_after = float(_output([*pin, sys.executable, "-c", BARE_PROCESS, str(path)]))
        row = table["rows"][0]
        ratios.append(row["latency_ns"]["p50"] / ((bare + bare_after) / 2))
    print(f"p50 as reported / bare process       {median(ratios):8.3f}    (0.95 .. 1.05)")


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(in_process(Path(sys.argv[1]))))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model(Path(folder) / "tiny.onnx")
        across_processes(path)
        in_processes(path)


if __name__ == "__main__":
    main()
