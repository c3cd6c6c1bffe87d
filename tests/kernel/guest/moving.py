"""Power that doubles while the process that reads a meter in a run reads it: what the window's joules must be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edgebench.api.energy_source import find_here
from edgebench.energy import EnergySource
from edgebench.energy.energy_window import Refused, WindowEnergy
from edgebench.energy.replicate_energy import Idle
from edgebench.energy.run_meter import SampledMeter, open_meter
from tests.kernel.guest.lab import close

_TRIES = 4
_STEP_S = 0.03  # a value may be as old as the reader's interval
_BUSY_HOST = ("read_failed", "window_too_short")  # what a reader says that was kept waiting


def followed(set_power: Callable[[int], object], watts: float) -> None:
    """Asserts that a window holds the energy of both halves. `set_power(n)` makes the registers say n times `watts`."""
    set_power(1)
    source = find_here(None)
    assert isinstance(source, EnergySource), source
    for _ in range(_TRIES):  # a busy host keeps the reader waiting, and then that is said
        found, moving_ns, moved_ns = _window_with_a_step(source, set_power)
        if not (isinstance(found, Refused) and found.reason in _BUSY_HOST):
            break
    assert isinstance(found, WindowEnergy), found
    middle_ns = (
        moving_ns + moved_ns
    ) / 2  # a busy host may stop this process between two registers
    before_s, after_s = (middle_ns - found.start_ns) / 1e9, (found.end_ns - middle_ns) / 1e9
    parts = found.uncertainty
    open_j = parts.edge_j + parts.sampling_j + parts.gap_j + watts * (moved_ns - moving_ns) / 2e9
    step_s = _STEP_S + source.period_s
    close(found.energy_j, watts * (before_s + 2 * after_s), open_j + step_s * watts)


def _window_with_a_step(
    source: EnergySource, set_power: Callable[[int], object]
) -> tuple[Idle, int, int]:
    """The energy of a window in which power doubles, and when that began and was done."""
    moved_ns: list[int] = []

    def move() -> None:
        moved_ns.append(time.monotonic_ns())
        set_power(2)
        moved_ns.append(time.monotonic_ns())

    with open_meter(source) as meter:
        assert isinstance(meter, SampledMeter), meter
        timer = threading.Timer(0.6 * meter.idle_s, move)
        timer.start()
        found = meter.idle()
        timer.join()
    set_power(1)
    return found, moved_ns[0], moved_ns[1]
