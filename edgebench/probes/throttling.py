"""Watches signs of throttling that no counter keeps: they show only while it lasts.

Looked at before a replicate, once a second while it runs (what costs no process), and after it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from edgebench.probes import macos_thermal, nvidia_clocks, proc_files
from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.machine import Machine
from edgebench.probes.proc_files import LIVE
from edgebench.probes.snapshot import PI_THROTTLED, PI_UNDERVOLTAGE, pi_bits, pi_flag_files
from edgebench.record import StateCheck
from edgebench.words import state_words as words

#: What is wrong now in words, "" for nothing, None where there is no answer.
Reading = Callable[[], "str | None"]

#: Kernel devices that cool by slowing a processor down; fans are others.
_SLOWS = re.compile(r"cpufreq|devfreq|throttle|powerclamp|^Processor$")


@dataclass(frozen=True)
class Gauge:
    """One sign. `starts_process`: too dear to be read while something is measured."""

    name: str
    fix: str
    read: Reading
    starts_process: bool = False


def find(machine: Machine) -> tuple[Gauge, ...]:
    """The gauges that this machine has."""
    gauges: list[Gauge] = []
    if devices := cooling_devices(machine):
        read: Reading = lambda: cooling(devices)
        gauges.append(Gauge("cooling_throttle", words.COOL_OR_LOWER_CLOCK, read))
    nvml = machine.nvml() if machine.nvidia else None
    if nvml is not None and any(each.reasons is not None for each in nvidia_clocks.read(nvml)):
        gauges.append(Gauge("gpu_throttle", words.COOL_GPU_OR_LOWER_CLOCK, lambda: _gpus(nvml)))
    if machine.macos and (pressure := macos_thermal.thermal_pressure_reader()) is not None:
        gauges.append(Gauge("thermal_pressure", words.COOL_DOWN, lambda: _pressure(pressure)))
    if machine.pi and not pi_flag_files(machine.root):
        gauges += [
            Gauge("pi_throttled", words.COOL_BETTER, lambda: _pi(machine, PI_THROTTLED), True),
            Gauge("pi_undervoltage", words.STRONGER_SUPPLY,
                  lambda: _pi(machine, PI_UNDERVOLTAGE), True),
        ]  # fmt: skip
    return tuple(gauges)


_live = lru_cache(maxsize=1)(lambda: find(Machine.at(LIVE)))


class Gauges:
    """Holds what the gauges showed from `look` to `checks`, the worst of it kept."""

    def __init__(self, gauges: Sequence[Gauge] | None = None) -> None:
        """Takes the gauges of the live machine, unless `gauges` are given."""
        self._gauges = _live() if gauges is None else tuple(gauges)
        self._raised: dict[str, str] = {}
        self._silent: set[str] = set()

    def look(self, measuring: bool = False) -> None:
        """Reads every gauge; `measuring`: only those that start no process."""
        for gauge in self._gauges:
            if measuring and gauge.starts_process:
                continue
            reading = gauge.read()
            if reading:
                self._raised.setdefault(gauge.name, reading)
            elif reading is None:
                self._silent.add(gauge.name)

    def checks(self) -> list[StateCheck]:
        """Looks once more. `invalid` for what showed at any look, `unknown` for what once was
        silent."""
        self.look()
        return [self._check(gauge) for gauge in self._gauges]

    def _check(self, gauge: Gauge) -> StateCheck:
        if raised := self._raised.get(gauge.name):
            return judge(gauge.name, False, raised, gauge.fix, bad="invalid")
        if gauge.name in self._silent:
            return unknown(gauge.name, words.NO_ANSWER)
        return recorded(gauge.name, words.NO_THROTTLING_SEEN)


def cooling_devices(machine: Machine) -> list[tuple[str, Path]]:
    """Name and state file of what the kernel slows down when it is hot."""
    named = [
        (proc_files.read(path / "type") or "", path / "cur_state")
        for path in machine.glob("sys/class/thermal/cooling_device[0-9]*")
    ]
    return [(name, path) for name, path in named if _SLOWS.search(name)]


def cooling(devices: Sequence[tuple[str, Path]]) -> str | None:
    """Names the cooling devices that slow a processor down now; a state below 0 (an idle intel_powerclamp) is none."""
    states = [(name, proc_files.read_int(path)) for name, path in devices]
    slowed = [
        words.slowed_to(name=name, state=state) for name, state in states if state and state > 0
    ]
    if slowed:
        return "; ".join(slowed[:3])
    return "" if any(state is not None for _, state in states) else None


def _gpus(nvml: Any) -> str | None:
    gpus = nvidia_clocks.read(nvml)
    slowed = [
        f"GPU {each.index}: {nvidia_clocks.words(each.reasons, nvidia_clocks.SLOWED)}"
        for each in gpus
        if each.reasons and nvidia_clocks.words(each.reasons, nvidia_clocks.SLOWED)
    ]
    if slowed:
        return "; ".join(slowed)
    return "" if gpus and all(each.reasons is not None for each in gpus) else None


def _pressure(read: Callable[[], int | None]) -> str | None:
    level = read()
    if level is None:
        return None
    return words.thermal_pressure(level) if level else ""


def _pi(machine: Machine, mask: int) -> str | None:
    bits = pi_bits((machine.run(["vcgencmd", "get_throttled"]) or "").strip())
    if bits is None:
        return None
    return words.pi_flags_meanwhile(bits=bits) if bits & mask else ""
