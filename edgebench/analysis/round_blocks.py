"""Rounds as blocks: how far ratios between cells of one run may be off.

The cells of a run are measured in rounds, one fresh process of each cell a round. A slow minute of the
machine meets all cells of a round alike, so what a round has in common is taken out before cells are
compared: y[cell, round] = cell + round + rest, on logarithms (a randomised complete block design;
Box, Hunter and Hunter 2005, chapter 4). Three things make it hold on real machines:

- Cells differ in their spread. Each cell's variance is its own, moderated towards that of all cells as
  far as theirs agree (Smyth 2004, the prior of limma): nearly pooled where they are alike, nearly its
  own where they are not.
- From `MIN_ROBUST_ROUNDS` rounds on, a value far off its round and cell counts less: Huber's
  pseudo-values (Huber and Ronchetti 2009, section 7.6) take the place of the values.
- A cell may lack rounds. Its mean is then what it would be over all rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.competition import Group, group_of
from edgebench.analysis.table_types import Paired, Row

if TYPE_CHECKING:
    from collections.abc import Callable

Numbers = NDArray[np.float64]

#: Rounds that a cell must have been measured in to be a part of a block.
MIN_ROUNDS = 2
MIN_ROBUST_ROUNDS = 5
#: A value that lies further off than so many robust standard deviations counts less.
MAX_DEVIATION = 3.0
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation of normal values
_MAX_ITERATIONS = 50
#: Few cells that look alike do not show that they are: their variances are taken to differ by this share of a
#: standard error more than they seem to, and the prior weighs no more than so many degrees of freedom.
_CAUTION = 0.5
_MAX_PRIOR_DEGREES = 8.0
_MIN_VARIANCE = 1e-24  # of equal values, whose logarithm is needed


class Fit(NamedTuple):
    """Blocks of equal shape. mean (blocks, cells): logarithm of each cell, over all rounds. error
    (blocks, cells): of it, as far as cells of the block are compared: the logarithm of a ratio has
    hypot of both. degrees (blocks,): of freedom of these errors."""

    mean: Numbers
    error: Numbers
    degrees: NDArray[np.intp]


def fit(values: Numbers, measured: NDArray[np.bool_] | None = None) -> Fit:
    """Fits blocks (blocks, cells, rounds) of logarithms.

    All blocks share `measured` (cells, rounds), which says where there is a value; by default
    everywhere. Every cell needs `MIN_ROUNDS` values, and cells must be connected by rounds.
    """
    shown = np.ones(values.shape[1:], dtype=bool) if measured is None else measured
    design = _Design(shown)
    fitted = design.fitted(values)
    if design.rounds >= MIN_ROBUST_ROUNDS:
        values, fitted = _without_outliers(design, values, fitted)
    rest = np.where(shown, values - fitted, 0.0)
    own = np.square(rest).sum(axis=-1) * design.scale
    variance, degrees = _moderated(own, design)
    error = np.sqrt(variance * design.leverage)
    return Fit(design.means(values), error, np.maximum(degrees, 1).astype(np.intp))


class _Design:
    """Which cell was measured in which round, and what follows from that alone."""

    def __init__(self, shown: NDArray[np.bool_]) -> None:
        self.shown = shown
        self.weight = shown.astype(np.float64)
        self.cells = len(shown)
        self.of_cell, self.of_round = self.weight.sum(axis=1), self.weight.sum(axis=0)
        self.rounds = int((self.of_round > 1).sum())
        total = self.weight.sum()
        #: Degrees of freedom of the rest: rounds of a single cell tell nothing.
        self.degrees = float(total - self.cells - (self.of_round > 0).sum() + 1)
        self.scale = total / self.degrees / self.of_cell
        self.of_each = self.degrees * self.of_cell / total
        share = self.weight / np.maximum(self.of_round, 1)
        self._share = share
        normal = np.diag(self.of_cell) - share @ self.weight.T
        self._inverse = np.linalg.pinv(normal)
        self.leverage = np.diag(self._inverse) * self.cells / (self.cells - 1)

    def _cells_of(self, values: Numbers) -> Numbers:
        """Least squares of the cells, up to a common constant."""
        shown = np.where(self.shown, values, 0.0)
        of_rounds = shown.sum(axis=-2) / np.maximum(self.of_round, 1)
        apart = shown.sum(axis=-1) - (of_rounds[..., None, :] * self.weight).sum(axis=-1)
        return np.asarray(apart @ self._inverse)

    def _rounds_of(self, values: Numbers, cells: Numbers) -> Numbers:
        apart = np.where(self.shown, values - cells[..., :, None], 0.0)
        return np.asarray(apart.sum(axis=-2) / np.maximum(self.of_round, 1))

    def fitted(self, values: Numbers) -> Numbers:
        cells = self._cells_of(values)
        return np.asarray(cells[..., :, None] + self._rounds_of(values, cells)[..., None, :])

    def means(self, values: Numbers) -> Numbers:
        """Returns the mean of each cell over all rounds in which any cell was measured."""
        cells = self._cells_of(values)
        rounds = self._rounds_of(values, cells)[..., self.of_round > 0]
        return np.asarray(cells + rounds.mean(axis=-1)[..., None])


def _without_outliers(design: _Design, values: Numbers, fitted: Numbers) -> tuple[Numbers, Numbers]:
    """Huber's pseudo-values and what is fitted to them."""
    fitted = _by_medians(design, values)
    correction = np.sqrt(design.shown.sum() / design.degrees)
    for _ in range(_MAX_ITERATIONS):
        rest = values - fitted
        middle = np.nanmedian(
            np.where(design.shown, np.abs(rest), np.nan), axis=(-2, -1), keepdims=True
        )
        limit = MAX_DEVIATION * _NORMAL_MAD * correction * middle
        after = design.fitted(fitted + np.clip(rest, -limit, limit))
        moved = np.abs(after - fitted).max()
        fitted = after
        if moved < 1e-10:
            break
    rest = values - fitted
    inside = np.where(design.shown, np.abs(rest) <= limit, False).sum(axis=(-2, -1), keepdims=True)
    stretch = 1 / np.maximum(inside / design.shown.sum(), 0.5)
    return fitted + stretch * np.clip(rest, -limit, limit), fitted


