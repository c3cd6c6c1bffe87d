"""The machine's facts, and the name of its folder in `results/`.

Facts that cannot be had stand in `unknown` with the reason; none has a default.
"""

from __future__ import annotations

import os
import platform as python_platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgebench.probes import cgroup, cpu_facts, emulation, nvpmodel, proc_files, virtualisation
from edgebench.probes.emulation import Process
from edgebench.probes.l4t import l4t_version
from edgebench.probes.machine import Machine, Runner
from edgebench.probes.proc_files import LIVE
from edgebench.record import DeviceFacts
from edgebench.words import fact_words

_NAME_CHARACTERS = 64
_NO_BRAND = re.compile(r"\((?:r|tm|c)\)|@.*|\b(?:cpu|processor|with .*|[0-9]+-core)\b")


class _Facts:
    """Holds what was found, and why the rest was not."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}
        self.unknown: dict[str, str] = {}

    def put(self, name: str, value: Any, why_unknown: str) -> None:
        if value is None:
            self.unknown[name] = why_unknown
        else:
            self.known[name] = value


def detect(
    root: Path = LIVE,
    run: Runner | None = None,
    platform: str | None = None,
    process: Process | None = None,
) -> DeviceFacts:
    """Facts of the machine below `root`. Starts commands only on the live machine (macOS, Jetson).

    `run`, `platform` (as `sys.platform`) and `process` are for tests.
    """
    machine = Machine.at(root, run, platform)
    facts = _Facts()
    (_macos if machine.macos else _linux)(machine, facts)
    if process is not None or machine.live:
        _process(machine, facts, process or Process.own())
    if machine.live:
        facts.known["python"] = python_platform.python_version()
        facts.known["python_implementation"] = python_platform.python_implementation()
    return DeviceFacts(name=name_of(facts.known), facts=facts.known, unknown=facts.unknown)


def _process(machine: Machine, facts: _Facts, process: Process) -> None:
    """What this process is, where that is not what the machine is: the kernel's words are the host's."""
    emulator = emulation.detect(machine, process)
    if not emulator.evidence:
        return
    facts.known["machine"] = emulator.machine
    facts.known["kernel_machine"] = emulator.kernel or emulator.machine
    facts.known["emulated"] = emulator.emulated
    facts.known["emulated_evidence"] = emulator.evidence
    if emulator.emulated:
        facts.known.pop("isa", None)
        facts.unknown["isa"] = fact_words.of_host(evidence=emulator.evidence)


def name_of(facts: dict[str, Any]) -> str:
    """A folder name: the board's model, else CPU brand, logical CPUs and memory in GiB; what is emulated
    there is no row of the same device."""
    name = _name_of_machine(facts)
    return f"{name}-emulated-{slug(str(facts['machine']))}" if facts.get("emulated") else name


def _name_of_machine(facts: dict[str, Any]) -> str:
    if board := slug(facts.get("board") or ""):
        return board
    brand = _NO_BRAND.sub(" ", (facts.get("cpu_model") or "").lower())
    parts = [slug(brand) or slug(facts.get("machine") or "") or "unknown"]
    if cpus := facts.get("logical_cpus"):
        parts.append(f"{cpus}c")
    if memory := facts.get("memory_bytes"):
        parts.append(f"{max(1, round(memory / 2**30))}g")
    return "-".join(parts)


def slug(text: str) -> str:
    """Lower-case ASCII letters and digits in words joined by "-", at most 64 characters."""
    words = re.findall(r"[a-z0-9]+", text.lower().replace("®", " ").replace("™", " "))
    return "-".join(words)[:_NAME_CHARACTERS].strip("-")


def _linux(machine: Machine, facts: _Facts) -> None:
    cpuinfo = machine.read("proc/cpuinfo")
    no_cpuinfo = fact_words.no_cpuinfo(proc_files.problem(machine.root / "proc/cpuinfo"))
    facts.put("machine", _architecture(machine), fact_words.NO_ARCHITECTURE)
    facts.put("cpu_model", cpu_facts.model(cpuinfo), no_cpuinfo)
    facts.put("isa", cpu_facts.isa(cpuinfo), no_cpuinfo)
    facts.put("logical_cpus", cpu_facts.logical_count(machine), fact_words.NO_CPU_LIST)
    facts.put("physical_cores", cpu_facts.physical_count(machine), fact_words.NO_TOPOLOGY)
    facts.put("smt", _smt(machine), fact_words.NO_SMT)
    facts.put("caches", cpu_facts.caches(machine), fact_words.NO_CACHES)
    _linux_memory(machine, facts)
    _linux_system(machine, facts)
    _linux_limits(machine, facts)
    _linux_clocks(machine, facts)
    _board(machine, facts)
    virtual = virtualisation.detect(machine, cpuinfo)
    facts.put("virtualised", virtual.virtual, virtual.evidence)
    if virtual.virtual is not None:
        facts.known["virtualised_evidence"] = virtual.evidence


def _architecture(machine: Machine) -> str | None:
    return machine.read("proc/sys/kernel/arch") or (os.uname().machine if machine.live else None)


def _smt(machine: Machine) -> bool | None:
    active = machine.read_int("sys/devices/system/cpu/smt/active")
    return None if active is None else active == 1


def _linux_memory(machine: Machine, facts: _Facts) -> None:
    meminfo = proc_files.fields(machine.read("proc/meminfo"))
    for name, key in (("memory_bytes", "MemTotal"), ("swap_bytes", "SwapTotal")):
        match = re.fullmatch(r"([0-9]+) kB", meminfo.get(key, ""))
        facts.put(name, int(match[1]) * 1024 if match else None, fact_words.not_in_meminfo(key=key))
    huge = re.search(r"\[(\w+)\]", machine.read("sys/kernel/mm/transparent_hugepage/enabled") or "")
    facts.put("transparent_hugepages", huge[1] if huge else None, fact_words.NO_HUGE_PAGES)
    aslr = machine.read_int("proc/sys/kernel/randomize_va_space")
    facts.put("aslr", aslr, fact_words.NO_ASLR)


def _linux_system(machine: Machine, facts: _Facts) -> None:
    release = proc_files.fields(machine.read("etc/os-release"), "=")
    facts.put("os", release.get("PRETTY_NAME", "").strip('"') or None, fact_words.NO_OS_RELEASE)
    kernel = machine.read("proc/sys/kernel/osrelease")
    facts.put("kernel", kernel, fact_words.NO_KERNEL_RELEASE)
    facts.put("container", _container(machine), fact_words.NO_CONTAINER_MARKER)


def _container(machine: Machine) -> str | None:
    if kind := machine.read("run/systemd/container"):
        return kind
    for marker, kind in ((".dockerenv", "docker"), ("run/.containerenv", "podman")):
        if (machine.root / marker).exists():
            return kind
    group = machine.read("proc/self/cgroup") or ""
    return next((kind for kind in ("kubepods", "docker", "lxc") if f"/{kind}" in group), None)


def _linux_limits(machine: Machine, facts: _Facts) -> None:
    facts.put("cgroup_cpu_limit", cgroup.cpu_limit(machine.root), fact_words.NO_CONTROL_GROUP)
    facts.put(
        "cgroup_memory_limit_bytes",
        cgroup.memory_limit_bytes(machine.root),
        fact_words.NO_CONTROL_GROUP,
    )
    status = proc_files.fields(machine.read("proc/self/status"))
    affinity = status.get("Cpus_allowed_list")
    facts.put("affinity", affinity, fact_words.NO_AFFINITY)
    isolated = machine.read("sys/devices/system/cpu/isolated")
    facts.put("isolated_cpus", "none" if isolated == "" else isolated, fact_words.NO_ISOLATED_CPUS)


def _linux_clocks(machine: Machine, facts: _Facts) -> None:
    policies = cpu_facts.clock_policies(machine.root)
    readers: tuple[tuple[str, str, Callable[[Path], Any]], ...] = (
        ("governor", "scaling_governor", proc_files.read),
        ("frequency_driver", "scaling_driver", proc_files.read),
        ("frequency_min_khz", "scaling_min_freq", proc_files.read_int),
        ("frequency_max_khz", "scaling_max_freq", proc_files.read_int),
    )
    for name, file, reader in readers:
        values = {cpu_facts.policy_name(path): reader(path / file) for path in policies}
        facts.put(
            name,
            _shared({k: v for k, v in values.items() if v is not None}),
            fact_words.NO_CLOCK_POLICIES,
        )
    facts.put("turbo", turbo(machine), fact_words.NO_TURBO_SWITCH)


def _shared(values: dict[str, Any]) -> Any:
    """The value that all policies have, or the value of each where they differ."""
    distinct = list(dict.fromkeys(values.values()))
    return distinct[0] if len(distinct) == 1 else values or None


def turbo(machine: Machine) -> bool | None:
    """Whether the CPU may clock above its nominal frequency; None where the kernel does not say."""
    no_turbo = machine.read_int("sys/devices/system/cpu/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    boost = machine.read_int("sys/devices/system/cpu/cpufreq/boost")
    return None if boost is None else boost == 1


def _board(machine: Machine, facts: _Facts) -> None:
    facts.put("board", machine.board(), fact_words.NO_DEVICE_TREE)
    release = machine.read("etc/nv_tegra_release")
    facts.put("l4t", l4t_version(release), fact_words.NOT_A_JETSON)
    driver = machine.read("sys/module/nvidia/version") or _driver_version(machine)
    facts.put("nvidia_driver", driver, fact_words.NO_NVIDIA_DRIVER)
    mode = power_mode(machine)
    facts.put("power_mode", mode, fact_words.NO_POWER_MODE)


def _driver_version(machine: Machine) -> str | None:
    """ "580.95.05" of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  ..."."""
    text = machine.read("proc/driver/nvidia/version") or ""
    match = re.search(r"NVRM version:.*?  +([0-9][0-9.]+)", text)
    return match[1] if match else None


