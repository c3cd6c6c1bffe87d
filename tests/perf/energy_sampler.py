"""What the process that reads a meter costs: its CPU time, and the shift of a measured median.

A simulated Jetson stands in for the meter: on a board, a read waits for the I2C bus besides, asleep.
Blocks with the sampler running and with it stopped take turns within one process, so that a drift of
the machine meets both alike.

    python -m tests.perf.energy_sampler
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from edgebench import stats
from edgebench.energy.integrate import calm_interval_s
from edgebench.energy.sampler import Sampler, poll_interval_s
from edgebench.measure.replicate.loops import no_gc, time_block
from edgebench.testing.power.meters import OrinNx

TARGET = 0.005  # of a CPU, and of the median
PAIRS = 40
BLOCK_S = 0.25
BUSY_S = 5.0
WINDOW_S = 2.0  # `--slice` where nothing is said


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        meter = OrinNx(Path(scratch) / "machine")
        source = meter.source(time.monotonic_ns)
        source.calm_s = calm_interval_s(WINDOW_S)
        with contextlib.closing(Sampler(source, Path(scratch) / "samples.bin")) as sampler:
            idle = cpu_share(sampler.pid, lambda: time.sleep(BUSY_S))
            share = cpu_share(sampler.pid, compute)
            begin_ns = time.monotonic_ns()
            time.sleep(1.0)
            rate = len(sampler.between(begin_ns, time.monotonic_ns()))
            shift, low, high = p50_shift(sampler.pid)
        meter.close()
    wanted = 1 / poll_interval_s(source)
    cpus = os.cpu_count() or 1
    print(f"energy sampler: {rate} readings in a second ({wanted:.0f} wanted)")
    print(
        f"  CPU time while a load is measured: {share:.2%} of one CPU, {share / cpus:.2%} of {cpus} "
        f"{verdict(share / cpus)}; with nothing else to do, from cold: {idle:.2%}, {idle / cpus:.2%}"
    )
    print(
        f"  shift of the measured p50: {shift:+.2%}, 95 % interval {low:+.2%} to {high:+.2%} over "
        f"{PAIRS} pairs {verdict(shift)}"
    )


def verdict(share: float) -> str:
    return f"(target {TARGET:.1%}: {'met' if share <= TARGET else 'missed'})"


def cpu_share(pid: int, meanwhile: Callable[[], object]) -> float:
    """Of one CPU, over some seconds; by the scheduler's own clock, since ticks are too coarse."""
    start, before = time.monotonic(), running_ns(pid)
    meanwhile()
    return (running_ns(pid) - before) / ((time.monotonic() - start) * 1e9)


def compute() -> None:
    """Blocks of the load, one after the other."""
    end = time.monotonic() + BUSY_S
    while time.monotonic() < end:
        block()


def running_ns(pid: int) -> int:
    """Time on a CPU (Linux)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def p50_shift(pid: int) -> tuple[float, float, float]:
    """Median of a loop with the sampler over that without, minus 1, and its interval over pairs."""
    ratios = []
    for number in range(PAIRS):
        medians = {}
        for running in (True, False) if number % 2 else (False, True):
            os.kill(pid, signal.SIGCONT if running else signal.SIGSTOP)
            medians[running] = block()
        ratios.append(medians[True] / medians[False])
    os.kill(pid, signal.SIGCONT)
    interval = stats.log_interval(ratios)
    assert interval is not None
    return median(ratios) - 1, interval.low - 1, interval.high - 1


def block() -> float:
    """Median latency of a small matrix product, ns."""
    left = np.random.default_rng(0).normal(size=(96, 96))
    samples: list[int] = []
    end = time.monotonic() + BLOCK_S
    with no_gc():
        while time.monotonic() < end:
            time_block(left.__matmul__, iter([left] * 50), samples.append)
    return median(samples)


if __name__ == "__main__":
    main()
