"""Predicts the cells that a device never ran, and says which ones to measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from edgebench.calibration import Calibration
from edgebench.errors import UsageError
from edgebench.predict.conformal_interval import (
    CONFIDENCE,
    MIN_DEVICES,
    Calibrated,
    bounds,
    calibrate_intervals,
)
from edgebench.predict.latency_matrix import Cells, features_of
from edgebench.predict.low_rank_model import (
    Indices,
    Numbers,
    Prior,
    condition,
    make_prior,
    most_representative,
)
from edgebench.predict.prediction_report import SUGGESTIONS, Predicted, Prediction, Suggested

MIN_ANCHORS: Final = 3
SURE_DEVICES: Final = 9  # with fewer known devices a 90 % interval is a guess


@dataclass(frozen=True)
class _Known:
    """The cells that other devices ran, and what the device itself took for them."""

    ids: list[str]
    others: Numbers  # log latencies, devices x cells
    own: Numbers  # log latencies; NaN: not measured
    features: Numbers

    @property
    def measured(self) -> Indices:
        return np.flatnonzero(~np.isnan(self.own))

    @property
    def asked(self) -> Indices:
        return np.flatnonzero(np.isnan(self.own))


def predict_device(
    cells: Cells, device: str, calibrations: Sequence[Calibration], count: int = SUGGESTIONS
) -> Prediction:
    """Raises UsageError where the device and the others have too few cells in common."""
    known = _known(cells, device, calibrations)
    measured, asked = known.measured, known.asked
    _refuse_too_few(cells, device, len(known.others), len(measured))
    prior = make_prior(known.others, known.features)
    own = known.own[measured]
    calibrated = calibrate_intervals(known.others, known.features, measured, own)
    found = condition(prior, measured, own, asked)
    predicted = [
        _predicted(cells, known.ids[place], device, (mean, deviation), calibrated)
        for place, mean, deviation in zip(asked, found.mean, found.deviation, strict=True)
    ]
    return msgspec.structs.replace(
        _suggestions(cells, device, known, prior, count),
        calibrated_on=calibrated.devices,
        predicted=sorted(predicted, key=lambda each: each.id),
        notes=_notes(calibrated),
    )


def suggest_anchors(
    cells: Cells, device: str | None, calibrations: Sequence[Calibration], count: int = SUGGESTIONS
) -> Prediction:
    """The cells to measure first on a device that ran few, or none."""
    known = _known(cells, device if device in cells.devices else None, calibrations)
    if not known.ids:
        raise UsageError(
            "no other device ran any cell: nothing tells which cells are informative",
            "give the results of at least one other device",
        )
    return _suggestions(cells, device, known, make_prior(known.others, known.features), count)


def _known(cells: Cells, device: str | None, calibrations: Sequence[Calibration]) -> _Known:
    features = features_of(cells, calibrations, device or "")
    others, own = cells.log_ns, np.full(len(cells.ids), np.nan)
    if device is not None:
        at = cells.devices.index(device)
        others, own = np.delete(cells.log_ns, at, axis=0), cells.log_ns[at]
    kept = np.flatnonzero(~np.isnan(others).all(axis=0))
    ids = [cells.ids[place] for place in kept]
    return _Known(ids, others[:, kept], own[kept], features[kept])


def _suggestions(
    cells: Cells, device: str | None, known: _Known, prior: Prior, count: int
) -> Prediction:
    """What to measure next; nothing is predicted yet."""
    places = most_representative(prior, known.measured, known.asked, count)
    return Prediction(
        device=device,
        known_devices=[name for name in cells.devices if name != device],
        anchors=[known.ids[place] for place in known.measured],
        confidence=CONFIDENCE,
        calibrated_on=0,
        predicted=[],
        suggested=[_suggested(cells, known.ids[place], device) for place in places],
        notes=[],
    )


def _refuse_too_few(cells: Cells, device: str, known: int, anchors: int) -> None:
    if not known:
        raise UsageError(
            f"all results are of {device}: nothing to predict it from",
            "give the results of other devices as well",
        )
    if anchors < MIN_ANCHORS:
        others = ", ".join(name for name in cells.devices if name != device)
        raise UsageError(
            f"{device} has {anchors or 'no'} cell{'s' * (anchors != 1)} in common with {others}, "
            f"and a prediction needs {MIN_ANCHORS}",
            "`edgebench predict RESULTS... --suggest` names the cells to measure",
        )


def _predicted(
    cells: Cells, cell: str, device: str, at: tuple[float, float], calibrated: Calibrated
) -> Predicted:
    row = cells.examples[cell]
    interval = bounds(*at, calibrated.factor)
    why = f"fewer than {MIN_DEVICES} known devices ran these cells"
    return Predicted(
        id=cell,
        device=device,
        workload=row.workload,
        workload_version=row.workload_version,
        scenario=row.scenario,
        backend=row.backend,
        variant=row.variant,
        time_ns=math.exp(at[0]),
        low_ns=None if interval is None else interval[0],
        high_ns=None if interval is None else interval[1],
        measured_on=_measured_on(cells, cell, device),
        unknown={"low_ns": why, "high_ns": why} if interval is None else {},
    )


def _suggested(cells: Cells, cell: str, device: str | None) -> Suggested:
    row = cells.examples[cell]
    return Suggested(
        id=cell,
        workload=row.workload,
        scenario=row.scenario,
        backend=row.backend,
        variant=row.variant,
        measured_on=_measured_on(cells, cell, device),
    )


def _measured_on(cells: Cells, cell: str, device: str | None) -> list[str]:
    return [name for name in cells.devices if name != device and (name, cell) in cells.rows]


def _notes(calibrated: Calibrated) -> list[str]:
    notes = ["modelled, not measured: these numbers are never ranked and never a baseline"]
    if calibrated.factor is None:
        notes.append(
            f"no intervals: {calibrated.devices} known device{'s' * (calibrated.devices != 1)} ran "
            f"enough of the same cells, and {MIN_DEVICES} are needed"
        )
    elif calibrated.devices < SURE_DEVICES:
        notes.append(
            f"intervals come from errors on {calibrated.devices} known devices: with fewer than "
            f"{SURE_DEVICES} their {CONFIDENCE:.0%} is a guess"
        )
    return notes


def worth_measuring(
    predicted: Sequence[Predicted], best_ns: Mapping[tuple[str, int, str], float]
) -> list[Predicted]:
    """Those that may be faster than the best measured one of their workload and scenario, the likeliest first."""
    found = []
    for each in predicted:
        best = best_ns.get((each.workload, each.workload_version, each.scenario))
        if best is not None and (each.low_ns or each.time_ns) < best:
            found.append((each.time_ns / best, each))
    return [each for _, each in sorted(found, key=lambda item: item[0])]
