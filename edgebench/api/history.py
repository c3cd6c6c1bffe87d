"""Loads results of many runs as series over time or commits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.analysis.frame import Frame
from edgebench.analysis.per_row.environment_differences import RunEnvironments
from edgebench.api.loading import load, loaded, only
from edgebench.api.result_files import files_of, records_of
from edgebench.metrics import metric
from edgebench.trend.build_trend import build_trend
from edgebench.trend.trend_report import By, Trend


def trend_of(
    paths: Sequence[Path],
    metrics: Sequence[str] = (),
    by: By = "date",
    workloads: Sequence[str] = (),
) -> Trend:
    """The series of result files or exported Parquet files. Raises UsageError for an unknown metric or workload."""
    asked = [metric(name) for name in dict.fromkeys(metrics)]
    environments = RunEnvironments()
    frame = only(frame_of(paths, environments), workloads)
    return build_trend(frame, asked, by, environments.of_run)


def frame_of(paths: Sequence[Path], environments: RunEnvironments) -> Frame:
    """All rows; the environment of each run is noted, where the files tell it."""
    if any(path.suffix == ".parquet" for path in paths):
        return load(paths).frame
    return loaded(environments.noting(records_of(files_of(paths)))).frame
