"""Marker pulses: bursts of load on every CPU at known times, to be found in a meter's own log.

    python -m edgebench.energy.marker_pulses

prints the bursts as JSON, [[start, end], ...] in ns of the wall clock. Between and around them the
machine is quiet. A process of its own makes them, before a worker starts and after it has ended.
"""

from __future__ import annotations

import json
import os
import time

from edgebench.processes.child import Failed, Limits, ask
from edgebench.processes.python_command import module_command
from edgebench.record import Marker

#: Quiet, then load, in seconds, in turns: a pattern that no period repeats.
PATTERN = ((0.35, 0.25), (0.15, 0.1), (0.3, 0.1), (0.1, 0.3), (0.2, 0.15))
QUIET_AFTER_S = 0.35
_TIME_OUT_S = 30.0


def emit_markers() -> list[Marker]:
    """Makes one group of pulses and says when they were; none where that failed."""
    answer = ask(module_command("edgebench.energy.marker_pulses"), Limits(_TIME_OUT_S))
    try:
        pulses = [] if isinstance(answer, Failed) else json.loads(answer)
        return [Marker(start_unix_ns=start, end_unix_ns=end) for start, end in pulses]
    except (ValueError, TypeError):
        return []


def main() -> None:
    """Spins one child per CPU by the same schedule; the parent spins as well and notes the times."""
    begin = time.monotonic() + 0.05
    children = []
    for _ in range((os.cpu_count() or 1) - 1):
        child = os.fork()
        if child == 0:
            _spin(begin)
            os._exit(0)
        children.append(child)
    pulses = _spin(begin)
    time.sleep(QUIET_AFTER_S)
    for child in children:
        os.waitpid(child, 0)
    print(json.dumps(pulses))


def _spin(begin: float) -> list[tuple[int, int]]:
    """Sleeps and spins by the pattern from `begin` (monotonic, s) on; when each burst really was."""
    pulses = []
    at = begin
    for quiet_s, load_s in PATTERN:
        at += quiet_s
        time.sleep(max(0.0, at - time.monotonic()))
        at += load_s
        start_ns = time.time_ns()
        while time.monotonic() < at:
            pass
        pulses.append((start_ns, time.time_ns()))
    return pulses


if __name__ == "__main__":
    main()
