"""NVIDIA GPUs through NVML: the energy counter (Volta and later), else power.

The counter starts anew when the driver is loaded anew. Power is the mean of the last second on Ampere
and later, A100 excepted. On A100 and H100 the sensor looks at a quarter of the run time (25 ms of every
100 ms, arXiv 2312.02741): a load in step with it is misjudged, and no number here can say by how much.
On Jetson Orin NVML knows no power at all.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgebench.energy.source import ClockNs, EnergySource, NoEnergy, Quantity, Rail
from edgebench.energy.sources._counter import Counter
from edgebench.probes.machine import Machine

_UNIT = 1e-3  # millijoules, milliwatts
_FUNCTIONS: Mapping[Quantity, str] = {
    "energy": "nvmlDeviceGetTotalEnergyConsumption",
    "power": "nvmlDeviceGetPowerUsage",
}
_PERIOD_S = 0.1  # 20 to 100 ms
_MEAN_PERIOD_S = 1.0
_MAX_W = 2000.0
_SLACK_S = 1.0
_GAIN_ERROR = 0.05  # what NVIDIA promises for power, and what arXiv 2312.02741 found
_PART_TIME = ("A100", "H100")
_PART_TIME_CAVEAT = "{} looks at power for 25 % of the run time (arXiv 2312.02741)"

Load = Callable[[], Any]


def load_nvml() -> Any:
    """The module pynvml of nvidia-ml-py. Raises ImportError."""
    return importlib.import_module("pynvml")


class Nvml(EnergySource):
    name = "nvml"
    kind = "vendor_counter"
    gain_error = _GAIN_ERROR

    def __init__(
        self,
        gpus: Sequence[str],
        quantity: Quantity,
        averages: bool = False,
        clock_ns: ClockNs = time.monotonic_ns,
        load: Load = load_nvml,
    ) -> None:
        """`gpus`: names by index. `averages`: power is the mean of the last second."""
        self.quantity, self.averages = quantity, averages
        self.scope = "GPU board" if len(gpus) == 1 else f"{len(gpus)} GPU boards"
        self._rails = [f"GPU {index}" for index in range(len(gpus))]
        self.total_rail = " + ".join(self._rails)
        self.period_s = _MEAN_PERIOD_S if averages else _PERIOD_S
        self.resolution = _UNIT * len(gpus)
        self.caveats = tuple(
            _PART_TIME_CAVEAT.format(name) for name in dict.fromkeys(gpus) if _is_part_time(name)
        )
        self._clock_ns = clock_ns
        self._load = load
        self._handles: list[Any] = []
        self._counters: list[Counter] = []

    def open(self) -> None:
        try:
            self._nvml = self._load()
            self._nvml.nvmlInit()
            self._handles = [
                self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(len(self._rails))
            ]
        except Exception as error:  # NVMLError derives from nothing narrower
            raise OSError(f"NVML: {error}") from error
        if self.quantity == "energy":
            self._counters = [Counter(_UNIT, None, _MAX_W, _SLACK_S) for _ in self._rails]
            self.rails()  # joules are counted from each counter's first value

    def rails(self) -> list[Rail]:
        at_ns = self._clock_ns()
        read = [self._read(handle) for handle in self._handles]
        if self.quantity == "energy":
            counters = zip(self._counters, read, strict=True)
            values = [counter.advance(units, at_ns) for counter, units in counters]
        else:
            values = [None if units is None else units * _UNIT for units in read]
        return [Rail(name, value, True) for name, value in zip(self._rails, values, strict=True)]

    def _read(self, handle: Any) -> int | None:
        try:
            value: int = getattr(self._nvml, _FUNCTIONS[self.quantity])(handle)
        except self._nvml.NVMLError:
            return None
        return value

    @property
    def problem(self) -> str:
        return "; ".join(counter.lost for counter in self._counters if counter.lost)

    def close(self) -> None:
        if self._handles:
            self._handles = []
            self._nvml.nvmlShutdown()


def find(
    machine: Machine, clock_ns: ClockNs = time.monotonic_ns, load: Load = load_nvml
) -> Nvml | NoEnergy | None:
    """The GPUs of a machine with NVIDIA's driver; None where it has none."""
    if not machine.glob("proc/driver/nvidia/gpus/*"):
        return None
    if not machine.live and load is load_nvml:
        return NoEnergy("no_sensor", "NVIDIA GPU: NVML answers on the machine itself only")
    try:
        nvml = load()
    except ImportError:
        return NoEnergy(
            "no_sensor",
            "NVIDIA GPU: nvidia-ml-py is not installed",
            "pip install 'edgebench[nvidia]'",
        )
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return NoEnergy(_reason(nvml, error), f"NVML: {error}")
    try:
        return _ask(nvml, clock_ns, load)
    except nvml.NVMLError as error:
        return NoEnergy(_reason(nvml, error), f"NVML reads neither energy nor power: {error}")
    finally:
        nvml.nvmlShutdown()


def _ask(nvml: Any, clock_ns: ClockNs, load: Load) -> Nvml | NoEnergy:
    count = nvml.nvmlDeviceGetCount()
    if not count:
        return NoEnergy("no_sensor", "NVML finds no GPU")
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
    try:
        for handle in handles:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return Nvml(names, "energy", clock_ns=clock_ns, load=load)
    except nvml.NVMLError:
        for handle in handles:
            nvml.nvmlDeviceGetPowerUsage(handle)
        ampere = nvml.NVML_DEVICE_ARCH_AMPERE
        averages = any(
            nvml.nvmlDeviceGetArchitecture(handle) >= ampere and "A100" not in name
            for handle, name in zip(handles, names, strict=True)
        )
        return Nvml(names, "power", averages, clock_ns, load)


def _reason(nvml: Any, error: Any) -> Any:
    denied = getattr(error, "value", None) == nvml.NVML_ERROR_NO_PERMISSION
    return "permission_denied" if denied else "no_sensor"


def _is_part_time(name: str) -> bool:
    return any(chip in name for chip in _PART_TIME)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
