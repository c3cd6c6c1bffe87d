"""What NVIDIA's management library says of each GPU's clocks, and why they are held down."""

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
    # The call was renamed in driver 535; older modules know the first name alone.
    name = "nvmlDeviceGetCurrentClocksThrottleReasons"
    ask = getattr(nvml, "nvmlDeviceGetCurrentClocksEventReasons", None) or getattr(nvml, name, None)
    reasons = _asked(nvml, index, ask)
    celsius = _asked(nvml, index, lambda handle: nvml.nvmlDeviceGetTemperature(handle, 0))
    return Gpu(index, reasons, celsius)


def _asked(nvml: Any, index: int, ask: Any) -> int | None:
    try:
        return None if ask is None else int(ask(nvml.nvmlDeviceGetHandleByIndex(index)))
    except Exception:  # noqa: BLE001 - not supported on this GPU, or it fell off the bus
        return None


def words(reasons: int, known: dict[int, str]) -> str:
    """The names of the bits of `known` that are set."""
    return ", ".join(name for bit, name in known.items() if reasons & bit)
