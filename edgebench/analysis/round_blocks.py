"""Rounds as blocks: how far ratios between cells of one run may be off.

The cells of a run are measured in rounds, one fresh process of each cell a round. A slow minute of the
machine meets all cells of a round alike, so what a round has in common is taken out before cells are
compared: y[cell, round] = cell + round + rest, on logarithms (a randomised complete block design;
Box, Hunter and Hunter 2005, chapter 4). Four things make it hold on real machines:

- Cells differ in their spread: with two threads, a process may fall into one of two speeds. Each cell has a
  variance of its own (Grubbs 1948), by restricted maximum likelihood: a round is what its calm cells say it
  is, so that a cell of two speeds does not widen the ratio of two others.
- Few rounds tell a variance badly. Each cell's is moderated towards that of all cells as far as theirs agree
  (Smyth 2004, the prior of limma), and less the more it lies above them (as Phipson et al. 2016 do).
- From `MIN_ROBUST_ROUNDS` rounds on, a value far off its round and cell, by the spread of its own cell,
  counts less: Huber's pseudo-values (Huber and Ronchetti 2009, section 7.6) take the place of the values.
- A cell may lack rounds. Its mean is then what it would be over all rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgebench.analysis.competition import Group, group_of
from edgebench.analysis.table_types import Paired, Row
from edgebench.metrics import value_at

Numbers = NDArray[np.float64]

#: Rounds that a cell must have been measured in to be a part of a block.
MIN_ROUNDS = 2
MIN_ROBUST_ROUNDS = 5
#: A value that lies further off than so many robust standard deviations counts less.
MAX_DEVIATION = 3.0
#: No cell alone says what a round is: two at least, so that ratios of either are of both.
MAX_SHARE = 0.5
_NORMAL_MAD = 1.4826  # standard deviation over median absolute deviation of normal values
#: Steps of the iterations; blocks of many runs take the same as each alone.
_MEDIAN_STEPS, _ROBUST_STEPS, _VARIANCE_STEPS = 3, 15, 10
_BACKFIT_STEPS = 40  # of a design that lacks values; each takes the error to a half or less
#: Few cells that look alike do not show that they are: their variances are taken to differ by this share of a
#: standard error more than they seem to, and the prior weighs no more than so many degrees of freedom.
_CAUTION = 0.5
_MAX_PRIOR_DEGREES = 8.0
_MIN_VARIANCE = 1e-24  # of equal values, whose logarithm is needed


class Fit(NamedTuple):
    """Blocks of equal shape, all (blocks, cells). mean: logarithm of each cell, over all rounds. error:
    of it, as far as cells of the block are compared: the logarithm of a ratio has hypot of both.
    degrees: of freedom of that error."""

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
    values = np.where(shown, values, 0.0)
    if design.rounds >= MIN_ROBUST_ROUNDS:
        values = _without_outliers(design, values)
    variance = np.ones(values.shape[:2])
    for _ in range(_VARIANCE_STEPS):
        shares = design.shares(variance)
        cells, rounds = design.least_squares(values, shares)
        own, each = design.variances(values - cells[..., None] - rounds[:, None, :], shares)
        variance, prior = _moderated(own, each)
    return Fit(
        mean=cells + rounds[:, design.of_round > 0].mean(axis=-1)[:, None],
        error=np.sqrt(design.error_squares(variance, shares)),
        degrees=design.degrees_of(prior),
    )


class _Design:
    """Says which cell was measured in which round, and what follows from that alone."""

    def __init__(self, shown: NDArray[np.bool_]) -> None:
        self.shown = shown
        self.complete = bool(shown.all())
        self.cells = len(shown)
        self.of_cell, self.of_round = shown.sum(axis=1), shown.sum(axis=0)
        self.rounds = int((self.of_round > 1).sum())
        #: Degrees of freedom of the rest: rounds of a single cell tell nothing.
        self.degrees = float(shown.sum() - self.cells - (self.of_round > 0).sum() + 1)

    def shares(self, variance: Numbers) -> Numbers:
        """Returns how much each cell says of each round (blocks, cells, rounds), one over its variance; no
        more than `MAX_SHARE` where several were measured."""
        weight = np.where(self.shown, (1 / np.maximum(variance, _MIN_VARIANCE))[..., None], 0.0)
        share = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
        for _ in range(2):  # what is taken from one may lift a second to the limit
            most = np.where(self.of_round > 1, MAX_SHARE, 1.0)
            beyond = np.maximum(share - most, 0.0)
            room = np.where(share >= most, 0.0, share)
            part = room / np.maximum(room.sum(axis=1, keepdims=True), 1e-300)
            share = share - beyond + beyond.sum(axis=1, keepdims=True) * part
        return np.asarray(share)

    def least_squares(self, values: Numbers, shares: Numbers) -> tuple[Numbers, Numbers]:
        """Returns the cells (blocks, cells) and the rounds (blocks, rounds), in turns until they settle."""
        cells = values.sum(axis=-1) / self.of_cell
        for _ in range(1 if self.complete else _BACKFIT_STEPS):
            rounds = (shares * (values - cells[..., None])).sum(axis=1)
            rest = np.where(self.shown, values - rounds[:, None, :], 0.0)
            cells = rest.sum(axis=-1) / self.of_cell
        return cells, rounds

    def variances(self, rest: Numbers, shares: Numbers) -> tuple[Numbers, Numbers]:
        """Returns each cell's own variance, and the degrees of freedom that it has."""
        left = np.where(self.shown, 1 - shares, 0.0).sum(axis=-1)
        each = left * self.degrees / left.sum(axis=-1, keepdims=True)
        return np.where(self.shown, np.square(rest), 0.0).sum(axis=-1) / each, each

    def error_squares(self, variance: Numbers, shares: Numbers) -> Numbers:
        """Returns parts for each cell whose sums are the variances of the differences of two."""
        least = variance / self.of_cell
        if self.complete:
            return np.asarray(least)
        covariance = self._covariance(variance, shares)
        own = np.diagonal(covariance, axis1=1, axis2=2)
        apart = own[:, :, None] + own[:, None, :] - 2 * covariance
        if self.cells == 2:
            return np.asarray(np.maximum(apart.sum(axis=-1) / 2, least))
        of_each = apart.sum(axis=-1)
        of_all = of_each.sum(axis=-1, keepdims=True) / (2 * (self.cells - 1))
        return np.asarray(np.maximum((of_each - of_all) / (self.cells - 2), least))

    def _covariance(self, variance: Numbers, shares: Numbers) -> Numbers:
        """Returns that of the cells (blocks, cells, cells), which solve `normal @ cells = apart`, up to what all have
        in common."""
        shown = self.shown.astype(np.float64)
        of_cell = np.eye(self.cells) * self.of_cell
        normal = of_cell - np.einsum("ir,bjr->bij", shown, shares) + 1 / self.cells
        crossed = np.einsum("bir,jr->bij", shares * variance[..., None], shown)
        crossed = crossed + np.swapaxes(crossed, 1, 2)
        of_rounds = np.einsum("bjr,bj->br", np.square(shares), variance)
        shared = np.einsum("ir,br,jr->bij", shown, of_rounds, shown)
        apart = of_cell * variance[:, None, :] - crossed + shared
        half = np.linalg.solve(normal, apart)
        return np.asarray(np.linalg.solve(normal, np.swapaxes(half, 1, 2)))

    def degrees_of(self, prior: Numbers) -> NDArray[np.intp]:
        """Returns the degrees of freedom of each cell in a comparison: of two cells alone, those of the paired t."""
        paired = self.degrees / (self.cells - 1) * self.of_cell / self.of_cell.mean()
        return np.asarray(np.clip(paired + prior, 1, self.degrees), dtype=np.intp)


