"""Holds what NVIDIA's management library says of each GPU's clocks, and why they are held down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

#: Bits of NVML's clocks event reasons, from its API reference: what stands for heat or a fault.
SLOWED = {
    0x08: "hardware slowdown",
    0x20: "thermal slowdown by the driver",
    0x40: "thermal slowdown by the hardware",
    0x80: "power brake",
}
#: Held down by the power limit: what the limit is there for, and yet not a fixed clock.
CAPPED = {0x04: "power cap"}
GPU_SENSOR = 0  # NVML_TEMPERATURE_GPU


@dataclass(frozen=True)
class Gpu:
    """One GPU. `reasons` are the bits above among others; None where the driver does not tell."""

    index: int
    reasons: int | None
    temperature_c: float | None


def read(nvml: Any) -> list[Gpu]:
    """Every GPU that the initialised module `pynvml` sees. Never raises."""
    try:
        count = int(nvml.nvmlDeviceGetCount())
    except Exception:  # noqa: BLE001 - NVMLError, known only where the module is
        return []
    return [_read(nvml, index) for index in range(count)]


def _read(nvml: Any, index: int) -> Gpu:
    # The call was renamed in driver 535: newer modules offer both, older drivers know the old one.
    reasons = _call(nvml, index, "nvmlDeviceGetCurrentClocksEventReasons")
    if reasons is None:
        reasons = _call(nvml, index, "nvmlDeviceGetCurrentClocksThrottleReasons")
    return Gpu(index, reasons, _call(nvml, index, "nvmlDeviceGetTemperature", GPU_SENSOR))


def _call(nvml: Any, index: int, call: str, *arguments: int) -> int | None:
    try:
        return int(getattr(nvml, call)(nvml.nvmlDeviceGetHandleByIndex(index), *arguments))
    except Exception:  # noqa: BLE001 - unknown to this module, driver or GPU, or the GPU is lost
        return None


def words(reasons: int, known: dict[int, str]) -> str:
    """The names of the bits of `known` that are set."""
    return ", ".join(name for bit, name in known.items() if reasons & bit)