def _by_medians(design: _Design, values: Numbers) -> Numbers:
    """A fit that half of the values cannot move: medians of rounds, then of cells."""
    shown = np.where(design.shown, values, np.nan)
    rounds = np.nan_to_num(np.nanmedian(shown[..., design.of_round > 0], axis=-2, keepdims=True))
    of_rounds = np.zeros((*values.shape[:-2], 1, values.shape[-1]))
    of_rounds[..., design.of_round > 0] = rounds
    return np.asarray(of_rounds + np.nanmedian(shown - of_rounds, axis=-1, keepdims=True))


def _moderated(own: Numbers, design: _Design) -> tuple[Numbers, Numbers]:
    """Variances of the cells moderated towards their mean, and degrees of freedom of each block.

    The prior's degrees of freedom are those at which the logarithms of the cells' variances would
    spread as they do (Smyth 2004, section 6.2), and a little less: a variance that is pulled to the mean of
    calmer cells makes its cell look surer than it is.
    """
    each = float(design.of_each.mean())
    mean = own.mean(axis=-1, keepdims=True)
    spread = np.log(np.maximum(own, _MIN_VARIANCE)).var(axis=-1, ddof=1)
    doubt = _CAUTION * np.sqrt(2 / (design.cells - 1)) * spread
    excess = spread + doubt - _trigamma(np.array(each / 2))
    prior = np.minimum(_prior_degrees(excess), _MAX_PRIOR_DEGREES)
    share = (1 / (1 + each / prior))[..., None]
    variance = share * mean + (1 - share) * own
    return variance, np.minimum(each + prior, design.degrees)


def _prior_degrees(excess: Numbers) -> Numbers:
    """d with trigamma(d / 2) = excess, by bisection on its logarithm."""
    low, high = np.full(excess.shape, -5.0), np.full(excess.shape, 10.0)
    for _ in range(40):
        middle = (low + high) / 2
        above = _trigamma(np.exp(middle) / 2) > excess
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(excess > 0, np.exp(low), np.inf)


def _trigamma(x: Numbers) -> Numbers:
    """The second derivative of log gamma (Abramowitz and Stegun 6.4.6 and 6.4.12)."""
    total = np.zeros_like(x)
    for step in range(6):
        total += 1 / np.square(x + step)
    x = x + 6
    return np.asarray(total + 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5))


# --- blocks of rows


