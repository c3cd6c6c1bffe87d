"""Checks who else uses this machine's CPUs and memory: programs, other guests, a quota."""

from __future__ import annotations

import re

from edgebench.probes import emulation, virtualisation
from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.cpu_facts import logical_count
from edgebench.probes.emulation import Process
from edgebench.probes.machine import Machine
from edgebench.probes.snapshot import snapshot
from edgebench.probes.snapshot_changes import STEAL_LIMIT
from edgebench.record import StateCheck

PRESSURE_LIMIT_PERCENT = 5.0
LOAD_PER_CPU_LIMIT = 0.1


def cpu_pressure(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    share = _pressure_percent(machine, "cpu")
    if share is None:
        return unknown("cpu_pressure", "no /proc/pressure/cpu")
    return judge(
        "cpu_pressure",
        share <= PRESSURE_LIMIT_PERCENT,
        f"tasks waited for a CPU {share:.1f} % of the last 10 s",
        "end other programs and wait ten seconds",
    )


def load(machine: Machine) -> StateCheck | None:
    """The one-minute load average per CPU."""
    text = machine.run(["sysctl", "-n", "vm.loadavg"]) if machine.macos else None
    words = (text or machine.read("proc/loadavg") or "").replace("{", "").split()
    cpus = _cpu_count(machine)
    if not words or not _is_number(words[0]) or not cpus:
        return unknown("load", "no load average or no CPU count")
    per_cpu = float(words[0]) / cpus
    return judge(
        "load",
        per_cpu <= LOAD_PER_CPU_LIMIT,
        f"{per_cpu:.2f} per CPU in the last minute",
        "end other programs and wait a minute",
    )


def _cpu_count(machine: Machine) -> int | None:
    if not machine.macos:
        return logical_count(machine)
    answer = (machine.run(["sysctl", "-n", "hw.logicalcpu"]) or "").strip()
    return int(answer) if answer.isdecimal() else None


def steal(machine: Machine) -> StateCheck | None:
    """CPU time that the hypervisor gave to others, since boot; deltas are judged per replicate."""
    if machine.macos:
        return None
    ticks = snapshot(machine.root)
    if ticks.stolen_ticks is None or not ticks.wanted_ticks:
        return unknown("steal", "no steal column in /proc/stat")
    share = ticks.stolen_ticks / ticks.wanted_ticks
    return judge(
        "steal",
        share <= STEAL_LIMIT,
        f"{share:.2%} of the CPU time wanted since boot",
        "use a dedicated machine or an instance type with dedicated cores",
    )


def swap(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    pages = snapshot(machine.root).swapped_pages
    if pages is None:
        return unknown("swap", "no pswpin and pswpout in /proc/vmstat")
    if pages == 0:
        return StateCheck(name="swap", level="ok", evidence="no page swapped since boot")
    waited = _pressure_percent(machine, "memory")
    evidence = f"{pages} pages swapped since boot"
    if waited is None:
        return unknown("swap", f"{evidence}; no /proc/pressure/memory to tell whether now")
    return judge(
        "swap",
        waited == 0,
        f"{evidence}; tasks waited for memory {waited:.1f} % of the last 10 s",
        "free memory: end other programs",
    )


def cgroup_throttle(machine: Machine) -> StateCheck | None:
    """Checks how often the quota of `cpu.max` ran out; what is added in a replicate invalidates it."""
    counts = snapshot(machine.root).events.get("cgroup_throttle")
    if not counts:
        return None
    total = sum(counts.values())
    return recorded("cgroup_throttle", f"{total} periods so far; watched in every replicate")


def hypervisor(machine: Machine) -> StateCheck | None:
    virtual = virtualisation.detect(machine)
    if virtual.virtual is None:
        return unknown("hypervisor", virtual.evidence)
    return judge(
        "hypervisor",
        not virtual.virtual,
        f"virtual machine ({virtual.evidence})" if virtual.virtual else virtual.evidence,
        "compare only runs made on this machine in one session, or use real hardware",
    )


def emulated(machine: Machine, process: Process | None = None) -> StateCheck | None:
    """Checks for emulation, on the live machine only: a copy of its files does not say what runs on it."""
    if process is None and not machine.live:
        return None
    emulator = emulation.detect(machine, process or emulation.Process.own())
    if not emulator.emulated:
        return None
    fix = f"use a Python for {emulator.kernel}, or real hardware: times of an emulated processor are no one's"
    return judge("emulation", False, emulator.evidence, fix)


def _pressure_percent(machine: Machine, resource: str) -> float | None:
    """`some avg10`: the share of the last ten seconds in which a task waited for `resource`."""
    match = re.search(r"some avg10=([0-9.]+)", machine.read(f"proc/pressure/{resource}") or "")
    return float(match[1]) if match and _is_number(match[1]) else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text) is not None
