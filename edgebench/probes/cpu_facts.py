"""Facts of the CPU from /proc/cpuinfo and /sys/devices/system/cpu."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgebench.probes import proc_files
from edgebench.probes.machine import Machine

_CPU = "sys/devices/system/cpu"

#: Instructions that decide how fast a network runs; the kernel names them alike on every machine.
_ISA = frozenset(
    {
        "sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx_vnni_int8", "avx_vnni_int16",
        "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx10",
        "amx_tile", "amx_int8", "amx_bf16", "amx_fp16", "neon", "asimd", "asimdhp", "asimddp",
        "i8mm", "bf16", "sve", "sve2", "svei8mm", "svebf16", "sme", "sme2",
    }
)  # fmt: skip

# (implementer, part) of the MIDR register -> name, from the kernel's arch/arm64 cputype.h. Only
# cores that boards in the field have; any other is named by its numbers.
_ARM_CORES = {
    (0x41, 0xD03): "Arm Cortex-A53",
    (0x41, 0xD05): "Arm Cortex-A55",
    (0x41, 0xD07): "Arm Cortex-A57",
    (0x41, 0xD08): "Arm Cortex-A72",
    (0x41, 0xD0B): "Arm Cortex-A76",
    (0x41, 0xD0C): "Arm Neoverse-N1",
    (0x41, 0xD40): "Arm Neoverse-V1",
    (0x41, 0xD42): "Arm Cortex-A78AE",
    (0x41, 0xD49): "Arm Neoverse-N2",
    (0x41, 0xD4F): "Arm Neoverse-V2",
    (0x4E, 0x003): "NVIDIA Denver 2",
    (0x4E, 0x004): "NVIDIA Carmel",
}


def model(cpuinfo: str | None) -> str | None:
    """The CPU's name; "A + B" where cores differ; None where the kernel names none."""
    if name := proc_files.fields(cpuinfo).get("model name"):
        return name
    cores = [
        (int(block["CPU implementer"], 16), int(block["CPU part"], 16))
        for block in map(proc_files.fields, (cpuinfo or "").split("\n\n"))
        if _is_hex(block.get("CPU implementer")) and _is_hex(block.get("CPU part"))
    ]
    return " + ".join(_core_name(*core) for core in dict.fromkeys(cores)) or None


def isa(cpuinfo: str | None) -> list[str] | None:
    """The instruction sets of `_ISA` that the CPU has, sorted; None where the kernel lists none."""
    fields = proc_files.fields(cpuinfo)
    listed = fields.get("flags", fields.get("Features"))
    return None if listed is None else sorted(_ISA.intersection(listed.split()))


def logical_count(machine: Machine) -> int | None:
    """CPUs that are online."""
    online = machine.read(f"{_CPU}/online")
    cpus = parse_list(online) if online else None
    if cpus:
        return len(cpus)
    stat = machine.read("proc/stat") or ""
    return len(re.findall(r"^cpu[0-9]+ ", stat, re.MULTILINE)) or None


def physical_count(machine: Machine) -> int | None:
    """Cores: online CPUs that share one count once; None where the kernel does not say."""
    siblings = [
        proc_files.read(path)
        for path in machine.glob(f"{_CPU}/cpu[0-9]*/topology/thread_siblings_list")
    ]
    return len({text for text in siblings if text}) or None


def caches(machine: Machine) -> list[dict[str, Any]] | None:
    """Caches of the first CPU: level, type, size in bytes, the CPUs that share it."""
    sizes = []
    for index in machine.glob(f"{_CPU}/cpu0/cache/index[0-9]*"):
        level, size = (
            proc_files.read_int(index / "level"),
            _size_bytes(proc_files.read(index / "size")),
        )
        if level is not None and size is not None:
            sizes.append(
                {
                    "level": level,
                    "type": proc_files.read(index / "type"),
                    "size_bytes": size,
                    "shared_cpus": proc_files.read(index / "shared_cpu_list"),
                }
            )
    return sizes or None


def clock_policies(root: Path) -> list[Path]:
    """Folders of the CPUs' frequency policies: one per group of CPUs that share a clock."""
    policies = proc_files.glob(root, f"{_CPU}/cpufreq/policy[0-9]*")
    return policies or proc_files.glob(root, f"{_CPU}/cpu[0-9]*/cpufreq")  # kernels before 4.3


def policy_name(policy: Path) -> str:
    """ "policy0", or "cpu0" on kernels that have a folder per CPU."""
    return policy.parent.name if policy.name == "cpufreq" else policy.name


def parse_list(text: str) -> list[int] | None:
    """CPU numbers of the kernel's list format ("0-3,8"); None where it is something else."""
    cpus: list[int] = []
    for part in filter(None, text.split(",")):
        first, dash, last = part.partition("-")
        if not (first.isdecimal() and (last.isdecimal() if dash else True)):
            return None
        cpus += range(int(first), int(last if dash else first) + 1)
    return cpus


def _core_name(implementer: int, part: int) -> str:
    return _ARM_CORES.get((implementer, part), f"Arm core {implementer:#04x}:{part:#05x}")


def _is_hex(text: str | None) -> bool:
    return text is not None and re.fullmatch(r"0x[0-9a-fA-F]+", text) is not None


def _size_bytes(text: str | None) -> int | None:
    """Bytes of "32K" or "8M"."""
    match = re.fullmatch(r"([0-9]+)([KMG]?)", text or "")
    if match is None:
        return None
    return int(match[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]
