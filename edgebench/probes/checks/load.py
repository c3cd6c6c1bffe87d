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
from edgebench.words import state_words as words

PRESSURE_LIMIT_PERCENT = 5.0
LOAD_PER_CPU_LIMIT = 0.1


def cpu_pressure(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    share = _pressure_percent(machine, "cpu")
    if share is None:
        return unknown("cpu_pressure", words.NO_CPU_PRESSURE)
    return judge(
        "cpu_pressure",
        share <= PRESSURE_LIMIT_PERCENT,
        words.waited_for_cpu(percent=share),
        words.WAIT_SECONDS,
    )


def load(machine: Machine) -> StateCheck | None:
    """The one-minute load average per CPU."""
    text = machine.run(["sysctl", "-n", "vm.loadavg"]) if machine.macos else None
    figures = (text or machine.read("proc/loadavg") or "").replace("{", "").split()
    cpus = _cpu_count(machine)
    if not figures or not _is_number(figures[0]) or not cpus:
        return unknown("load", words.NO_LOAD)
    per_cpu = float(figures[0]) / cpus
    return judge(
        "load", per_cpu <= LOAD_PER_CPU_LIMIT, words.load_per_cpu(load=per_cpu), words.WAIT_A_MINUTE
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
        return unknown("steal", words.NO_STEAL)
    share = ticks.stolen_ticks / ticks.wanted_ticks
    return judge(
        "steal", share <= STEAL_LIMIT, words.stolen_since_boot(share=share), words.DEDICATED_CORES
    )


def swap(machine: Machine) -> StateCheck | None:
    if machine.macos:
        return None
    pages = snapshot(machine.root).swapped_pages
    if pages is None:
        return unknown("swap", words.NO_SWAP_COUNTERS)
    if pages == 0:
        return recorded("swap", words.NO_PAGE_SWAPPED)
    waited = _pressure_percent(machine, "memory")
    evidence = words.swapped_since_boot(pages, waited)
    if waited is None:
        return unknown("swap", evidence)
    return judge("swap", waited == 0, evidence, words.FREE_MEMORY)


def cgroup_throttle(machine: Machine) -> StateCheck | None:
    """Checks how often the quota of `cpu.max` ran out; what is added in a replicate invalidates it."""
    counts = snapshot(machine.root).events.get("cgroup_throttle")
    if not counts:
        return None
    total = sum(counts.values())
    return recorded("cgroup_throttle", words.quota_ran_out(periods=total))


def hypervisor(machine: Machine) -> StateCheck | None:
    virtual = virtualisation.detect(machine)
    if virtual.virtual is None:
        return unknown("hypervisor", virtual.evidence)
    return judge(
        "hypervisor",
        not virtual.virtual,
        words.virtual_machine(evidence=virtual.evidence) if virtual.virtual else virtual.evidence,
        words.ONE_SESSION,
    )


def emulated(machine: Machine, process: Process | None = None) -> StateCheck | None:
    """Checks for emulation, on the live machine only: a copy of its files does not say what runs on it."""
    if process is None and not machine.live:
        return None
    emulator = emulation.detect(machine, process or emulation.Process.own())
    if not emulator.emulated:
        return None
    return judge(
        "emulation", False, emulator.evidence, words.use_native_python(kernel=emulator.kernel)
    )


def _pressure_percent(machine: Machine, resource: str) -> float | None:
    """`some avg10`: the share of the last ten seconds in which a task waited for `resource`."""
    match = re.search(r"some avg10=([0-9.]+)", machine.read(f"proc/pressure/{resource}") or "")
    return float(match[1]) if match and _is_number(match[1]) else None


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[0-9]+(?:\.[0-9]+)?", text) is not None
