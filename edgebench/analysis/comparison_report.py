"""A comparison as typed objects, `edgebench.compare/1`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Final, Literal, NamedTuple

import numpy as np

from edgebench.analysis.comparison import (
    COLUMNS_OF,
    REASONS,
    Comparison,
    Pairing,
    Ratios,
    cell_name,
    differ,
)
from edgebench.analysis.frame import Frame, Identity, Indices, Numbers
from edgebench.analysis.frontier_report import Value, value_of
from edgebench.analysis.per_row.environment_differences import Difference
from edgebench.analysis.uncertainty import known, uncertain
from edgebench.backend import Scalar
from edgebench.metrics import Metric
from edgebench.record import Part
from edgebench.words import note_words

SCHEMA: Final = "edgebench.compare/1"
_CLEAR: tuple[Literal["open", "higher", "lower"], ...] = ("open", "higher", "lower")


class SideFacts(Part, frozen=True, kw_only=True):
    name: str
    rows: int
    devices: list[str]
    runs: list[str]


class Ratio(Part, frozen=True, kw_only=True):
    ratio: float
    low: float | None  # interval (Welch's t over replicates); None: one has no interval
    high: float | None
    clear: Literal["open", "higher", "lower"]  # whether the interval tells the two apart


class CellMetric(Part, frozen=True, kw_only=True):
    metric: str
    unit: str
    better: Literal["higher", "lower"]
    values: list[Value | None]  # of each side; None: unknown, or the cell may not be compared there
    ratios: list[Ratio | None]  # of each side to the first, of which it is None


class Cell(Part, frozen=True, kw_only=True):
    """A cell that the first side and at least one other may be compared in."""

    cell: str  # id without the version of the workload
    device: str | None  # None: cells of several devices stand side by side
    workload: str
    workload_version: int
    backend: str
    variant: dict[str, Scalar]
    scenario: str
    rate_per_s: float | None
    rows: list[int | None]  # of each side, the place of its row; None: may not be compared
    metrics: list[CellMetric]


class NotComparable(Part, frozen=True, kw_only=True):
    """A cell, or one metric of it, that may not be compared, and why."""

    cell: str
    device: str
    run: str
    sides: list[str]  # which sides it is about
    code: str
    reason: str
    metric: str | None = None  # None: the whole cell


class ComparisonReport(Part, frozen=True, kw_only=True):
    schema: Literal["edgebench.compare/1"] = SCHEMA
    confidence: float
    sides: list[SideFacts]
    environment: list[Difference]
    cells: list[Cell]
    not_comparable: list[NotComparable]
    notes: list[str]


def report(comparison: Comparison, most: int | None = None) -> ComparisonReport:
    """The whole comparison, or its first `most` cells and reasons."""
    notes = [note_words.DRIFT]
    if any(side.environment is None for side in comparison.sides):
        notes.append(note_words.NO_ENVIRONMENT)
    notes += _ran_otherwise(comparison)
    return ComparisonReport(
        confidence=comparison.confidence,
        sides=[_side(side.name, side.frame) for side in comparison.sides],
        environment=comparison.differences,
        cells=list(cells(comparison, most)),
        not_comparable=list(islice(not_comparable(comparison), most)),
        notes=notes,
    )


def _ran_otherwise(comparison: Comparison) -> Iterator[str]:
    """Cells that are compared, but of which a runtime chose another device or number of threads: the
    same was asked for."""
    one = comparison.sides[0]
    for side, pairing in zip(comparison.sides[1:], comparison.pairings, strict=True):
        places = pairing.compared
        first, other = pairing.first[places], pairing.other[places]
        for column, what in (("effective.device", "device"), ("effective.threads", "threads")):
            differs = differ(one.frame, side.frame, first, other, column)
            differences = Counter(
                (
                    str(one.frame.text("backend", mine)),
                    str(one.frame.text(column, mine)),
                    str(side.frame.text(column, theirs)),
                )
                for mine, theirs in zip(
                    first[differs].tolist(), other[differs].tolist(), strict=True
                )
            )
            for (backend, mine, theirs), count in differences.items():
                sides = one.name, side.name
                yield note_words.ran_otherwise(count, backend, what, (mine, theirs), sides)


def _side(name: str, frame: Frame) -> SideFacts:
    return SideFacts(
        name=name,
        rows=len(frame),
        devices=[str(name) for name in frame.codes("device").names if name is not None],
        runs=[str(name) for name in frame.codes("run").names if name is not None],
    )


def cells(comparison: Comparison, most: int | None = None) -> Iterator[Cell]:
    """In the order of the first side; with a limit, those that changed most first."""
    places: dict[int, list[int | None]] = {}  # row of the first side -> place in each pairing
    for number, pairing in enumerate(comparison.pairings):
        for place in _ordered(pairing, most):
            row = int(pairing.first[place])
            places.setdefault(row, [None] * len(comparison.pairings))[number] = int(place)
    rows = list(places) if most is not None else sorted(places)
    columns = [
        [_column(side.frame, metric, comparison.confidence) for side in comparison.sides]
        for metric in comparison.metrics
    ]
    for row in rows[:most]:
        pairs = list(zip(comparison.pairings, places[row], strict=True))
        at = [row, *(place if place is None else int(pair.other[place]) for pair, place in pairs)]
        better = comparison.sides[0].frame.text("quality.better", row)
        metrics = []
        for number, metric in enumerate(comparison.metrics):
            values = [
                None if which is None else column.at(which)
                for column, which in zip(columns[number], at, strict=True)
            ]
            if all(value is None for value in values):
                continue
            ratios = [
                None if place is None else _ratio(pair.ratios[number], place)
                for pair, place in pairs
            ]
            metrics.append(
                CellMetric(
                    metric=metric.name,
                    unit=metric.unit,
                    better=metric.better or better or "higher",
                    values=values,
                    ratios=[None, *ratios],
                )
            )
        yield _cell(comparison.sides[0].frame.identity(row), at, metrics, comparison)


class _Column(NamedTuple):
    """A metric of the rows of a side, with the ends of its interval."""

    value: Numbers
    low: Numbers
    high: Numbers

    def at(self, row: int) -> Value | None:
        if np.isnan(self.value[row]):
            return None
        return value_of(self.value[row], self.low[row], self.high[row])


def _column(frame: Frame, metric: Metric, confidence: float) -> _Column:
    of = uncertain(frame, metric)
    return _Column(of.value, *of.bounds(confidence))


def _ordered(pairing: Pairing, most: int | None) -> Indices:
    """Pairs that may be compared; with a limit, by how far the first metric moved."""
    places = pairing.compared
    if most is None or len(places) <= most or not pairing.ratios:
        return places
    with np.errstate(divide="ignore"):
        moved = np.nan_to_num(np.abs(np.log(pairing.ratios[0].ratio[places])))
    return places[np.argsort(-moved, kind="stable")[:most]]


def _cell(
    identity: Identity, at: list[int | None], metrics: list[CellMetric], comparison: Comparison
) -> Cell:
    devices = {
        side.frame.text("device", which)
        for side, which in zip(comparison.sides, at, strict=True)
        if which is not None
    }
    return Cell(
        cell=cell_name(identity.id),
        device=identity.device if len(devices) == 1 else None,
        workload=identity.workload,
        workload_version=identity.workload_version,
        backend=identity.backend,
        variant=identity.variant,
        scenario=identity.scenario,
        rate_per_s=identity.rate_per_s,
        rows=at,
        metrics=metrics,
    )


def _ratio(ratios: Ratios, place: int) -> Ratio | None:
    if np.isnan(ratios.ratio[place]):
        return None
    return Ratio(
        ratio=float(ratios.ratio[place]),
        low=known(ratios.low[place]),
        high=known(ratios.high[place]),
        clear=_CLEAR[ratios.clear[place]],
    )


def not_comparable(comparison: Comparison) -> Iterator[NotComparable]:
    """Every cell that is on one side alone, or may not be compared; every row that a later one of
    its side replaces; every metric whose two values are of another kind."""
    one = comparison.sides[0]
    for side, older in zip(comparison.sides, comparison.superseded, strict=True):
        for row in older:
            run = str(side.frame.text("run", int(row)))
            why = note_words.replaced_row(side=side.name, run=run)
            yield _why(side.frame, int(row), [side.name], "superseded", why)
    for side, pairing in zip(comparison.sides[1:], comparison.pairings, strict=True):
        for row in pairing.only_first:
            why = note_words.missing_in(side=side.name)
            yield _why(one.frame, int(row), [side.name], "missing", why)
        for row in pairing.only_other:
            why = note_words.missing_in(side=one.name)
            yield _why(side.frame, int(row), [one.name], "missing", why)
        for place in np.flatnonzero(pairing.reason):
            code = REASONS[pairing.reason[place]]
            rows = int(pairing.first[place]), int(pairing.other[place])
            why = _words(code, (one.name, side.name), (one.frame, side.frame), rows)
            yield _why(one.frame, rows[0], [one.name, side.name], code, why)
        for ratios in pairing.ratios:
            for place in np.flatnonzero(ratios.barred & (pairing.reason == 0)):
                rows = int(pairing.first[place]), int(pairing.other[place])
                names, metric = [one.name, side.name], ratios.metric.name
                code, why = _why_barred((one.name, side.name), (one.frame, side.frame), rows)
                yield _why(one.frame, rows[0], names, code, why, metric)


def count_not_comparable(comparison: Comparison) -> int:
    """How many `not_comparable` yields."""
    count = sum(len(older) for older in comparison.superseded)
    for pairing in comparison.pairings:
        count += len(pairing.only_first) + len(pairing.only_other)
        count += int(np.count_nonzero(pairing.reason))
        for ratios in pairing.ratios:
            count += int(np.count_nonzero(ratios.barred & (pairing.reason == 0)))
    return count


def _why(
    frame: Frame, row: int, sides: list[str], code: str, reason: str, metric: str | None = None
) -> NotComparable:
    identity = frame.identity(row)
    return NotComparable(
        cell=cell_name(identity.id) if code != "superseded" else identity.id,
        device=identity.device,
        run=identity.run,
        sides=sides,
        code=code,
        reason=reason,
        metric=metric,
    )


def _origin(frame: Frame, row: int) -> str:
    kind, scope = frame.text("energy.kind", row), frame.text("energy.scope", row)
    return note_words.origin_of_energy(kind=str(kind), scope=str(scope))


def _why_barred(
    names: tuple[str, str], frames: tuple[Frame, Frame], rows: tuple[int, int]
) -> tuple[str, str]:
    """Code and words of two energies that may not be compared."""
    if any(frame.energy_is_modelled()[row] for frame, row in zip(frames, rows, strict=True)):
        return "energy_modelled", note_words.ENERGY_MODELLED
    origins = _origin(frames[0], rows[0]), _origin(frames[1], rows[1])
    return "energy_differs", note_words.energy_of_sides(origins, names)


def _words(
    code: str, names: tuple[str, str], frames: tuple[Frame, Frame], rows: tuple[int, int]
) -> str:
    if code in COLUMNS_OF:
        one, two = (
            str(frame.text(COLUMNS_OF[code], row))[:12]
            for frame, row in zip(frames, rows, strict=True)
        )
        return note_words.values_differ(code, (one, two), names)
    parts = []
    for name, frame, row in zip(names, frames, rows, strict=True):
        status = str(frame.text("status", row))
        if status != "ok" or (code == "not_ranked" and frame.numbers("ranked")[row] != 1):
            why = note_words.state_of_row(status, frame.messages(row), note_words.NO_REASON)
            parts.append(f"{name}: {why}")
    return "; ".join(parts)
