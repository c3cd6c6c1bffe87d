"""Breaks ties between deployments whose results are too close to call.

By default less peak memory, then better quality, then fewer threads; `--prefer` names another order. A
criterion that some of the rows do not tell decides nothing.
"""

from __future__ import annotations

from typing import Final

from edgebench.errors import UsageError
from edgebench.metrics import METRICS
from edgebench.text.did_you_mean import did_you_mean

THREADS: Final = "threads"
DEFAULT: Final = ("memory.peak", "quality", THREADS)


def parse_preferences(text: str) -> tuple[str, ...]:
    """ "memory.peak,quality,threads" -> names of criteria. Raises UsageError."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    known = [THREADS, *(n for n, m in METRICS.items() if m.better is not None or n == "quality")]
    for name in names:
        if name not in known:
            raise UsageError(
                f"--prefer {text!r}: no criterion {name!r}{did_you_mean(name, known)}",
                f"by default --prefer {','.join(DEFAULT)}",
            )
    return names