def _without_outliers(design: _Design, values: Numbers) -> Numbers:
    """Returns Huber's pseudo-values."""
    cells, rounds = _medians(design, values)
    correction = _NORMAL_MAD * np.sqrt(design.shown.sum() / design.degrees)
    for _ in range(_ROBUST_STEPS):
        fitted = cells[..., None] + rounds[:, None, :]
        away = np.abs(np.where(design.shown, values - fitted, np.nan))
        of_all = np.nanmedian(away, axis=(1, 2))[:, None]
        scale = correction * np.maximum(of_all, np.nanmedian(away, axis=2))
        limit = MAX_DEVIATION * scale[..., None]
        clipped = np.where(design.shown, fitted + np.clip(values - fitted, -limit, limit), 0.0)
        cells, rounds = design.least_squares(clipped, design.shares(np.square(scale)))
    fitted = cells[..., None] + rounds[:, None, :]
    rest = values - fitted
    inside = np.where(design.shown, np.abs(rest) <= limit, False).sum(axis=(1, 2), keepdims=True)
    stretch = 1 / np.maximum(inside / design.shown.sum(), 0.5)
    return np.where(design.shown, fitted + stretch * np.clip(rest, -limit, limit), 0.0)


def _medians(design: _Design, values: Numbers) -> tuple[Numbers, Numbers]:
    """Returns cells and rounds that half of the values cannot move (Tukey's median polish)."""
    shown = np.where(design.shown, values, np.nan)
    cells = np.nanmedian(shown, axis=-1)
    rounds = np.zeros((len(values), values.shape[-1]))
    some = design.of_round > 0
    for _ in range(_MEDIAN_STEPS):
        rounds[:, some] = np.nanmedian((shown - cells[..., None])[..., some], axis=1)
        cells = np.nanmedian(shown - rounds[:, None, :], axis=-1)
    return cells, rounds


