"""What the loops of loads add: the server's beside bare arrivals, LoadGen's beside ours, and the parent's CPU time.

    python -m tests.perf.loads

Sessions spin for a fixed time, so that all that differs is the loop. Ours and the other take turns on the same
schedule. A busy machine shows in p99 of both; the figures are meant for a quiet one.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from edgebench import stats
from edgebench.analysis.per_row.loadgen_rows import latencies_ns
from edgebench.measure.loads.loadgen_driver import Load, Scenario, drive
from edgebench.measure.replicate import loops
from edgebench.processes.timer_slack import exact_timers
from tests.perf.overhead import tiny_model

PAIRS = 8
RATE, QUERIES = 500.0, 500
POOL = list(range(16))


def spinning(call_ns: int) -> Callable[[Any], None]:
    """A call of a fixed time."""
    clock = time.perf_counter_ns

    def run(_: Any) -> None:
        end = clock() + call_ns
        while clock() < end:
            pass

    return run


def bare_arrivals(run: Callable[[Any], None], schedule: loops.Schedule) -> list[int]:
    """The loop that a careful person writes by hand: sleep until a query is due, run it, note when it was done."""
    clock, found = time.perf_counter_ns, []
    begin = clock() + 1_000_000
    for number, due_ns in enumerate(schedule.due_ns):
        due = begin + due_ns
        if (wait := due - clock()) > 0:
            time.sleep(wait / 1e9)
        run(POOL[number % len(POOL)])
        found.append(clock() - due)
    return found


def server_loop() -> None:
    run, added, late = spinning(100_000), [], []
    for number in range(PAIRS):
        schedule = loops.poisson(RATE, QUERIES, number)
        with exact_timers(), loops.no_gc():
            first = bare_arrivals(run, schedule)
        with exact_timers():
            window = loops.at_a_rate(run, POOL, schedule)
        assert window.paced is not None
        added.append(median(window.samples_ns) - median(first))
        late.append(median(window.paced.wake_late_ns))
    each = ", ".join(f"{ns / 1e3:.1f}" for ns in sorted(added))
    print(
        f"p50 added by the server loop         {median(added) / 1e3:8.2f} us (<= 5; pairs {each})"
    )
    print(f"late start on an idle device, p50    {median(late) / 1e3:8.2f} us")


def _ours(run: Callable[[Any], None], load: Load) -> list[int]:
    if load.rate_per_s is not None:
        with exact_timers():
            schedule = loops.poisson(load.rate_per_s, load.queries, load.seed)
            return loops.at_a_rate(run, POOL, schedule).samples_ns
    serve, queries = loops.queries_of(run, POOL, load.calls_per_query)
    precision = loops.Precision(1e-9)
    return loops.single_stream(
        serve,
        queries,
        typical_ns=load.call_ns * load.calls_per_query,
        slice_s=600.0,
        precision=precision,
        max_samples=load.queries,
    ).samples_ns


def loadgen(scenario: Scenario, call_ns: int, queries: int, **changes: Any) -> None:
    """LoadGen over ours, at p50, p90 and p99, of loads one after the other and of the very same queries; and what it
    adds to them by our clock."""
    load = Load(scenario, queries, queries * call_ns, call_ns)._replace(**changes)
    run = spinning(call_ns)
    ours = sorted(_ours(run, load))
    window_ns = max(sum(ours), round(queries * 1e9 / (load.rate_per_s or 1e9)))
    theirs = drive(run, POOL, load._replace(window_ns=window_ns), "")
    stated = (("p50", theirs.p50_ns, 500), ("p90", theirs.p90_ns, 900), ("p99", theirs.p99_ns, 990))

    def ratios_to(latencies: list[int]) -> str:
        return " ".join(
            f"{name} {(ns or 0) / stats.percentile(latencies, permille):.4f}"
            for name, ns, permille in stated
        )

    own = (theirs.p50_ns or 0) - stats.percentile(sorted(theirs.service_ns), 500)
    mine = stats.percentile(ours, 500) - load.calls_per_query * call_ns
    queue = (
        ""
        if load.rate_per_s is not None
        else f"; it adds {own / 1e3:.2f} us, ours {mine / 1e3:.2f} us"
    )
    print(f"LoadGen / ours, {scenario:12} {call_ns / 1e3:6.0f} us: {ratios_to(ours)}{queue}")
    print(f"    of the same queries: {ratios_to(sorted(latencies_ns(theirs)))}")


def parent() -> None:
    """CPU time of the parent while a worker serves a load."""
    with tempfile.TemporaryDirectory() as folder:
        path = tiny_model(Path(folder) / "tiny.onnx")
        command = [
            sys.executable, "-m", "edgebench", "run", "--model", str(path), "--scenario", "server",
            "--rate", "200", "--slice", "5s", "--replicates", "2", "--set", "threads=1", "--out", folder,
        ]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        (file,) = Path(folder).rglob("*.jsonl")
        record = json.loads(file.read_text().splitlines()[-1])
    shares = [each["parent_cpu_s"] / each["wall_s"] for each in record["replicates"]]
    print(f"CPU time of the parent               {max(shares):8.2%}    (<= 1 % of the time)")


def main() -> None:
    server_loop()
    loadgen("SingleStream", 5_000_000, 800)
    loadgen("Server", 5_000_000, 800, rate_per_s=50.0, seed=1)
    loadgen("MultiStream", 5_000_000, 200, calls_per_query=8)
    loadgen("SingleStream", 50_000, 8000)
    loadgen("MultiStream", 50_000, 2000, calls_per_query=8)
    loadgen("Server", 50_000, 2000, rate_per_s=500.0, seed=1)
    parent()


if __name__ == "__main__":
    main()
