"""What sessions of all runtimes say alike: the precision of counted layers, threads of the process, and that they are closed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn


def closed(_: Any) -> NoReturn:
    """Stands for `Session.run` once the session is closed."""
    raise RuntimeError("the session is closed")


def one_precision(counts: Mapping[str, int]) -> str | None:
    """The one precision that layers were counted in, "mixed" where there are several, None where there is none."""
    kinds = [kind for kind, count in counts.items() if count]
    if len(kinds) > 1:
        return "mixed"
    return next(iter(kinds), None)


def listed(counts: Mapping[str, int], what: str) -> str:
    """For people: "2 layers in fp32, 3 layers in int8"."""
    return ", ".join(f"{count} {what} in {name}" for name, count in sorted(counts.items()))


def os_threads() -> int:
    """Threads of this process."""
    try:
        return len(list(Path("/proc/self/task").iterdir()))
    except OSError:
        import psutil

        return int(psutil.Process().num_threads())
