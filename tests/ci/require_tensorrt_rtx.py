"""Installs TensorRT for RTX where it is missing: `python -m tests.ci.require_tensorrt_rtx`. Ends with 77 where it cannot."""

from __future__ import annotations

import importlib
import platform
import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

from edgebench.backends.trt import library
from tests.kernel.requirements import CANNOT_RUN, CannotRun, install_wheels

EXTRA = "tensorrt-rtx"
_PLATFORM = ("Linux", "x86_64")


def require(system: str | None = None, machine: str | None = None) -> None:
    """Raises CannotRun where no engine can be built with it here."""
    here = (system or platform.system(), machine or platform.machine())
    if library.find() is None:
        if here != _PLATFORM:
            raise CannotRun(f"its wheels are for Linux on x86_64, and this is {' on '.join(here)}")
        install_wheels(*_wheels())
        importlib.invalidate_caches()
    found = library.find()
    if found is None:
        raise CannotRun("its wheels are installed and cannot be imported: edgebench doctor")
    if not found.rtx:
        raise CannotRun(f"{found.title} is installed, and goes before it: use another environment")


def _wheels() -> list[str]:
    """What the extra names."""
    stated = map(Requirement, requires("edgebench") or ())
    return [
        f"{each.name}{each.specifier}"
        for each in stated
        if each.marker and EXTRA in str(each.marker) and each.marker.evaluate({"extra": EXTRA})
    ]


def main() -> int:
    try:
        require()
    except CannotRun as why:
        print(f"test-tensorrt-rtx cannot run here: {why}", file=sys.stderr)
        return CANNOT_RUN
    return 0


if __name__ == "__main__":
    sys.exit(main())
