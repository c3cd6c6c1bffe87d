"""Fits a low-rank model of log latency over devices: a new device is a mix of known ones, learned from a few cells.

For cell c on the new device,

    log y(c) = offset + slope * m(c) + sum_k w_k r_k(c) + f(features of c) + noise

with m the mean over known devices, r_k their residuals (all of them, or the largest few directions), and f a smooth
function of what edgebench counts of a cell. Every coefficient has a normal prior, so the model is one Gaussian process
per choice of scales; the choices are weighed by how well they explain the cells that were measured.
docs/predict.md says how well this does on published tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

#: Directions of the residuals that are kept; None: all.
RANKS: Final[tuple[int | None, ...]] = (3, None)
NOISE: Final = (0.02, 0.04, 0.07, 0.12, 0.2)  # standard deviation of a log latency
DEVICE_VARIANCE: Final = (0.5, 2.0, 8.0)  # of weights, relative to the known devices'
FEATURE_SCALE: Final = (0.0, 0.1, 0.2)  # standard deviation of f
SLOPE_SCALE: Final = 0.15
OFFSET_SCALE: Final = 1.0
FEATURE_LENGTH: Final = 1.0  # of standardised features
TEMPERING: Final = 0.5  # of the weights: a few cells say little about the scales
MIN_WEIGHT: Final = 1e-2  # of a choice of scales, relative to the best one
MAX_RESIDUAL_MADS: Final = 4.0  # beyond it a cell of a known device is taken for an accident
_FILLING_PASSES: Final = 5
_FEATURE_WEIGHT: Final = 0.05  # of features in the distance between cells


@dataclass(frozen=True)
class Structure:
    """What known devices have in common, over all cells, and the directions in which they differ."""

    mean: Numbers  # cells
    directions: Numbers  # directions x cells; their mean square is that of a device


@dataclass(frozen=True)
class Prior:
    """Everything that is known before the new device ran anything."""

    structures: tuple[Structure, ...]
    features: Numbers  # cells x features, standardised


@dataclass(frozen=True)
class Posterior:
    """Log latency of the asked cells."""

    mean: Numbers
    deviation: Numbers


@dataclass(frozen=True)
class _Kernel:
    """Covariance of two sets of cells, part by part."""

    common: Numbers
    devices: Numbers
    features: Numbers

    def scaled(self, device_variance: float, feature_scale: float) -> Numbers:
        return self.common + device_variance * self.devices + feature_scale**2 * self.features


def make_prior(log_values: Numbers, features: Numbers) -> Prior:
    """Learns from devices x cells; NaN where a device has not run a cell, and every cell ran somewhere."""
    common, residuals = _centred(log_values)
    plain = common + residuals
    spread = plain.std(axis=1, keepdims=True)
    level = spread if spread.all() else np.ones_like(spread)
    matrices = (plain, plain / level * np.median(level))
    structures = tuple(_structure(matrix, rank) for matrix, rank in product(matrices, RANKS))
    return Prior(structures, _standardised(features))


def _centred(log_values: Numbers) -> tuple[Numbers, Numbers]:
    """The common shape over cells, and each device's difference from it, without offsets and accidents."""
    known = ~np.isnan(log_values)
    offsets = np.nanmean(log_values, axis=1, keepdims=True)
    for _ in range(_FILLING_PASSES):  # a device that ran the slow cells only is not itself slow
        shape = np.nanmean(log_values - offsets, axis=0)
        offsets = np.nanmean(log_values - shape, axis=1, keepdims=True)
    residuals = np.where(known, log_values - offsets - shape, 0.0)
    bound = MAX_RESIDUAL_MADS * 1.4826 * np.median(np.abs(residuals), axis=1, keepdims=True)
    bound = np.where(bound > 0, bound, np.inf)
    return shape - shape.mean(), np.clip(residuals, -bound, bound)


def _structure(matrix: Numbers, rank: int | None) -> Structure:
    mean = matrix.mean(axis=0)
    residuals = matrix - mean
    if rank is not None:
        left, sizes, right = np.linalg.svd(residuals, full_matrices=False)
        residuals = (left[:, :rank] * sizes[:rank]) @ right[:rank]
    return Structure(mean, residuals / np.sqrt(len(matrix)))


def _standardised(features: Numbers) -> Numbers:
    spread = features.std(axis=0)
    varied = features[:, spread > 0]
    return np.asarray((varied - varied.mean(axis=0)) / spread[spread > 0], dtype=np.float64)


def condition(prior: Prior, cells: Indices, log_values: Numbers, asked: Indices) -> Posterior:
    """Predicts the asked cells of a device of which these cells were measured."""
    choices = [
        choice
        for structure in prior.structures
        for choice in _choices(_Sides(prior, structure, cells, asked), log_values)
    ]
    best = max(choice.evidence for choice in choices)
    weights = [float(np.exp(TEMPERING * (choice.evidence - best))) for choice in choices]
    kept = [
        (weight, choice.posterior())
        for weight, choice in zip(weights, choices, strict=True)
        if weight >= MIN_WEIGHT
    ]
    shares = np.array([weight for weight, _ in kept])[:, None] / sum(weight for weight, _ in kept)
    means = np.array([each.mean for _, each in kept])
    variances = np.array([each.deviation**2 for _, each in kept])
    mean = (shares * means).sum(axis=0)
    return Posterior(mean, np.sqrt((shares * (variances + (means - mean) ** 2)).sum(axis=0)))


