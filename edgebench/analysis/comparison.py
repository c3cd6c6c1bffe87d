"""Compares the same cells of several sets of results (`edgebench compare`).

Ratios are those of another set to the first, and contain whatever the machine drifted between the
runs. A cell that may not be compared is said with its reason. Nothing here judges a regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.competition import SPEEDS
from edgebench.analysis.defaults import COMPARED
from edgebench.analysis.frame import Frame, Indices, Numbers
from edgebench.analysis.per_row import device_limits
from edgebench.analysis.per_row.environment_differences import Difference, Environment, differences
from edgebench.analysis.uncertainty import MEMORY_RESOLUTION, ratio, uncertain
from edgebench.metrics import METRICS, Metric

#: Told of rows without a median latency: offline ones, and those of tools that report something else.
INSTEAD = SPEEDS[2:]
DEFAULT = (*SPEEDS, "memory.peak", "quality", "energy.j_per_inference")
#: Why two rows of a cell may not be compared, most serious first.
REASONS: Final = (
    "",
    "missing",
    "superseded",
    "workload_version_differs",
    "not_ok",
    "not_ranked",
    "quality_metric_differs",
    "effective_precision_differs",
    "recipe_differs",
    "inputs_differ",
)
#: Of them, those whose rows differ in a column.
COLUMNS_OF: Final = {
    "workload_version_differs": "workload_version",
    "quality_metric_differs": "quality.metric",
    "effective_precision_differs": "effective.precision",
    "recipe_differs": "model.recipe",
    "inputs_differ": "inputs_sha256",
}
_CODE = {name: number for number, name in enumerate(REASONS)}


@dataclass(frozen=True)
class Side:
    """One set of results; `environment` is None where the source does not tell (Parquet)."""

    name: str
    frame: Frame
    environment: Environment | None = None


@dataclass(frozen=True)
class Ratios:
    """Values of a metric of another side over those of the first; NaN where one is unknown or the
    two may not be divided. low, high: NaN without an interval."""

    metric: Metric
    ratio: Numbers
    low: Numbers
    high: Numbers
    clear: NDArray[np.int8]  # -1 surely lower, 1 surely higher, 0 not told apart
    barred: NDArray[np.bool_]  # both known, but of another kind or scope, or an estimate


@dataclass(frozen=True)
class Pairing:
    """Rows of the first side and those of another one that are of the same cell."""

    first: Indices
    other: Indices
    reason: NDArray[np.int8]  # index in REASONS; 0: may be compared
    only_first: Indices
    only_other: Indices
    ratios: list[Ratios]

    @property
    def compared(self) -> Indices:
        """Places of the pairs that may be compared."""
        return np.flatnonzero(self.reason == 0)


@dataclass(frozen=True)
class Comparison:
    sides: list[Side]
    metrics: list[Metric]
    pairings: list[Pairing]  # of the second side, the third, ...
    superseded: list[Indices]  # of each side, rows of a cell that a later row of the side replaces
    differences: list[Difference]
    confidence: float


def compare(
    sides: Sequence[Side], metrics: Sequence[Metric] | None = None, confidence: float = COMPARED
) -> Comparison:
    """All sides against the first; cells that differ in their device alone are the same, unless a
    side holds several devices."""
    with_device = any(len(side.frame.codes("device").names) > 1 for side in sides)
    known: dict[object, int] = {}
    cells = [_cells(side.frame, with_device, known) for side in sides]
    newest = [_newest(each) for each in cells]
    chosen = list(metrics) if metrics else _metrics_told([side.frame for side in sides])
    pairings = [
        _pair(sides[0].frame, side.frame, cells[0], each, newest[0], last, chosen, confidence)
        for side, each, last in zip(sides[1:], cells[1:], newest[1:], strict=True)
    ]
    environments = [
        side.environment for side in sides if side.environment is not None and len(side.frame)
    ]
    return Comparison(
        sides=list(sides),
        metrics=chosen,
        pairings=pairings,
        superseded=[
            np.setdiff1d(np.arange(len(side.frame)), last)
            for side, last in zip(sides, newest, strict=True)
        ],
        differences=differences(environments) if len(environments) == len(sides) else [],
        confidence=confidence,
    )


def cell_name(identity: str) -> str:
    """The id without the version of the workload: what is the same cell in another version."""
    workload, _, rest = identity.partition("@")
    return f"{workload}/{rest.partition('/')[2]}" if rest else identity


def _metrics_told(frames: Sequence[Frame]) -> list[Metric]:
    """The usual metrics that some row tells; of speed, more than the latency of a closed loop only
    where there are rows that do not tell that."""

    def told(name: str, frame: Frame) -> NDArray[np.bool_]:
        return ~np.isnan(frame.numbers(METRICS[name].column()))

    return [
        METRICS[name]
        for name in DEFAULT
        if any(
            (told(name, frame) & ~(told("latency.p50", frame) & (name in INSTEAD))).any()
            for frame in frames
        )
    ]


def _cells(frame: Frame, with_device: bool, known: dict[object, int]) -> Indices:
    """A number per row that rows of the same cell share, on all sides."""
    device, cell, rate = (frame.codes(name) for name in ("device", "id", "rate_per_s"))
    names = [cell_name(str(name)) for name in cell.names]
    devices = device.names if with_device else [None] * len(device.names)
    numbers = np.empty(len(frame), dtype=np.intp)
    triples = zip(device.codes.tolist(), cell.codes.tolist(), rate.codes.tolist(), strict=True)
    for row, (one, two, three) in enumerate(triples):
        key = (names[two], rate.names[three], devices[one])
        numbers[row] = known.setdefault(key, len(known))
    return numbers


def _newest(cells: Indices) -> Indices:
    """The last row of each cell: result files are named by time."""
    _, first = np.unique(cells[::-1], return_index=True)
    return np.sort(len(cells) - 1 - first)


def _pair(
    one: Frame,
    two: Frame,
    cells: Indices,
    others: Indices,
    newest: Indices,
    newest_other: Indices,
    metrics: Sequence[Metric],
    confidence: float,
) -> Pairing:
    _, at, where = np.intersect1d(
        cells[newest], others[newest_other], assume_unique=True, return_indices=True
    )
    order = np.argsort(at, kind="stable")  # in the order of the first side
    first, other = newest[at[order]], newest_other[where[order]]
    return Pairing(
        first=first,
        other=other,
        reason=_reasons(one, two, first, other),
        only_first=np.setdiff1d(newest, first),
        only_other=np.setdiff1d(newest_other, other),
        ratios=[_ratios(one, two, first, other, metric, confidence) for metric in metrics],
    )


def _reasons(one: Frame, two: Frame, first: Indices, other: Indices) -> NDArray[np.int8]:
    reason = np.zeros(len(first), dtype=np.int8)
    reasons = {name: differ(one, two, first, other, column) for name, column in COLUMNS_OF.items()}
    reasons["not_ok"] = ~(_is_ok(one, first) & _is_ok(two, other))
    reasons["not_ranked"] = _is_struck(one, first) | _is_struck(two, other)
    for name in sorted(reasons, key=REASONS.index, reverse=True):
        reason[reasons[name]] = _CODE[name]
    return reason


def _is_ok(frame: Frame, rows: Indices) -> NDArray[np.bool_]:
    status = frame.codes("status")
    ok = np.array([name == "ok" for name in status.names], dtype=bool)
    return ok[status.codes[rows]]


def _is_struck(frame: Frame, rows: Indices) -> NDArray[np.bool_]:
    """Rows that are not ranked, but for those that only miss a limit of their device: they measured well,
    and by how much they miss it now is what is asked."""
    struck = frame.numbers("ranked")[rows] != 1
    for place in np.flatnonzero(struck):
        codes = frame.reason_codes(int(rows[place]))
        struck[place] = not codes or not device_limits.CODES.issuperset(codes)
    return np.asarray(struck)


def differ(
    one: Frame, two: Frame, first: Indices, other: Indices, column: str
) -> NDArray[np.bool_]:
    """Returns where both sides are known and differ."""
    mine, theirs = one.codes(column), two.codes(column)
    known = {name: code for code, name in enumerate(mine.names)}
    there = np.array([known.get(name, -1) for name in theirs.names], dtype=np.intp)
    told_here = np.array([name not in (None, "") for name in mine.names], dtype=bool)
    told_there = np.array([name not in (None, "") for name in theirs.names], dtype=bool)
    a, b = mine.codes[first], theirs.codes[other]
    return np.asarray(told_here[a] & told_there[b] & (there[b] != a))


def _ratios(
    one: Frame, two: Frame, first: Indices, other: Indices, metric: Metric, confidence: float
) -> Ratios:
    """Computes ratios by the one definition of a ratio (`uncertainty.ratio`)."""
    base, other_side = uncertain(one, metric).take(first), uncertain(two, metric).take(other)
    barred = np.zeros(len(first), dtype=bool)
    if metric.of_energy:
        for column in ("energy.kind", "energy.scope"):
            barred |= differ(one, two, first, other, column)
        barred |= one.energy_is_modelled()[first] | two.energy_is_modelled()[other]
        barred &= ~np.isnan(base.value) & ~np.isnan(other_side.value)
    positive = (base.value > 0) & (other_side.value > 0) & ~barred
    ratios = ratio(other_side, base)
    times = np.where(positive, np.exp(np.where(positive, ratios.log, 0.0)), np.nan)
    low, high = (np.where(positive, end, np.nan) for end in ratios.bounds(confidence))
    slack = 1 + MEMORY_RESOLUTION if metric.name == "memory.peak" else 1.0
    clear = (low > slack).astype(np.int8) - (high < 1 / slack).astype(np.int8)
    return Ratios(metric, times, low, high, clear, barred)