def power_mode(machine: Machine) -> str | None:
    """Jetson: name of the nvpmodel mode, or "mode 2" where only its number is known. Else the
    platform profile of the firmware."""
    mode = nvpmodel.current(machine)
    return str(mode) if mode else machine.read("sys/firmware/acpi/platform_profile")


_MACOS_FACTS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "machine": ("hw.machine", str),
    "cpu_model": ("machdep.cpu.brand_string", str),
    "mac_model": ("hw.model", str),
    "logical_cpus": ("hw.logicalcpu", int),
    "physical_cores": ("hw.physicalcpu", int),
    "performance_cores": ("hw.perflevel0.physicalcpu", int),
    "efficiency_cores": ("hw.perflevel1.physicalcpu", int),
    "memory_bytes": ("hw.memsize", int),
    "os": ("kern.osproductversion", "macOS {}".format),
    "kernel": ("kern.osrelease", str),
    "virtualised": ("kern.hv_vmm_present", lambda text: text == "1"),
}
_MACOS_CACHES = ("l1icachesize", "l1dcachesize", "l2cachesize", "l3cachesize")


def _macos(machine: Machine, facts: _Facts) -> None:
    text = machine.run(
        ["sysctl", "hw", "machdep.cpu", "kern.osproductversion", "kern.osrelease",
         "kern.hv_vmm_present"]
    )  # fmt: skip
    values = proc_files.fields(text)
    for name, (key, parse) in _MACOS_FACTS.items():
        raw = values.get(key)
        try:
            value = None if raw is None else parse(raw)
        except ValueError:
            value = None
        facts.put(name, value, fact_words.not_in_sysctl(key=key))
    features = sorted(
        key.removeprefix("hw.optional.arm.FEAT_").lower()
        for key, value in values.items()
        if key.startswith("hw.optional.arm.FEAT_") and value == "1"
    )
    facts.put("isa", features or None, fact_words.NO_ARM_FEATURES)
    sizes = {key: int(values[f"hw.{key}"]) for key in _MACOS_CACHES if _digits(values, key)}
    facts.put("caches", sizes or None, fact_words.NO_CACHE_SIZES)


def _digits(values: dict[str, str], key: str) -> bool:
    return values.get(f"hw.{key}", "").isdecimal()
