"""A simulated machine with an energy meter, alive: `edgebench run --energy-root ROOT` measures it.

    python -m edgebench.testing.power.live ROOT

ROOT takes the tree of a Jetson Orin NX whose power swings by the monotonic clock; a line on standard
output says that it is there. It ends when standard input does.
"""

from __future__ import annotations

import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgebench.testing.power.curves import Sine
from edgebench.testing.power.meters import OrinNx

PERIOD_S = 0.0066
CURVE = Sine(mean_w=10.0, amplitude_w=3.0, period_s=0.7)


def main() -> None:
    meter = OrinNx(Path(sys.argv[1]))
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
        watts = CURVE.watts(np.array([time.monotonic()]))
        meter.show(meter.registers(watts)[0].tolist())
    meter.close()


@contextmanager
def running(root: Path) -> Iterator[Path]:
    """A simulated machine below `root`, for as long as the block lasts."""
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "edgebench.testing.power.live", str(root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the simulated machine did not start")
        try:
            yield root
        finally:
            process.stdin.close()


def true_joules(start_ns: int, end_ns: int) -> float:
    """Energy of a stretch of the monotonic clock."""
    start, end = CURVE.joules(np.array([start_ns, end_ns]) / 1e9)
    return float(end - start)


if __name__ == "__main__":
    main()