def _moderated(own: Numbers, each: Numbers) -> tuple[Numbers, Numbers]:
    """Returns variances of the cells moderated towards that of all, and the prior's degrees of freedom.

    own: (blocks, cells) with so many degrees of freedom `each`. The prior's degrees are those at which the
    logarithms of the cells' variances would spread as they do (Smyth 2004, section 6.2), and a little less.
    For a cell whose variance is k times the prior's they are k times fewer: a cell that is pulled to calmer
    ones would look surer than it is. Two cells have one rest between them, and nothing to agree on.
    """
    cells = own.shape[-1]
    if cells == 2:
        return own, np.zeros_like(own)
    logs = np.log(np.maximum(own, _MIN_VARIANCE))
    spread = logs.var(axis=-1, ddof=1)
    doubt = _CAUTION * np.sqrt(2 / (cells - 1)) * spread
    excess = spread + doubt - _trigamma(each / 2).mean(axis=-1)
    prior = np.minimum(_prior_degrees(excess), _MAX_PRIOR_DEGREES)[:, None]
    middle = (logs + _log_bias(each)).mean(axis=-1, keepdims=True)
    common = np.exp(middle - _log_bias(prior))
    prior = prior * np.minimum(common / np.maximum(own, _MIN_VARIANCE), 1.0)
    return (prior * common + each * own) / (prior + each), prior


def _log_bias(degrees: Numbers) -> Numbers:
    """How much the logarithm of a variance with so many degrees of freedom falls short, on average."""
    half = degrees / 2
    return np.asarray(np.log(half) - _digamma(half))


def _prior_degrees(excess: Numbers) -> Numbers:
    """d with trigamma(d / 2) = excess, by bisection on its logarithm."""
    low, high = np.full(excess.shape, -5.0), np.full(excess.shape, 10.0)
    for _ in range(40):
        middle = (low + high) / 2
        above = _trigamma(np.exp(middle) / 2) > excess
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return np.where(excess > 0, np.exp(low), np.inf)


def _digamma(x: Numbers) -> Numbers:
    """The derivative of log gamma (Abramowitz and Stegun 6.3.5 and 6.3.18)."""
    total = np.zeros_like(x)
    for step in range(6):
        total -= 1 / (x + step)
    x = x + 6
    return np.asarray(total + np.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4))


def _trigamma(x: Numbers) -> Numbers:
    """The second derivative of log gamma (Abramowitz and Stegun 6.4.6 and 6.4.12)."""
    total = np.zeros_like(x)
    for step in range(6):
        total += 1 / np.square(x + step)
    x = x + 6
    return np.asarray(total + 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5))


# --- blocks of rows


#: Metrics that are compared round by round -> dotted path, from a row, of the values of its replicates.
SERIES = {
    "latency.p50": "latency_ns.p50_of_replicates",
    "latency.p90": "latency_ns.p90_of_replicates",
    "latency.p99": "latency_ns.p99_of_replicates",
    "throughput": "throughput_of_replicates_per_s",
    "generate.ttft": "generate.ttft_of_replicates_ns",
    "generate.tpot": "generate.tpot_of_replicates_ns",
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
    for name, path in SERIES.items():
        for index, paired in _paired(rows, list(blocks.values()), path):
            found[index][name] = paired
    return [
        msgspec.structs.replace(row, paired=found[index]) if index in found else row
        for index, row in enumerate(rows)
    ]


def _paired(
    rows: Sequence[Row], blocks: Sequence[Sequence[int]], path: str
) -> list[tuple[int, Paired]]:
    """Returns the fitted value of each row of each block; blocks of one design are fitted at once."""
    alike: dict[bytes, list[tuple[list[int], Numbers]]] = defaultdict(list)
    designs: dict[bytes, NDArray[np.bool_]] = {}
    for members in blocks:
        cells, values = _matrix(rows, members, path)
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
                    degrees=int(fitted.degrees[number, place]),
                )
                pairs.append((cell, paired))
    return pairs


def _matrix(rows: Sequence[Row], members: Sequence[int], path: str) -> tuple[list[int], Numbers]:
    """Rows that can be compared round by round, and their logarithms (cells, rounds); NaN where a
    cell lacks a round. A round that a cell was measured in twice counts by the mean of both."""
    told: dict[int, dict[int, list[float]]] = {}
    for index in members:
        values = value_at(rows[index], path) or ()
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
