"""Whether TensorRT for RTX is here: `python -m tests.ci.require_tensorrt_rtx` ends with 77 and a line where it is not."""

from __future__ import annotations

import sys

from edgebench.backends.trt import library
from tests.kernel.requirements import CANNOT_RUN


def problem(found: library.Library | None) -> str:
    """Why no engine can be built with it; empty where it can."""
    if found is None:
        return "its wheels are for Linux on x86-64 and are not installed: pip install 'edgebench[tensorrt-rtx]'"
    return (
        ""
        if found.rtx
        else f"{found.title} is installed, and goes before it: use another environment"
    )


def main() -> int:
    why = problem(library.find())
    if why:
        print(f"test-tensorrt-rtx cannot run here: {why}", file=sys.stderr)
    return CANNOT_RUN if why else 0


if __name__ == "__main__":
    sys.exit(main())
