"""Holds what runtimes report home: it is off in every process of edgebench, and read back where it counts.

Official builds of ONNX Runtime (from 1.29) and ONNX Runtime GenAI start a thread that sends events, with a
database and a device's identifier in the user's cache folder; `import openvino` sends one where the package
openvino-telemetry is installed, which it is with every wheel. All of it would be in what is measured.
"""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from edgebench.installed_packages import installed_version

#: "none": this build or installation has nothing that could report.
Telemetry = Literal["off", "on", "none"]
ORT_SWITCH = "ORT_DISABLE_TELEMETRY"
#: Set before `import nncf`, it sends nothing.
NNCF_SWITCH = "NNCF_CI"
_OPENVINO_MODULE = "openvino_telemetry"


def ort_environment(wanted: bool) -> dict[str, str]:
    """Returns what ONNX Runtime and ONNX Runtime GenAI read when they are imported; `edgebench` itself switches it
    off for every process of ours."""
    return {ORT_SWITCH: "0" if wanted else "1"}


def ort_telemetry(
    library: Path, environ: Mapping[str, str] = os.environ, process: Path = Path("/proc/self")
) -> Telemetry:
    """Returns the state of telemetry of the ONNX Runtime that this process imported from `library`.

    On where its database is open, and where nothing switched it off before the import.
    """
    if not _mentions(library, ORT_SWITCH.encode()):
        return "none"
    asked_off = environ.get(ORT_SWITCH, "0") not in ("", "0", "false")
    return "off" if asked_off and not has_database_open(process) else "on"


def has_database_open(process: Path = Path("/proc/self")) -> bool | None:
    """Whether ONNX Runtime's telemetry keeps its database open; None where the system does not tell."""
    try:
        descriptors = list((process / "fd").iterdir())
    except FileNotFoundError:
        return None
    return any(map(_is_database, descriptors))


def keep_openvino_silent() -> None:
    """For the moment before `import openvino`, which has a stub for where this module is missing."""
    sys.modules.setdefault(_OPENVINO_MODULE, None)  # type: ignore[arg-type]


def openvino_telemetry() -> Telemetry:
    """Returns the state of telemetry of the OpenVINO that this process imported."""
    if sys.modules.get(_OPENVINO_MODULE) is not None:
        return "on"
    return "none" if installed_version("openvino-telemetry") is None else "off"


def _is_database(descriptor: Path) -> bool:
    try:
        return descriptor.readlink().name == "onnxruntime.db"
    except FileNotFoundError:  # that of the listing itself
        return False


def _mentions(library: Path, text: bytes) -> bool:
    with (
        library.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        return content.find(text) >= 0
