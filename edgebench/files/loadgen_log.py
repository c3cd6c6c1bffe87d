"""Reads the detail log of MLPerf's LoadGen (`mlperf_log_detail.txt`): a line is `:::MLLOG {"key": ..., "value": ...}`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

MARK = ":::MLLOG "


class Entry(msgspec.Struct, frozen=True):
    """One entry of the log."""

    key: str
    value: Any


def entries(lines: Iterable[str]) -> dict[str, Any]:
    """Key -> value; of a key that comes again the last, as LoadGen states its results at the end.

    Other lines are skipped. Raises ValueError with the number of a line that is broken.
    """
    found: dict[str, Any] = {}
    for number, line in enumerate(lines, 1):
        if not line.startswith(MARK):
            continue
        try:
            entry = msgspec.json.decode(line.removeprefix(MARK), type=Entry)
        except msgspec.MsgspecError as error:
            raise ValueError(f"line {number}: {error}") from None
        found[entry.key] = entry.value
    return found


def percentile_key(percentile: str, scenario: str) -> str:
    """The key of a percentile such as "90.00"; of MultiStream that of whole queries."""
    of_query = "per_query_" if scenario == "MultiStream" else ""
    return f"result_{percentile}_percentile_{of_query}latency_ns"


def samples_per_s(found: dict[str, Any], scenario: str) -> float | None:
    """The rate that Offline and Server state; None of the others."""
    keys = {"Offline": "result_samples_per_second", "Server": "result_completed_samples_per_sec"}
    value = found.get(keys.get(scenario, ""))
    return float(value) if isinstance(value, int | float) else None
