"""A simulated machine with an energy meter, alive: `edgebench run --energy-root ROOT` measures it.

    python -m edgebench.testing.power.live ROOT

ROOT takes the tree of a Jetson Orin NX whose power swings by the monotonic clock; a line on standard
output says that it is there. It ends when standard input does. On a busy machine it may be late: ROOT/shown
has what it showed and when, and that is the true power of this machine (`true_joules`).
"""

from __future__ import annotations

import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from edgebench.processes.python_command import module_command
from edgebench.testing.power.curves import Sine
from edgebench.testing.power.meters import OrinNx

PERIOD_S = 0.0066
CURVE = Sine(mean_w=10.0, amplitude_w=3.0, period_s=0.7)
_SHOWN = struct.Struct("=qd")  # monotonic clock in ns, and the watts from then on


def main() -> None:
    root = Path(sys.argv[1])
    meter = OrinNx(root)
    with (root / "shown").open("wb", buffering=0) as log:
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], PERIOD_S)[0]:
            registers = meter.registers(CURVE.watts(np.array([time.monotonic()])))
            meter.show(registers[0].tolist())
            log.write(_SHOWN.pack(time.monotonic_ns(), meter.values(registers)[0]))
    meter.close()


@contextmanager
def running(root: Path) -> Iterator[Path]:
    """A simulated machine below `root`, for as long as the block lasts."""
    root.mkdir(parents=True, exist_ok=True)
    command = module_command("edgebench.testing.power.live", str(root))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != b"ready\n":
            raise RuntimeError("the simulated machine did not start")
        try:
            yield root
        finally:
            process.stdin.close()


def true_joules(root: Path, start_ns: int, end_ns: int) -> float:
    """Energy of a stretch of the monotonic clock, by what the machine below `root` showed."""
    data = (root / "shown").read_bytes()
    whole = len(data) - len(data) % _SHOWN.size
    shown = list(_SHOWN.iter_unpack(data[:whole]))
    starts_ns = np.array([at_ns for at_ns, _ in shown])
    watts = np.array([value for _, value in shown])
    ends_ns = np.append(starts_ns[1:], max(end_ns, starts_ns[-1]))
    lasted_ns = np.minimum(ends_ns, end_ns) - np.maximum(starts_ns, start_ns)
    return float((watts * np.maximum(lasted_ns, 0)).sum() / 1e9)


if __name__ == "__main__":
    main()
