"""Predicts the cells that a device never ran, and says which ones to measure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

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
    Numbers,
    condition,
    make_prior,
    most_representative,
)
from edgebench.predict.prediction_report import SUGGESTIONS, Predicted, Prediction, Suggested

MIN_ANCHORS: Final = 3
SURE_DEVICES: Final = 9  # with fewer known devices a 90 % interval is a guess


def predict_device(
    cells: Cells, device: str, calibrations: Sequence[Calibration], count: int = SUGGESTIONS
) -> Prediction:
    """Raises UsageError where the device and the others have too few cells in common."""
    known, own, features = _split(cells, device, calibrations)
    anchors = np.flatnonzero(~np.isnan(own) & ~np.isnan(known).all(axis=0))
    _refuse_too_few(cells, device, len(known), len(anchors))
    kept = np.flatnonzero(~np.isnan(known).all(axis=0))
    known, features, own = known[:, kept], features[kept], own[kept]
    measured, asked = np.flatnonzero(~np.isnan(own)), np.flatnonzero(np.isnan(own))
    prior = make_prior(known, features)
    calibrated = calibrate_intervals(known, features, measured, own[measured])
    found = condition(prior, measured, own[measured], asked)
    names = [cells.ids[place] for place in kept]
    predicted = [
        _predicted(cells, names[place], device, (mean, deviation), calibrated)
        for place, mean, deviation in zip(asked, found.mean, found.deviation, strict=True)
    ]
    next_ones = most_representative(prior, measured, asked, count)
    return Prediction(
        device=device,
        known_devices=[name for name in cells.devices if name != device],
        anchors=[names[place] for place in measured],
        confidence=CONFIDENCE,
        calibrated_on=calibrated.devices,
        predicted=sorted(predicted, key=lambda each: each.id),
        suggested=[_suggested(cells, names[place], device) for place in next_ones],
        notes=_notes(calibrated),
    )


def suggest_anchors(
    cells: Cells, device: str | None, calibrations: Sequence[Calibration], count: int = SUGGESTIONS
) -> Prediction:
    """The cells to measure first on a device that ran few, or none."""
    name = device if device in cells.devices else None
    known, own, features = _split(cells, name, calibrations)
    kept = (
        np.flatnonzero(~np.isnan(known).all(axis=0)) if len(known) else np.array([], dtype=np.intp)
    )
    if not len(kept):
        raise UsageError(
            "no other device ran any cell: nothing tells which cells are informative",
            "give the results of at least one other device",
        )
    prior = make_prior(known[:, kept], features[kept])
    measured = np.flatnonzero(~np.isnan(own[kept]))
    left = np.flatnonzero(np.isnan(own[kept]))
    return Prediction(
        device=device,
        known_devices=[each for each in cells.devices if each != device],
        anchors=[cells.ids[kept[place]] for place in measured],
        confidence=CONFIDENCE,
        calibrated_on=0,
        predicted=[],
        suggested=[
            _suggested(cells, cells.ids[kept[place]], device)
            for place in most_representative(prior, measured, left, count)
        ],
        notes=[],
    )


def _split(
    cells: Cells, device: str | None, calibrations: Sequence[Calibration]
) -> tuple[Numbers, Numbers, Numbers]:
    """Log latencies of the other devices, those of the device, and features."""
    features = features_of(cells, calibrations, device or "")
    if device is None:
        return cells.log_ns, np.full(len(cells.ids), np.nan), features
    at = cells.index(device)
    return np.delete(cells.log_ns, at, axis=0), cells.log_ns[at], features


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
