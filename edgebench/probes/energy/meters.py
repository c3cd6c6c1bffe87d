"""Which energy meters a machine has, and whether this user may read them. Reads no value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from edgebench.probes import files
from edgebench.probes.machine import Machine


@dataclass(frozen=True)
class Meter:
    """A meter that is there; `problem` says why it cannot be read, "" where it can."""

    name: str
    problem: str


def find_meters(machine: Machine) -> list[Meter]:
    """Every meter in the tree, the widest scope first."""
    if machine.macos:
        return [Meter("Apple energy counters (IOReport)", "")]
    found = (find(machine) for find in _FINDERS)
    return [meter for meter in found if meter is not None]


def _jetson_ina3221(machine: Machine) -> Meter | None:
    inputs = [
        path
        for device in ("sys/bus/i2c/drivers/ina3221/*", "sys/devices/platform/*/i2c-*/*")
        for path in machine.glob(f"{device}/hwmon/hwmon*/curr[0-9]*_input")
        if _chip(path) == "ina3221"
    ]
    return _meter("Jetson INA3221 rails", inputs)


def _jetson_iio(machine: Machine) -> Meter | None:
    inputs = machine.glob("sys/bus/i2c/drivers/ina3221x/*/iio:device*/in_power[0-9]*_input")
    return _meter("Jetson INA3221 rails (JetPack 4)", inputs)


def _ina238(machine: Machine) -> Meter | None:
    inputs = machine.glob("sys/bus/i2c/devices/*/hwmon/hwmon*/power[0-9]*_input")
    return _meter("INA238 module input", [path for path in inputs if _chip(path) == "ina238"])


def _raspberry_pi_pmic(machine: Machine) -> Meter | None:
    if "raspberry pi 5" not in (machine.board() or "").lower():
        return None
    return Meter("Raspberry Pi 5 PMIC", "")


def _rapl(machine: Machine) -> Meter | None:
    zones = machine.glob("sys/class/powercap/*-rapl*:*/energy_uj")
    return _meter("RAPL", zones)


def _hwmon(machine: Machine) -> Meter | None:
    inputs = [
        path
        for pattern in ("power[0-9]*_input", "power[0-9]*_average", "energy[0-9]*_input")
        for path in machine.glob(f"sys/class/hwmon/hwmon[0-9]*/{pattern}")
        if _chip(path) not in {"ina238", "ina3221"}
    ]
    names = sorted({_chip(path) for path in inputs})
    return _meter(f"hwmon {', '.join(names)}", inputs)


def _nvidia_gpu(machine: Machine) -> Meter | None:
    return Meter("NVIDIA GPU (NVML)", "") if machine.glob("proc/driver/nvidia/gpus/*") else None


def _battery(machine: Machine) -> Meter | None:
    supplies = [
        path.parent
        for path in machine.glob("sys/class/power_supply/*/type")
        if files.read(path) == "Battery" and files.read(path.parent / "scope") != "Device"
    ]
    return _meter(
        "battery",
        [
            supply / name
            for supply in supplies
            for name in ("power_now", "current_now")
            if (supply / name).exists()
        ],
    )


_FINDERS: tuple[Callable[[Machine], Meter | None], ...] = (
    _jetson_ina3221,
    _jetson_iio,
    _ina238,
    _raspberry_pi_pmic,
    _rapl,
    _hwmon,
    _nvidia_gpu,
    _battery,
)


def _meter(name: str, inputs: Iterable[Path]) -> Meter | None:
    """A meter of these files: readable if any of them is (a rail may be switched off)."""
    problems = [(path, files.problem(path)) for path in inputs]
    if not problems:
        return None
    if any(not problem for _, problem in problems):
        return Meter(name, "")
    path, problem = problems[0]
    return Meter(name, f"{path.name}: {problem}")


def _chip(path: Path) -> str:
    return files.read(path.parent / "name") or path.parent.name
