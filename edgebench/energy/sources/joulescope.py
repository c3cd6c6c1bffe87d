"""Joulescope JS220 and JS110, through pyjoulescope-driver: an instrument outside the device.

Taken only where devices.yaml asks for it: an instrument at this machine's USB port may measure another
one. The instrument adds up energy by itself, in hardware; its statistics come 50 times a second.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Rail

_MODULE = "pyjoulescope_driver"
_RATE_HZ = 50
_SAMPLES_HZ = {"js220": 1_000_000, "js110": 2_000_000}
_RANGE = {"js220": "s/i/range/mode", "js110": "s/i/range/select"}
_ON: dict[str, int | str] = {"js220": 1, "js110": "on"}  # as the vendor's own tools say it
_GAIN_ERROR = 0.006  # current and voltage of the older JS110, added
_STEP_J = 1e-6
_MAX_BACK_J = 0.01  # an idle input may count a little backwards
_RAIL = "DUT"

NewDriver = Callable[[], Any]


def new_driver() -> Any:
    """The vendor's driver. Raises ImportError, and RuntimeError where it cannot start."""
    return importlib.import_module(_MODULE).Driver()


class Joulescope(EnergySource):
    name = "joulescope"
    kind = "measured_external"
    quantity = "energy"
    scope = "what the meter feeds"
    total_rail = _RAIL
    period_s = 1.0 / _RATE_HZ
    resolution = _STEP_J
    gain_error = _GAIN_ERROR
    latency_s = 0.02  # through USB

    def __init__(
        self, clock_ns: ClockNs = time.monotonic_ns, driver: NewDriver = new_driver
    ) -> None:
        self._clock_ns = clock_ns
        self._new_driver = driver
        self._driver: Any = None
        self._device = ""
        self._first_j: float | None = None
        self._last_j: float | None = None
        self._problem = ""

    def open(self) -> None:
        self._first_j = self._last_j = None
        self._problem = ""
        try:
            self._driver = self._new_driver()
            self._device = self._choose(self._driver.device_paths())
            self._start()
        except (ImportError, RuntimeError, TimeoutError) as error:
            self.close()
            raise OSError(f"Joulescope: {error}") from error

    def _choose(self, paths: list[str]) -> str:
        known = [path for path in paths if _model(path)]
        if len(known) != 1:
            raise RuntimeError(f"{len(known)} instruments found ({', '.join(paths) or 'none'})")
        return known[0]

    def _start(self) -> None:
        driver, device, model = self._driver, self._device, _model(self._device)
        driver.open(device)
        driver.publish(f"{device}/{_RANGE[model]}", "auto")
        if model == "js110":  # its own statistics come twice a second: the host's are faster
            for signal in "ivp":
                driver.publish(f"{device}/s/{signal}/ctrl", "on")
        driver.publish(f"{device}/s/stats/scnt", _SAMPLES_HZ[model] // _RATE_HZ)
        driver.publish(f"{device}/s/stats/ctrl", _ON[model])
        driver.subscribe(f"{device}/s/stats/value", "pub", self._on_statistics)

    def _on_statistics(self, topic: str, value: Any) -> None:
        """Called from the driver's own thread."""
        joules = float(value["accumulators"]["energy"]["value"])
        if self._first_j is None:
            self._first_j = joules
        elif self._last_j is not None and joules < self._last_j - _MAX_BACK_J:
            self._problem = (
                f"the instrument went back from {self._last_j} J to {joules} J: set back"
            )
        self._last_j = joules

    def rails(self) -> list[Rail]:
        first, last = self._first_j, self._last_j
        value = None if first is None or last is None or self._problem else last - first
        return [Rail(_RAIL, value, True)]

    @property
    def problem(self) -> str:
        return self._problem

    def close(self) -> None:
        if self._driver is not None:
            self._driver.finalize()
            self._driver = None


def find(clock_ns: ClockNs = time.monotonic_ns) -> Joulescope | NoEnergy:
    """The instrument at this machine's USB port; whether there is one shows when it is opened."""
    if importlib.util.find_spec(_MODULE) is None:
        return NoEnergy(
            "no_sensor",
            "Joulescope: pyjoulescope-driver is not installed",
            "pip install 'edgebench[joulescope]'",
        )
    return Joulescope(clock_ns)


def _model(path: str) -> str:
    """ "js220" of "u/js220/002557"; "" for an instrument that is not known."""
    return next((model for model in _SAMPLES_HZ if f"/{model}/" in f"/{path}/"), "")
