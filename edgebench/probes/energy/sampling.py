"""The helper process that reads a meter.

    python -m edgebench.probes.energy.sampling PARENT_PID FILE

Standard input brings a pickled source and then stays open: its end is the sign to stop. Standard
output takes one line of JSON: the source's facts, or the error that kept it from opening.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import random
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import count

from edgebench.probes.energy.sampler import encode, jittered, poll_interval_s
from edgebench.probes.energy.source import EnergySource
from edgebench.probes.energy.window import SourceFacts

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY = 16  # naps: within a third of a second


def main() -> None:
    parent_pid, path = int(sys.argv[1]), sys.argv[2]
    _die_with(parent_pid)
    source: EnergySource = pickle.load(sys.stdin.buffer)
    try:
        source.open()
    except OSError as error:
        print(json.dumps({"error": error.strerror or str(error)}), flush=True)
        return
    print(json.dumps(asdict(SourceFacts.of(source))), flush=True)
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    gc.collect()
    gc.freeze()
    gc.disable()
    sample_until(source, lambda data: os.write(out, data), _sleep_until_told())
    source.close()


def _sleep_until_told() -> Callable[[float], bool]:
    """Sleeps; true when standard input has ended. It looks there once in a while only: sleeping in
    `select` costs twice the CPU time of `sleep`, and waking is most of what a sample costs."""
    naps = count()

    def sleep(seconds: float) -> bool:
        time.sleep(max(seconds, 0.0))
        return next(naps) % _LOOK_EVERY == 0 and bool(select.select([sys.stdin], [], [], 0)[0])

    return sleep


def sample_until(
    source: EnergySource,
    write: Callable[[bytes], object],
    stopped_within: Callable[[float], bool],
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Reads `source` once in every interval, at a random moment of it where that is of use, until
    `stopped_within(seconds)`, which sleeps, is true. An interval that was missed stays missed."""
    interval_ns = poll_interval_s(source) * 1e9
    jitter = random.random if jittered(source) else lambda: 0.5
    begin_ns = clock_ns()
    number = 0
    while True:
        due_ns = begin_ns + (number + jitter()) * interval_ns
        if stopped_within((due_ns - clock_ns()) / 1e9):
            return
        write(encode(source.sample()))
        number = max(number + 1, int((clock_ns() - begin_ns) / interval_ns))


def _die_with(parent_pid: int) -> None:
    """Linux: the kernel ends this process with its parent. Elsewhere, and where the parent is gone
    already, standard input ends, which the loop sees."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent_pid:
            sys.exit(1)


if __name__ == "__main__":
    main()
