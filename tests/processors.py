"""A Python whose processor is one of Intel: this one, or an emulated one."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

_EMULATOR = "qemu-x86_64-static"
#: A processor of Intel without AVX2: with it OpenVINO's recurrent layers are wrong under QEMU 7.2, in OpenVINO alone too
#: (7.9 in the place of 6e-6). It shows what is right, and no time.
_AS = ("-cpu", "SandyBridge", "-E", "OPENBLAS_CORETYPE=Nehalem")


def intel_python() -> list[str] | None:
    """The command of a Python on a processor of Intel; None: neither this is one, nor can one be emulated."""
    if platform.machine() != "x86_64":
        return None
    if _is_intel():
        return [sys.executable]
    found = shutil.which(_EMULATOR)
    return None if found is None else [found, *_AS, sys.executable]


def _is_intel() -> bool:
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
