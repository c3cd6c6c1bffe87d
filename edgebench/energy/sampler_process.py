"""The helper process that reads a meter.

    python -m edgebench.energy.sampler_process PARENT_PID FILE

Standard input brings a pickled source and then stays open: its end is the sign to stop. Standard
output takes one line of JSON: the source's facts, or the error that kept it from opening.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from math import nan
from typing import NoReturn

from edgebench.energy.energy_window import SourceFacts
from edgebench.energy.sampler import RECORD, jittered, poll_interval_s
from edgebench.energy.source import EnergySource

_PR_SET_PDEATHSIG = 1


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
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_input, daemon=True).start()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        sample_until(source, partial(os.write, out), time.sleep)
    finally:
        source.close()


def _end_with_input() -> None:
    """Waits for the end of standard input, at no cost to the loop, and wakes it then."""
    sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGTERM)


def _end(number: int, frame: object) -> NoReturn:
    sys.exit(0)


def sample_until(
    source: EnergySource,
    write: Callable[[bytes], object],
    sleep: Callable[[float], object],
    clock_ns: Callable[[], int] = time.monotonic_ns,
) -> None:
    """Reads `source` once in every interval, at a random moment of it where that is of use, until
    `sleep` answers with something true, or raises. An interval that was missed stays missed.

    Waking with cold caches is most of what a reading costs, and every call below here adds to it.
    """
    interval_ns = poll_interval_s(source) * 1e9
    jitter = random.random if jittered(source) else lambda: 0.5
    sample, pack = source.sample, RECORD.pack
    begin_ns = clock_ns()
    number = 0
    while True:
        due_ns = begin_ns + (number + jitter()) * interval_ns
        if sleep(max((due_ns - clock_ns()) / 1e9, 0.0)):
            return
        start_ns, end_ns, value = sample()
        write(pack(start_ns, end_ns, nan if value is None else value))
        number = max(number + 1, int((end_ns - begin_ns) / interval_ns))


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