#: Metrics that are compared round by round, and the values of a row's replicates.
SERIES: dict[str, Callable[[Row], Sequence[float]]] = {
    "latency.p50": lambda row: row.latency_ns.p50_of_replicates,
    "latency.p90": lambda row: row.latency_ns.p90_of_replicates,
    "latency.p99": lambda row: row.latency_ns.p99_of_replicates,
    "throughput": lambda row: row.throughput_of_replicates_per_s,
    "generate.ttft": lambda row: row.generate.ttft_of_replicates_ns if row.generate else (),
    "generate.tpot": lambda row: row.generate.tpot_of_replicates_ns if row.generate else (),
}


class Block(NamedTuple):
    """Rows that share rounds: those of one run that do the same work."""

    run: str
    group: Group


def with_blocks(rows: Sequence[Row]) -> list[Row]:
    """Fills `paired` of all rows whose records say in which rounds they were measured."""
    blocks: dict[Block, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        if row.rounds:
            blocks[Block(row.run, group_of(row))].append(index)
    found: dict[int, dict[str, Paired]] = defaultdict(dict)
    for name, series in SERIES.items():
        for index, paired in _paired(rows, list(blocks.values()), series):
            found[index][name] = paired
    return [
        msgspec.structs.replace(row, paired=found[index]) if index in found else row
        for index, row in enumerate(rows)
    ]


def _paired(
    rows: Sequence[Row], blocks: Sequence[Sequence[int]], series: Callable[[Row], Sequence[float]]
) -> list[tuple[int, Paired]]:
    """Returns the fitted value of each row of each block; blocks of one design are fitted at once."""
    alike: dict[bytes, list[tuple[list[int], Numbers]]] = defaultdict(list)
    designs: dict[bytes, NDArray[np.bool_]] = {}
    for members in blocks:
        cells, values = _matrix(rows, members, series)
        if len(cells) < 2:
            continue
        shown = ~np.isnan(values)
        key = bytes([len(cells)]) + shown.tobytes() if len(cells) < 256 else shown.tobytes()
        designs[key] = shown
        alike[key].append((cells, values))
    pairs = []
    for key, some in alike.items():
        fitted = fit(np.nan_to_num(np.stack([values for _, values in some])), designs[key])
        for number, (cells, _) in enumerate(some):
            for place, cell in enumerate(cells):
                paired = Paired(
                    value=float(np.exp(fitted.mean[number, place])),
                    error=float(fitted.error[number, place]),
                    degrees=int(fitted.degrees[number]),
                )
                pairs.append((cell, paired))
    return pairs


def _matrix(
    rows: Sequence[Row], members: Sequence[int], series: Callable[[Row], Sequence[float]]
) -> tuple[list[int], Numbers]:
    """Rows that can be compared round by round, and their logarithms (cells, rounds); NaN where a
    cell lacks a round. A round that a cell was measured in twice counts by the mean of both."""
    told: dict[int, dict[int, list[float]]] = {}
    for index in members:
        values = series(rows[index])
        if len(values) == len(rows[index].rounds) and len(values) and min(values) > 0:
            by_round: dict[int, list[float]] = defaultdict(list)
            for number, value in zip(rows[index].rounds, values, strict=True):
                by_round[number].append(float(np.log(value)))
            told[index] = by_round
    cells = _connected(told)
    numbers = sorted({number for cell in cells for number in told[cell]})
    column = {number: place for place, number in enumerate(numbers)}
    matrix = np.full((len(cells), len(numbers)), np.nan)
    for place, cell in enumerate(cells):
        for number, logs in told[cell].items():
            matrix[place, column[number]] = sum(logs) / len(logs)
    return cells, matrix


def _connected(told: dict[int, dict[int, list[float]]]) -> list[int]:
    """The largest set of cells that shared rounds connect, each with `MIN_ROUNDS` of them shared."""
    left = {cell: set(rounds) for cell, rounds in told.items()}
    while left:
        count: dict[int, int] = defaultdict(int)
        for rounds in left.values():
            for number in rounds:
                count[number] += 1
        shared = {cell: {n for n in rounds if count[n] > 1} for cell, rounds in left.items()}
        enough = {cell: left[cell] for cell, rounds in shared.items() if len(rounds) >= MIN_ROUNDS}
        if len(enough) == len(left):
            break
        left = enough
    parts: list[tuple[set[int], set[int]]] = []  # cells, rounds
    for cell, rounds in left.items():
        cells, known = {cell}, set(rounds)
        for part in [part for part in parts if part[1] & known]:
            parts.remove(part)
            cells, known = cells | part[0], known | part[1]
        parts.append((cells, known))
    largest = max(parts, key=lambda part: len(part[0]), default=(set(), set()))
    return sorted(largest[0])
