"""NVIDIA GPUs through NVML: the energy counter (Volta and later), else power.

The counter starts anew when the driver is loaded anew. Power is the mean of the last second on Ampere
and later, A100 excepted. On A100 and H100 the sensor looks at a quarter of the run time (25 ms of every
100 ms, arXiv 2312.02741): a load in step with it is misjudged, and no number here can say by how much.
On Jetson Orin NVML knows no power at all.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgebench.energy.source import EnergySource, NoEnergy, Rail, Sample
from edgebench.energy.sources._counter import Counter
from edgebench.energy.sources._registers import scaled, total
from edgebench.probes.machine import Machine

_UNIT = 1e-3  # millijoules, milliwatts
_ENERGY_PERIOD_S = 0.1  # 20 to 100 ms
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


class _Nvml(EnergySource):
    name = "nvml"
    kind = "vendor_counter"
    gain_error = _GAIN_ERROR

    def __init__(
        self,
        gpus: Sequence[str],
        clock_ns: Callable[[], int] = time.monotonic_ns,
        load: Load = load_nvml,
    ) -> None:
        """`gpus`: names by index."""
        self.scope = "GPU board" if len(gpus) == 1 else f"{len(gpus)} GPU boards"
        self._rails = [f"GPU {index}" for index in range(len(gpus))]
        self.total_rail = " + ".join(self._rails)
        self.resolution = _UNIT * len(gpus)
        self.caveats = tuple(
            _PART_TIME_CAVEAT.format(name) for name in dict.fromkeys(gpus) if _is_part_time(name)
        )
        self._clock_ns = clock_ns
        self._load = load
        self._handles: list[Any] = []

    def open(self) -> None:
        try:
            self._nvml = self._load()
            self._nvml.nvmlInit()
            self._handles = [
                self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(len(self._rails))
            ]
        except Exception as error:  # NVMLError derives from nothing narrower
            raise OSError(f"NVML: {error}") from error

    def sample(self) -> Sample:
        start_ns = self._clock_ns()
        values = total([rail.value for rail in self.rails()])
        return Sample(start_ns, self._clock_ns(), values)

    def _read(self, function: str, handle: Any) -> int | None:
        try:
            value: int = getattr(self._nvml, function)(handle)
        except self._nvml.NVMLError:
            return None
        return value

    def close(self) -> None:
        if self._handles:
            self._handles = []
            self._nvml.nvmlShutdown()


class NvmlEnergy(_Nvml):
    quantity = "energy"
    period_s = _ENERGY_PERIOD_S

    def open(self) -> None:
        super().open()
        self._counters = [Counter(_UNIT, None, _MAX_W, _SLACK_S) for _ in self._rails]
        self.rails()

    def rails(self) -> list[Rail]:
        at_ns = self._clock_ns()
        return [
            Rail(
                name,
                counter.advance(self._read("nvmlDeviceGetTotalEnergyConsumption", handle), at_ns),
                True,
            )
            for name, handle, counter in zip(
                self._rails, self._handles, self._counters, strict=True
            )
        ]

    @property
    def problem(self) -> str:
        return "; ".join(counter.lost for counter in self._counters if counter.lost)


class NvmlPower(_Nvml):
    quantity = "power"

    def __init__(
        self,
        gpus: Sequence[str],
        averages: bool,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        load: Load = load_nvml,
    ) -> None:
        """`averages`: a value is the mean of the last second."""
        super().__init__(gpus, clock_ns, load)
        self.averages = averages
        self.period_s = _MEAN_PERIOD_S if averages else _ENERGY_PERIOD_S

    def rails(self) -> list[Rail]:
        return [
            Rail(name, scaled(self._read("nvmlDeviceGetPowerUsage", handle), _UNIT), True)
            for name, handle in zip(self._rails, self._handles, strict=True)
        ]


def find(
    machine: Machine, clock_ns: Callable[[], int] = time.monotonic_ns, load: Load = load_nvml
) -> NvmlEnergy | NvmlPower | NoEnergy | None:
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


def _ask(nvml: Any, clock_ns: Callable[[], int], load: Load) -> NvmlEnergy | NvmlPower | NoEnergy:
    count = nvml.nvmlDeviceGetCount()
    if not count:
        return NoEnergy("no_sensor", "NVML finds no GPU")
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    names = [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
    try:
        for handle in handles:
            nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        return NvmlEnergy(names, clock_ns, load)
    except nvml.NVMLError:
        for handle in handles:
            nvml.nvmlDeviceGetPowerUsage(handle)
        ampere = nvml.NVML_DEVICE_ARCH_AMPERE
        averages = any(
            nvml.nvmlDeviceGetArchitecture(handle) >= ampere and "A100" not in name
            for handle, name in zip(handles, names, strict=True)
        )
        return NvmlPower(names, averages, clock_ns, load)


def _reason(nvml: Any, error: Any) -> Any:
    denied = getattr(error, "value", None) == nvml.NVML_ERROR_NO_PERMISSION
    return "permission_denied" if denied else "no_sensor"


def _is_part_time(name: str) -> bool:
    return any(chip in name for chip in _PART_TIME)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