class _Sides:
    """Covariances of one structure: between measured cells, from asked to measured ones, of each asked one."""

    def __init__(self, prior: Prior, structure: Structure, cells: Indices, asked: Indices) -> None:
        self.mean_measured, self.mean_asked = structure.mean[cells], structure.mean[asked]
        features = prior.features
        self.measured = _kernel(structure, features, cells, cells)
        self.between = _kernel(structure, features, asked, cells)
        self.asked = _Kernel(
            OFFSET_SCALE**2 + SLOPE_SCALE**2 * self.mean_asked**2,
            (structure.directions[:, asked] ** 2).sum(axis=0),
            np.ones(len(asked)),
        )


def _kernel(structure: Structure, features: Numbers, ones: Indices, others: Indices) -> _Kernel:
    return _Kernel(
        OFFSET_SCALE**2 + SLOPE_SCALE**2 * np.outer(structure.mean[ones], structure.mean[others]),
        structure.directions[:, ones].T @ structure.directions[:, others],
        _likeness(features[ones], features[others]),
    )


def _likeness(ones: Numbers, others: Numbers) -> Numbers:
    """1 for cells with the same features, less the more they differ."""
    apart = (ones**2).sum(axis=1)[:, None] + (others**2).sum(axis=1) - 2 * ones @ others.T
    length = 2 * FEATURE_LENGTH**2 * max(ones.shape[1], 1)
    return np.asarray(np.exp(-np.maximum(apart, 0) / length))


@dataclass(frozen=True)
class _Choice:
    """One structure with one choice of scales."""

    sides: _Sides
    noise: float
    device_variance: float
    feature_scale: float
    offset: float
    inverse: Numbers  # of the covariance of the measured cells
    pull: Numbers  # the inverse times what the mean leaves unexplained
    evidence: float  # log likelihood of the measured cells

    def posterior(self) -> Posterior:
        sides, scales = self.sides, (self.device_variance, self.feature_scale)
        between = sides.between.scaled(*scales)
        explained = ((between @ self.inverse) * between).sum(axis=1)
        variance = np.maximum(sides.asked.scaled(*scales) - explained, 0) + self.noise**2
        mean = self.offset + sides.mean_asked + between @ self.pull
        return Posterior(mean, np.sqrt(variance))


def _choices(sides: _Sides, log_values: Numbers) -> Iterator[_Choice]:
    unexplained = log_values - sides.mean_measured
    offset = float(np.median(unexplained))
    unexplained = unexplained - offset
    for device_variance, feature_scale in product(DEVICE_VARIANCE, FEATURE_SCALE):
        values, vectors = np.linalg.eigh(sides.measured.scaled(device_variance, feature_scale))
        turned = vectors.T @ unexplained
        for noise in NOISE:
            spread = np.maximum(values, 0) + noise**2
            yield _Choice(
                sides=sides,
                noise=noise,
                device_variance=device_variance,
                feature_scale=feature_scale,
                offset=offset,
                inverse=(vectors / spread) @ vectors.T,
                pull=vectors @ (turned / spread),
                evidence=float(-0.5 * (turned**2 / spread).sum() - 0.5 * np.log(spread).sum()),
            )


def most_representative(prior: Prior, measured: Indices, allowed: Indices, count: int) -> list[int]:
    """Cells to measure next, best first: each lowers most the distance of all cells to the nearest measured one.

    Distances are between the ways in which cells differ over known devices. Cells at the edges, which an optimal design
    would take, are those that follow the model least.
    """
    places = _places(prior)
    nearest = np.full(len(places), np.inf)
    for cell in measured:
        nearest = np.minimum(nearest, _distances(places, places[cell]))
    known = set(measured.tolist())
    left = [int(cell) for cell in allowed if int(cell) not in known]
    chosen: list[int] = []
    while left and len(chosen) < count:
        sums = [np.minimum(nearest, _distances(places, places[cell])).sum() for cell in left]
        best = left.pop(int(np.argmin(sums)))
        nearest = np.minimum(nearest, _distances(places, places[best]))
        chosen.append(best)
    return chosen


def _places(prior: Prior) -> Numbers:
    """Of each cell, in units of a log latency."""
    structure = prior.structures[0]
    _, sizes, right = np.linalg.svd(structure.directions, full_matrices=False)
    kept = RANKS[0]
    features = prior.features * (_FEATURE_WEIGHT / max(prior.features.shape[1], 1) ** 0.5)
    leading = right[:kept] * sizes[:kept, None]
    return np.column_stack([leading.T, SLOPE_SCALE * structure.mean, features])


def _distances(places: Numbers, place: Numbers) -> Numbers:
    return np.asarray(np.sqrt(((places - place) ** 2).sum(axis=1)))
