"""Checks that the CPU clocks are stable: governor, turbo, limits."""

from __future__ import annotations

import re

from edgebench.probes import proc_files
from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.cpu_facts import clock_policies, policy_name
from edgebench.probes.device_facts import turbo
from edgebench.probes.machine import Machine
from edgebench.probes.nvpmodel import is_jetson
from edgebench.record import StateCheck
from edgebench.words import fact_words
from edgebench.words import state_words as words


def governor(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    readings = [proc_files.read(path / "scaling_governor") for path in clock_policies(machine.root)]
    governors = sorted({text for text in readings if text})
    if not governors:
        return unknown("governor", words.NO_CPUFREQ)
    return judge("governor", governors == ["performance"], ", ".join(governors), words.SET_GOVERNOR)


def turbo_off(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    on = turbo(machine)
    if on is None:
        return unknown("turbo", fact_words.NO_TURBO_SWITCH)
    return judge("turbo", not on, words.TURBO_ON if on else "off", words.SWITCH_TURBO_OFF)


def clocks_pinned(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    spans = _clock_spans(machine)
    if not spans:
        return unknown("clocks_pinned", words.NO_CPUFREQ)
    free = [f"{name} {low}-{high}" for name, low, high in spans if low != high]
    return judge(
        "clocks_pinned",
        not free,
        "; ".join(free[:3]) + ("; ..." if len(free) > 3 else "")
        if free
        else words.CLOCKS_ARE_PINNED,
        words.PIN_CLOCKS,
    )


def _clock_spans(machine: Machine) -> list[tuple[str, int, int]]:
    """Name, minimum and maximum clock of each CPU policy (kHz) and GPU (Hz)."""
    pairs = [
        (policy_name(path), path / "scaling_min_freq", path / "scaling_max_freq")
        for path in clock_policies(machine.root)
    ] + [
        (path.name, path / "min_freq", path / "max_freq")
        for path in machine.glob("sys/class/devfreq/*")
        if re.search(r"gpu|g[avpb][0-9]+b", path.name)
    ]
    spans = []
    for name, low_file, high_file in pairs:
        low, high = proc_files.read_int(low_file), proc_files.read_int(high_file)
        if low is not None and high is not None:
            spans.append((name, low, high))
    return spans


def jetson_clocks(machine: Machine) -> StateCheck | None:
    """Records what `jetson_clocks --show` prints of CPUs, GPU and memory; it needs root."""
    if not is_jetson(machine):
        return None
    text = machine.run(["jetson_clocks", "--show"])
    lines = [" ".join(line.split()) for line in (text or "").splitlines() if line.strip()]
    if not lines:
        return unknown("jetson_clocks", words.NO_JETSON_CLOCKS)
    return recorded("jetson_clocks", "; ".join(lines))
