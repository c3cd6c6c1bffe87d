"""Makes intervals for a new device from how far predictions are off on devices that are known.

Each known device is left out in turn, predicted from the same cells that the new device ran, and its errors, in units
of the stated deviation, are kept. The quantile of those errors is the half-width of the interval of the new device.
Devices whose measured cells relate to each other as the new one's do weigh more: what a board of another kind gets wrong
says little of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgebench.predict.low_rank_model import Indices, Numbers, condition, make_prior

CONFIDENCE: Final = 0.90
MIN_DEVICES: Final = 3  # left out in turn: with fewer there is no interval
MIN_CELLS: Final = 2  # measured on a device, to predict others of it


@dataclass(frozen=True)
class Calibrated:
    """What a stated deviation is multiplied by; None: too few devices tell."""

    factor: float | None
    devices: int  # that were left out in turn


def calibrate_intervals(
    log_values: Numbers,
    features: Numbers,
    cells: Indices,
    measured: Numbers,
    asked: Indices | None = None,
) -> Calibrated:
    """The factor that holds CONFIDENCE of the errors of known devices, each weighed by its likeness to the new one.

    `measured`: log latencies of `cells` on the new device. `asked` bounds the cells that are looked at; None: all.
    """
    scores, distances = [], []
    for device in range(len(log_values)):
        found = _scores(log_values, features, device, cells, asked)
        if found is not None:
            scores.append(found)
            distances.append(float(np.nanstd(log_values[device, cells] - measured)))
    if len(scores) < MIN_DEVICES:
        return Calibrated(None, len(scores))
    return Calibrated(_quantile(scores, _likeness(np.array(distances)), CONFIDENCE), len(scores))


def _likeness(distances: Numbers) -> Numbers:
    """The weight of each device: 1 where it behaves as the new one does, 0.6 at the middle distance."""
    middle = float(np.median(distances))
    if middle == 0:
        return np.ones(len(distances))
    return np.asarray(np.exp(-((distances / middle) ** 2) / 2))


def _scores(
    log_values: Numbers, features: Numbers, device: int, cells: Indices, asked: Indices | None
) -> Numbers | None:
    """Errors of a device over their stated deviations; None where it, or the others, ran too little."""
    others = np.delete(log_values, device, axis=0)
    covered = ~np.isnan(others).all(axis=0) if len(others) else np.zeros(0, dtype=bool)
    own = ~np.isnan(log_values[device])
    usable = np.flatnonzero(covered & own) if len(others) else np.zeros(0, dtype=np.intp)
    anchors = np.intersect1d(cells, usable)
    targets = np.setdiff1d(usable if asked is None else np.intersect1d(usable, asked), anchors)
    if len(anchors) < MIN_CELLS or not len(targets):
        return None
    kept = np.flatnonzero(covered)
    place = np.full(log_values.shape[1], -1, dtype=np.intp)
    place[kept] = np.arange(len(kept))
    prior = make_prior(others[:, kept], features[kept])
    truth = log_values[device]
    found = condition(prior, place[anchors], truth[anchors], place[targets])
    return np.asarray(np.abs(truth[targets] - found.mean) / found.deviation)


def _quantile(scores: list[Numbers], likeness: Numbers, level: float) -> float:
    """Of all scores, where those of a device have its weight together."""
    values = np.concatenate(scores)
    weights = np.concatenate(
        [np.full(len(each), one / len(each)) for each, one in zip(scores, likeness, strict=True)]
    )
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) / likeness.sum()
    at = int(np.searchsorted(reached, level * (1 - 1e-12)))
    return float(values[order][min(at, len(values) - 1)])


def bounds(mean: float, deviation: float, factor: float | None) -> tuple[float, float] | None:
    """The interval of a latency, in its own unit."""
    if factor is None:
        return None
    return math.exp(mean - factor * deviation), math.exp(mean + factor * deviation)
