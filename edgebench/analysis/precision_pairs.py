"""Finds rows that differ only in precision, and says whether the lower precision is faster.

A pair is of one device, run, workload, backend and scenario, with all other axes equal. Where the
name of a network holds the precision (`mobilenet-v1-precision_uint8-1.0-224`), it is left out of
the comparison.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgebench.analysis.competition import same_run, speed_of
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.table_types import Row
from edgebench.analysis.uncertainty import gains_of
from edgebench.words import note_words

_FULL = ("fp32", "float32", "f32")
_WORDS = ("fp32", "float32", "float", "f32", "fp16", "float16", "bf16", "uint8", "int8", "quant")
_PRECISION_WORD = re.compile(rf"(?<![a-z0-9])(?:{'|'.join(_WORDS)})(?![a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class Pair:
    """A row of lower precision beside the fp32 row that is equal otherwise."""

    reduced: Row
    full: Row
    metric: str  # by which both are compared
    slowdown: float  # time of the reduced row over that of the full one: above 1, it is slower
    low: float | None  # 95 % interval over replicates; None: at least one row has no replicates
    high: float | None

    @property
    def slower(self) -> bool:
        """Surely slower; without an interval (another tool's numbers) by its value."""
        return self.slowdown > 1 if self.low is None else self.low > 1

    @property
    def faster(self) -> bool:
        """Surely faster; without an interval by its value."""
        return self.slowdown < 1 if self.high is None else self.high < 1


@dataclass(frozen=True)
class Finding:
    """Pairs of one family of networks in which the reduced precision is not faster."""

    device: str
    workload: str
    scenario: str
    family: str
    precision: str
    pairs: list[Pair]  # all of the family, by name
    slower: int
    faster: int
    text: str  # the line for people


def precision_pairs(rows: Sequence[Row]) -> list[Pair]:
    """Every ranked row of lower precision with its fp32 row, where there is exactly one."""
    frame = RowFrame(rows)
    full: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.ranked and row.variant.get("precision") in _FULL:
            full[_key(row)].append(index)
    pairs = []
    for index, row in enumerate(rows):
        precision = row.variant.get("precision")
        if not row.ranked or precision is None or precision in _FULL:
            continue
        twins = full.get(_key(row), [])
        pair = _pair(frame, index, twins[0]) if len(twins) == 1 else None
        if pair is not None:
            pairs.append(pair)
    return pairs


def not_faster(rows: Sequence[Row]) -> list[Finding]:
    """Families of networks whose reduced precision is slower than fp32 in some pair."""
    families: dict[tuple[str, str, str, str, str], list[Pair]] = defaultdict(list)
    for pair in precision_pairs(rows):
        row = pair.reduced
        key = (row.device, row.workload, row.scenario, _family(row), str(row.variant["precision"]))
        families[key].append(pair)
    return [
        _finding(*key, sorted(pairs, key=lambda pair: pair.reduced.id))
        for key, pairs in families.items()
        if any(pair.slower for pair in pairs)
    ]


def network(row: Row) -> str:
    """Name of the row's network without words of precision: "mobilenet-v1-*-1.0-224"."""
    return _PRECISION_WORD.sub("*", str(row.variant.get("model", row.workload)).replace("_", "-"))


def _family(row: Row) -> str:
    return network(row).partition("-")[0]


def _key(row: Row) -> tuple[object, ...]:
    axes = tuple(
        sorted(
            (axis, repr(value))
            for axis, value in row.variant.items()
            if axis not in ("precision", "model")
        )
    )
    return *same_run(row), network(row), axes


def _pair(frame: RowFrame, reduced: int, full: int) -> Pair | None:
    rows = frame.rows[reduced], frame.rows[full]
    metric = speed_of(rows)
    if metric is None or not all(metric.value(row) for row in rows):
        return None
    places = np.array([reduced]), np.array([full])
    (gain,) = gains_of(frame, metric, *(places if metric.better == "lower" else places[::-1]))
    return None if gain is None else Pair(rows[0], rows[1], metric.name, *gain)


def _finding(
    device: str, workload: str, scenario: str, family: str, precision: str, pairs: list[Pair]
) -> Finding:
    slower = sum(pair.slower for pair in pairs)
    faster = sum(pair.faster for pair in pairs)
    slowdowns = [pair.slowdown for pair in pairs]
    points = any(pair.low is None for pair in pairs)
    return Finding(
        device=device,
        workload=workload,
        scenario=scenario,
        family=family,
        precision=precision,
        pairs=pairs,
        slower=slower,
        faster=faster,
        text=note_words.slower_than_fp32(
            precision, family, slower, len(pairs), (min(slowdowns), max(slowdowns)), points
        ),
    )
