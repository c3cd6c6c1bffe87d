"""What an idle worker of a fleet costs its board: share of a CPU, and the shift of the p50 of a busy loop.

    python -m tests.perf.fleet.idle_worker [--blocks 120]

A scheduler and a worker run; in turns the worker is left alone and stopped (SIGSTOP), a second each, while this process
times a fixed piece of numpy work over and over on every CPU but the worker has no other place. Each pair of neighbouring
blocks gives a ratio of medians; their median is the shift, with a sign-test interval. Targets: at most 0.5 % of p50, and
at most 1 % of one CPU.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgebench import stats

BLOCK_S = 1.0
WATCHED_S = 30.0
PORT = 18950
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def block_p50_ns() -> int:
    """The median time of a small product, over a second."""
    left = np.random.default_rng(0).random((96, 96))
    times = []
    end = time.perf_counter() + BLOCK_S
    while time.perf_counter() < end:
        start = time.perf_counter_ns()
        left @ left
        times.append(time.perf_counter_ns() - start)
    return stats.percentile(sorted(times), 500)


def shift(pid: int, blocks: int) -> tuple[float, float, float]:
    """Median ratio of an awake worker to a stopped one, and its 95 % interval."""
    ratios = []
    for number in range(blocks // 2):
        found = {}
        for awake in (True, False) if number % 2 else (False, True):
            os.kill(pid, signal.SIGCONT if awake else signal.SIGSTOP)
            time.sleep(0.05)
            found[awake] = block_p50_ns()
        ratios.append(found[True] / found[False])
    os.kill(pid, signal.SIGCONT)
    ratios.sort()
    outside = int(len(ratios) / 2 - 0.98 * len(ratios) ** 0.5)  # of the sign test
    return statistics.median(ratios), ratios[max(outside, 0)], ratios[-1 - max(outside, 0)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--blocks", type=int, default=120)
    arguments = parser.parse_args()
    address = f"tcp://127.0.0.1:{PORT}"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "fleet.yaml").write_text(f"scheduler: {address}\nboards:\n  - name: a\n")
        environment = {**os.environ, "EDGEBENCH_FLEET_STATE": str(folder / "state")}
        command = [sys.executable, "-m", "edgebench", "fleet"]
        scheduler = subprocess.Popen([*command, "up", "--no-workers"], cwd=folder, env=environment)
        worker = subprocess.Popen([*command, "worker", address, "--device", "a"], env=environment)
        try:
            time.sleep(8)  # until both stand
            before = cpu_s(worker.pid)
            time.sleep(WATCHED_S)
            share = (cpu_s(worker.pid) - before) / WATCHED_S
            print(f"idle worker: {share:.2%} of a CPU (<= 1 %)", flush=True)
            middle, low, high = shift(worker.pid, arguments.blocks)
            print(
                f"p50 with it over p50 without it: {middle - 1:+.2%} ({low - 1:+.2%} to {high - 1:+.2%}; "
                "<= 0.5 %)"
            )
        finally:
            for process in (worker, scheduler):
                process.kill()
                process.wait()


if __name__ == "__main__":
    main()
