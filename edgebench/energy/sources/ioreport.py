"""Apple silicon's energy counters (IOReport's group "Energy Model"), through zeus-apple-silicon.

One group mixes nanojoules, microjoules and millijoules; the library brings each channel to millijoules
by its own unit. The counters are the vendor's model of parts of the chip, not of the whole Mac. M5
publishes them every 2.0 to 2.2 s. Under macOS 27 the CPU's counter stands at 0 (powermetrics' too): a
liveness check must find it dead, which the sum with GPU and memory would hide.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import time
from collections.abc import Callable
from typing import Any

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Rail
from edgebench.energy.sources._counter import Counter
from edgebench.probes.machine import Machine

_MODULE = "zeus_apple_silicon"
_UNIT_J = 1e-3
#: Fields of the library's metrics that are no part of one another.
_FIELDS = {
    "CPU": "cpu_total_mj",
    "GPU": "gpu_mj",
    "GPU SRAM": "gpu_sram_mj",
    "ANE": "ane_mj",
    "DRAM": "dram_mj",
}
_MAX_W = 1000.0
_SLACK_S = 10.0
_SLOW_PERIOD_S = 2.23
_PERIOD_S = 0.1
_FIRST_SLOW = 5  # M5

Monitor = Callable[[], Any]


def new_monitor() -> Any:
    """The library's monitor. Raises ImportError, and RuntimeError where it cannot subscribe."""
    return importlib.import_module(_MODULE).AppleEnergyMonitor()


class IOReport(EnergySource):
    name = "ioreport"
    kind = "vendor_counter"
    quantity = "energy"
    load_rails = ("CPU",)
    caveats = (
        "Apple's model of parts of the chip; it states no accuracy, and uncertainty has none of it",
    )

    def __init__(
        self, period_s: float, clock_ns: ClockNs = time.monotonic_ns, monitor: Monitor = new_monitor
    ) -> None:
        self.scope = "chip"
        self.total_rail = " + ".join(_FIELDS)
        self.period_s = period_s
        self.resolution = _UNIT_J * len(_FIELDS)
        self._clock_ns = clock_ns
        self._new_monitor = monitor
        self._counters: dict[str, Counter] = {}

    def open(self) -> None:
        """Fixes which parts this chip tells of: `total_rail` and `scope` say so from here on."""
        try:
            self._monitor = self._new_monitor()
            first = self._monitor.get_cumulative_energy()
        except (ImportError, RuntimeError) as error:
            raise OSError(f"{_MODULE}: {error}") from error
        names = [name for name, field in _FIELDS.items() if getattr(first, field) is not None]
        if not names:
            raise OSError(f"{_MODULE}: this chip reports no energy")
        self._counters = {name: Counter(_UNIT_J, None, _MAX_W, _SLACK_S) for name in names}
        self.total_rail = " + ".join(names)
        self.scope = self.total_rail
        self.resolution = _UNIT_J * len(names)
        self.rails()

    def rails(self) -> list[Rail]:
        at_ns = self._clock_ns()
        try:
            now = self._monitor.get_cumulative_energy()
        except RuntimeError:  # what the library makes of a read that failed
            now = None
        return [
            Rail(name, counter.advance(getattr(now, _FIELDS[name], None), at_ns), True)
            for name, counter in self._counters.items()
        ]

    @property
    def problem(self) -> str:
        return "; ".join(
            f"{name} {counter.lost}" for name, counter in self._counters.items() if counter.lost
        )

    def close(self) -> None:
        self._monitor = None


def find(machine: Machine, clock_ns: ClockNs = time.monotonic_ns) -> IOReport | NoEnergy | None:
    """The counters of an Apple chip; None on another machine."""
    if not machine.macos:
        return None
    if importlib.util.find_spec(_MODULE) is None:
        return NoEnergy(
            "no_sensor",
            "Apple's energy counters are read through zeus-apple-silicon, which is not installed",
            "pip install 'edgebench[apple]'",
        )
    return IOReport(period_s_of(machine), clock_ns)


def period_s_of(machine: Machine) -> float:
    """Time between updates, by the chip's name; the slow one where it is not known."""
    brand = machine.run(["sysctl", "-n", "machdep.cpu.brand_string"]) or ""
    match = re.search(r"Apple M([0-9]+)", brand)
    return _PERIOD_S if match and int(match[1]) < _FIRST_SLOW else _SLOW_PERIOD_S
