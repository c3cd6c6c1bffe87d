"""Detects whether this process is emulated.

The kernel tells what it was built for, a process what it is: where the two differ, the process is
emulated (QEMU's user mode, Rosetta) or of the narrower kind that its kernel runs as well. A kernel that
emulates nothing else (a whole emulated machine) is `virtualisation`'s business.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass

from edgebench.probes.machine import Machine
from edgebench.words import state_words as words

#: Two names of one architecture, by the name that Linux gives it.
_ALIASES = {"amd64": "x86_64", "arm64": "aarch64"}
#: 64-bit architecture -> names of the 32-bit ones that its processors run themselves.
_NARROW = {"x86_64": ("i386", "i486", "i586", "i686"), "aarch64": ("arm",)}


@dataclass(frozen=True)
class Process:
    """The machine that this process was built for."""

    machine: str  # as `uname` says it to this process
    bits: int  # of a pointer

    @classmethod
    def own(cls) -> Process:
        return cls(os.uname().machine, 8 * struct.calcsize("P"))


@dataclass(frozen=True)
class Emulation:
    machine: str  # of the process
    kernel: str | None  # of the kernel; None: it does not tell
    emulated: bool
    evidence: str  # empty: the process is of the kernel's kind


def detect(machine: Machine, process: Process) -> Emulation:
    kernel, translated = _kernel(machine)
    own = _ALIASES.get(process.machine, process.machine)
    known = None if kernel is None else _ALIASES.get(kernel, kernel)
    if translated:
        return Emulation(own, known, True, words.ROSETTA)
    narrow = known is not None and own.startswith(_NARROW.get(known, ()))
    if known is not None and own != known and not narrow:
        return Emulation(own, known, True, words.emulated(kernel=known, process=own))
    if narrow or (process.bits == 32 and own in _NARROW):
        return Emulation(own, known, False, words.narrow_process(kernel=known or own))
    return Emulation(own, known, False, "")


def _kernel(machine: Machine) -> tuple[str | None, bool]:
    """Returns what the kernel was built for, and whether it translates this process."""
    if not machine.macos:
        return machine.read("proc/sys/kernel/arch"), False
    translated = (machine.run(["sysctl", "-n", "sysctl.proc_translated"]) or "").strip() == "1"
    return ("arm64" if translated else None), translated
