"""Builds all series of some results, with the steps that remain significant over all of them together."""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from edgebench.analysis.frame import Frame
from edgebench.metrics import METRICS, Metric
from edgebench.trend import change_points
from edgebench.trend.cell_series import CellSeries, is_ok, of_several_meters, series_of
from edgebench.trend.step_causes import Environments, cause_of
from edgebench.trend.trend_report import By, Series, Step, Trend
from edgebench.words import note_words
from edgebench.words.note_words import (
    ENERGY_MODELLED,
    ONE_METER,
    RUNS_WITHOUT_COMMIT,
    counted,
)


def build_trend(
    frame: Frame, metrics: Sequence[Metric], by: By, environments: Environments
) -> Trend:
    """By these metrics, else by the main one of each scenario. Raises UsageError where the series cannot be laid along
    what `by` says."""
    chosen = metrics or [METRICS["latency.p50"], METRICS["throughput"]]
    cells = [_newest(each) for each in series_of(frame, chosen, by) if metrics or _is_main(each)]
    found = [
        change_points.find_steps([point.value for point in each.points], _seed(each))
        for each in cells
    ]
    believed = change_points.believed(found)
    series = [
        _series(frame, cell, steps, stands, environments)
        for cell, steps, stands in zip(cells, found, believed, strict=True)
    ]
    notes = [*_notes(series), *_left_out(frame, metrics, series), *_without_commit(frame, by)]
    return Trend(by=by, level=change_points.LEVEL, series=series, notes=notes)


def _is_main(cell: CellSeries) -> bool:
    """Offline the throughput, else the median latency."""
    return (cell.metric.name == "throughput") == (cell.identity.scenario == "offline")


def _newest(cell: CellSeries) -> CellSeries:
    return replace(cell, points=cell.points[-change_points.MAX_RUNS :])


def _seed(cell: CellSeries) -> int:
    """Depends on the series alone: more results beside it change nothing."""
    identity = cell.identity
    return zlib.crc32(f"{identity.device} {identity.id} {cell.metric.name}".encode())


def _series(
    frame: Frame,
    cell: CellSeries,
    found: change_points.Steps,
    stands: bool,
    environments: Environments,
) -> Series:
    identity = cell.identity
    values = np.array([point.value for point in cell.points])
    better = cell.metric.better or frame.text("quality.better", cell.last_row)
    known = len(values) > 1 and values.min() > 0
    steps = list(_steps(cell, found, better, environments)) if stands else []
    return Series(
        device=identity.device,
        id=identity.id,
        workload=identity.workload,
        workload_version=identity.workload_version,
        backend=identity.backend,
        scenario=identity.scenario,
        rate_per_s=identity.rate_per_s,
        metric=cell.metric.name,
        unit=cell.metric.unit,
        better=better,
        points=[
            msgspec.structs.replace(point, outlier=at in found.outliers)
            for at, point in enumerate(cell.points)
        ],
        steps=steps,
        p_value=found.p_value,
        noise=change_points.noise_of(np.log(values)) if known else None,
    )


def _steps(
    cell: CellSeries, found: change_points.Steps, better: str | None, environments: Environments
) -> Iterator[Step]:
    edges = [0, *(step.at for step in found.steps), len(cell.points)]
    levels = [
        float(np.median([point.value for point in cell.points[start:end]]))
        for start, end in itertools.pairwise(edges)
    ]
    device = cell.identity.device
    for step, (before, after) in zip(found.steps, itertools.pairwise(levels), strict=True):
        last, first = cell.points[step.at - 1], cell.points[step.at]
        cause = cause_of(
            cell.identity,
            # The runs beside the step, of commits that were measured several times.
            environments.get((device, last.runs[0])),
            environments.get((device, first.runs[-1])),
            (last.commit, first.commit),
        )
        yield Step(
            at=step.at,
            before=before,
            after=after,
            change=after / before - 1 if before > 0 and after > 0 else None,
            better=None if better is None else (after < before) == (better == "lower"),
            p_value=step.p_value,
            explained=cause.explained,
            commits=cause.commits,
            confirm=cause.confirm,
            why_not=cause.why_not,
        )


def _left_out(frame: Frame, metrics: Sequence[Metric], series: Sequence[Series]) -> Iterator[str]:
    """Why a metric that was asked for has no series, or not all values."""
    known = {each.metric for each in series}
    rows = np.flatnonzero(is_ok(frame))
    for metric in metrics:
        lacking = rows[np.isnan(frame.numbers(metric.column())[rows])]
        if metric.of_energy and (estimates := int(frame.energy_is_modelled()[rows].sum())):
            yield f"{metric.name}: {counted(estimates, 'row')} left out: {ENERGY_MODELLED}"
        elif metric.name not in known and len(lacking):
            why = frame.reason(int(lacking[-1]), metric)
            yield note_words.unknown_of_row(metric=metric.name, why=why)
        if metric.of_energy and of_several_meters(frame, rows):
            yield f"{metric.name}: {ONE_METER}"


def _without_commit(frame: Frame, by: By) -> Iterator[str]:
    if by != "commit" or not len(frame):
        return
    runs, commits = frame.codes("run"), frame.codes("commit")
    unnamed = np.array([name is None for name in commits.names], dtype=bool)[commits.codes]
    if silent := len(np.unique(runs.codes[unnamed])):
        yield RUNS_WITHOUT_COMMIT.format(counted(silent, "run"))


def _notes(series: Sequence[Series]) -> list[str]:
    notes = []
    short = sum(each.p_value is None for each in series)
    if short:
        notes.append(
            f"{short} of {len(series)} series have fewer than {change_points.MIN_RUNS} points: too few "
            "to tell a step from noise"
        )
    versions: dict[str, set[int]] = defaultdict(set)
    for each in series:
        versions[each.workload].add(each.workload_version)
    for workload, known in versions.items():
        if len(known) > 1:
            words = " and ".join(map(str, sorted(known)))
            notes.append(
                f"{workload}: versions {words} are different work: each is a series of its own"
            )
    return notes
