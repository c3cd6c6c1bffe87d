"""Loads result files, folders of them, or exported Parquet files as frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebench.analysis import ties
from edgebench.analysis.frame import Frame, RowFrame, SomeRows
from edgebench.analysis.per_row.environment_differences import Environment
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Table
from edgebench.api.result_files import files_of, records_of
from edgebench.errors import StoreError, UsageError
from edgebench.record import Record
from edgebench.text.did_you_mean import did_you_mean
from edgebench.text.plain_text import say


@dataclass(frozen=True)
class Loaded:
    """The loaded rows as columns; table and environment are None for Parquet."""

    frame: Frame
    table: Table | None
    environment: Environment | None


def load(
    paths: Sequence[Path], prefer: Sequence[str] = ties.DEFAULT, tell: Callable[[str], None] = say
) -> Loaded:
    """Loads all rows of the paths. `prefer` is the tie-breaker of the table; `tell` is called with what is left out.

    Raises StoreError, and UsageError for a mixture of Parquet and result files.
    """
    parquet = [path for path in paths if path.suffix == ".parquet"]
    if parquet and len(parquet) < len(paths):
        raise UsageError(
            "result files and Parquet files cannot be read together",
            "export the result files first",
        )
    if parquet:
        from edgebench.export.parquet import ParquetFrame

        for path in parquet:
            if not path.is_file():
                raise StoreError(f"{path}: no such file", "`edgebench export` writes one")
        once = {path.resolve(): path for path in parquet}  # however often it is named
        return Loaded(ParquetFrame(list(once.values())), None, None)
    return loaded(records_of(files_of(paths, tell)), prefer)


def loaded(records: Iterable[Record], prefer: Sequence[str] = ties.DEFAULT) -> Loaded:
    """Records with their table."""
    environment = Environment()
    table = build_table(environment.noting(records), prefer)
    return Loaded(RowFrame(table.rows), table, environment)


def only(frame: Frame, workloads: Sequence[str]) -> Frame:
    """The rows of these workloads; all where none is named. Raises UsageError for an unknown one."""
    refuse_unknown([frame], workloads)
    return rows_of_workloads(frame, workloads)


def refuse_unknown(frames: Sequence[Frame], workloads: Sequence[str]) -> None:
    """Raises UsageError for a workload that none of the frames has."""
    known = list(
        dict.fromkeys(str(name) for frame in frames for name in frame.codes("workload").names)
    )
    for name in workloads:
        if name not in known:
            raise UsageError(f"no workload {name!r} in the results{did_you_mean(name, known)}")


def rows_of_workloads(frame: Frame, workloads: Sequence[str]) -> Frame:
    """The rows of these workloads; all where none is named."""
    if not workloads:
        return frame
    names = frame.codes("workload").names
    codes = [code for code, name in enumerate(names) if str(name) in workloads]
    return SomeRows(frame, np.flatnonzero(np.isin(frame.codes("workload").codes, codes)))
