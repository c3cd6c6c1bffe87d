"""A Python whose processor is one of Intel: this one, or an emulated one."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

_EMULATOR = "qemu-x86_64-static"
#: A processor of Intel that QEMU 7 emulates whole; it shows what is right, and no time.
_MODEL = "Haswell"


def intel_python() -> list[str] | None:
    """The command of a Python on a processor of Intel; None: neither this is one, nor can one be emulated."""
    if platform.machine() != "x86_64":
        return None
    if _is_intel():
        return [sys.executable]
    found = shutil.which(_EMULATOR)
    return None if found is None else [found, "-cpu", _MODEL, sys.executable]


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
