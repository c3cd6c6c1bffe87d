"""Test-time scaling in a report: accuracy over time, the fits of the cost, and picks within times."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from edgebench import record as rec
from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table import placed
from edgebench.analysis.table_types import Table
from edgebench.record import Part, Record
from edgebench.scaling import scaling_text
from edgebench.scaling.accuracy_curves import (
    Cell,
    Point,
    Scaled,
    choices,
    groups,
    scaling_of,
    time_of,
)
from edgebench.scaling.cost_fit import Fit
from edgebench.text.plain_text import plain
from edgebench.units import format_ns

#: Columns of a point, without the mark of the front.
SCALING_NAMES = list(scaling_text.HEAD[1:])
#: Times that somebody may have for an answer; those within the range of the points are shown.
_WITHIN_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0)
_TIMES = {
    "predicted": "seconds to the last vote (predicted), less is better",
    "measured": "seconds to the last vote (measured), less is better",
    "both": "seconds to the last vote (predicted where there are fits), less is better",
}


class ScalingPoint(Part, frozen=True, kw_only=True):
    name: str  # "32 x 2"
    votes: int
    accuracy: float
    accuracy_low: float  # Wilson, 95 %
    accuracy_high: float
    seconds: float  # to the last vote: predicted where there is a fit, else measured
    front: bool
    cells: list[str]  # parallel to Report.scaling_names


class CostPoint(Part, frozen=True, kw_only=True):
    """Holds what was measured at a length, and what the fit says of it."""

    tokens: float
    measured_ms: float
    fitted_ms: float


class CostFit(Part, frozen=True, kw_only=True):
    """Holds what a prompt or a step costs; without points `words` say why it is unknown."""

    name: str
    x_title: str
    words: str
    points: list[CostPoint]


class ScalingCell(Part, frozen=True, kw_only=True):
    row: int
    label: str
    asked: str
    doubts: list[str]
    agreement: str  # of predicted and measured times
    points: list[ScalingPoint]  # by time
    fits: list[CostFit]


class ScalingPick(Part, frozen=True, kw_only=True):
    within: str  # "2.00 s", "any time"
    text: str


class ScalingGroup(Part, frozen=True, kw_only=True):
    """Holds what more tokens and votes bring on one device."""

    name: str
    device: str
    x_title: str
    cells: list[ScalingCell]
    picks: list[ScalingPick]


class Answers:
    """Keeps, of the records that pass by, the replicates that say what answers cost."""

    def __init__(self) -> None:
        self.replicates: dict[int, list[rec.Replicate]] = {}  # by the place of the row
        self.asked = False  # whether any record answered problems

    def noting(self, records: Iterable[Record]) -> Iterator[Record]:
        """The same records."""
        for place, record in placed(records):
            good = [part for part in record.replicates if part.status == "ok" and part.generate]
            if good:
                self.replicates[place] = good
                self.asked = self.asked or any(part.scaling is not None for part in good)
            yield record


def scalings_of(table: Table, answers: Answers) -> list[ScalingGroup]:
    """A group for each device and workload that answered problems."""
    if not answers.asked:
        return []
    cells = [Cell(index, table.rows[index], kept) for index, kept in answers.replicates.items()]
    curves = scaling_of(cells)
    return [_group(table, members, curves.pad) for members in groups(curves.cells).values()]


def _group(table: Table, cells: Sequence[Scaled], pad: int) -> ScalingGroup:
    rows = [table.rows[cell.row] for cell in cells]
    names = [plain(name) for name in labels(rows)]
    if len({row.backend for row in rows}) == 1:
        names = [plain(f"{rows[0].backend} {name}") for name in names]
    predicted = {point.predicted_ns is not None for cell in cells for point in cell.points}
    by = "both" if len(predicted) > 1 else "predicted" if True in predicted else "measured"
    return ScalingGroup(
        name=plain(f"{rows[0].workload}@{rows[0].workload_version}"),
        device=plain(rows[0].device),
        x_title=_TIMES[by],
        cells=[_cell(cell, name, pad) for cell, name in zip(cells, names, strict=True)],
        picks=list(
            _picks(cells, {cell.row: name for cell, name in zip(cells, names, strict=True)})
        ),
    )


def _cell(cell: Scaled, name: str, pad: int) -> ScalingCell:
    length = f"tokens of the prompt, rounded up to {pad}s" if pad > 1 else "tokens of the prompt"
    return ScalingCell(
        row=cell.row,
        label=f"{name} (struck)" if cell.left_out else name,
        asked=scaling_text.asked_words(cell),
        doubts=scaling_text.doubts(cell),
        agreement=scaling_text.agreement_words(cell),
        points=[_point(point) for point in cell.points],
        fits=[
            _fit("Prefill", length, scaling_text.prefill_words(cell, pad), cell.prefill),
            _fit("Decode step", "tokens before the step", scaling_text.decode_words(cell), cell.decode),
        ],
    )  # fmt: skip


def _point(point: Point) -> ScalingPoint:
    return ScalingPoint(
        name=f"{point.budget} \u00d7 {point.votes}",
        votes=point.votes,
        accuracy=point.accuracy,
        accuracy_low=point.accuracy_low,
        accuracy_high=point.accuracy_high,
        seconds=time_of(point) / 1e9,
        front=point.front,
        cells=list(scaling_text.point_cells(point)[1:]),
    )


def _fit(name: str, x_title: str, words: str, fit: Fit | None) -> CostFit:
    points = [] if fit is None else [(tokens, ns, fit.at(tokens)) for tokens, ns in fit.measured]
    return CostFit(
        name=name,
        x_title=x_title,
        words=plain(words),
        points=[
            CostPoint(tokens=tokens, measured_ms=ns / 1e6, fitted_ms=fitted / 1e6)
            for tokens, ns, fitted in points
        ],
    )


def _picks(cells: Sequence[Scaled], names: dict[int, str]) -> Iterator[ScalingPick]:
    """Within each time that some points keep and others miss, and without a limit."""
    seconds = [time_of(point) / 1e9 for cell in cells if not cell.left_out for point in cell.points]
    kept = [limit for limit in _WITHIN_S if seconds and min(seconds) <= limit < max(seconds)]
    for limit_s in (*kept, None):
        limit_ns = None if limit_s is None else limit_s * 1e9
        (choice,) = choices(cells, limit_ns)
        yield ScalingPick(
            within="any time" if limit_ns is None else format_ns(limit_ns),
            text=scaling_text.pick_words(choice, names),
        )
