"""Limits of what a child may allocate."""

from __future__ import annotations

import subprocess
import sys

#: Ten times a GiB, as `ulimit` may have set it.
BEFORE = 10 << 30
NONE = "resource.RLIM_INFINITY"
CHILD = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, {limits})
from edgebench.processes.parent_tie import limit_memory
for asked in (None, 1 << 30, None, 1 << 40):
    limit_memory(asked)
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    print(-1 if limit == resource.RLIM_INFINITY else limit)
"""


def left(limits: str) -> list[int]:
    """The limits that hold after none, 1 GiB, none and 1 TiB were asked for."""
    command = [sys.executable, "-c", CHILD.format(limits=limits)]
    return [int(line) for line in subprocess.check_output(command, text=True).splitlines()]


def test_a_limit_that_was_there_before_is_neither_lifted_nor_an_error() -> None:
    for limits in (f"({BEFORE}, {NONE})", f"({BEFORE}, {BEFORE})"):
        assert left(limits) == [BEFORE, 1 << 30, BEFORE, BEFORE]


def test_without_a_limit_before_each_holds_as_asked() -> None:
    assert left(f"({NONE}, {NONE})") == [-1, 1 << 30, -1, 1 << 40]
