"""Instructions of an inference: what the processor counted in the windows, and what callgrind counted beside them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from edgebench import record as rec
from edgebench.analysis.table_types import Instructions
from edgebench.words.unknown_words import CALLGRIND_NOT_ASKED, INSTRUCTIONS_NOT_COUNTED

_NOT_ASKED = {"perf_event": INSTRUCTIONS_NOT_COUNTED, "callgrind": CALLGRIND_NOT_ASKED}


def instructions_of(good: Sequence[rec.Replicate], unknown: dict[str, str]) -> Instructions | None:
    """None where nothing was counted; `unknown` then says why."""
    retired, why = _middle(good, "perf_event")
    callgrind, why_callgrind = _middle(good, "callgrind")
    if retired is None and callgrind is None:
        unknown["instructions"] = why if why_callgrind == CALLGRIND_NOT_ASKED else why_callgrind
        return None
    if retired is None:
        unknown["instructions.retired"] = why
    if callgrind is None:
        unknown["instructions.callgrind"] = why_callgrind
    return Instructions(retired=retired, callgrind=callgrind)


def _middle(good: Sequence[rec.Replicate], source: str) -> tuple[float | None, str]:
    """The median over replicates of one source, else why there is none."""
    told = [each for replicate in good for each in replicate.instructions if each.source == source]
    each = [found.count / found.inferences for found in told if found.count and found.inferences]
    if each:
        return median(each), ""
    return None, next((found.unknown for found in told if found.unknown), _NOT_ASKED[source])
