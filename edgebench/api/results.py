"""Results as notebooks use them: the table, its fronts, picks and comparisons, and frames of other libraries."""

from __future__ import annotations

import gc
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from edgebench.analysis import ties
from edgebench.analysis.comparison_report import ComparisonReport
from edgebench.analysis.comparison_report import report as comparison_report
from edgebench.analysis.defaults import COMPARED, DRAWS, SURE
from edgebench.analysis.frontier import Across
from edgebench.analysis.frontier_report import FrontierReport
from edgebench.analysis.frontier_report import report as frontier_report
from edgebench.analysis.pick_report import PickReport
from edgebench.analysis.table_types import Table
from edgebench.analysis.ties import parse_preferences
from edgebench.api import data_frames
from edgebench.api.loading import Loaded, load
from edgebench.api.questions import compare_of, frontier_of, names_of, objective_of, pick_of
from edgebench.errors import UsageError
from edgebench.export.columns import columns_of, flat
from edgebench.render import deploy_line, table_terminal
from edgebench.report import notebook

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

Names: TypeAlias = str | Sequence[str]
Paths: TypeAlias = "str | PathLike[str] | Sequence[str | PathLike[str]]"


class Results:
    """Rows of one or more runs. It does not change, and a method that asks computes anew.

    `paths` are the files and folders that were read, or that a run has written; empty where nothing is
    kept. `notes` say what was left out when they were read.
    """

    def __init__(
        self,
        loaded: Loaded,
        paths: Sequence[Path] = (),
        notes: Sequence[str] = (),
        prefer: Sequence[str] = ties.DEFAULT,
    ) -> None:
        self._loaded = loaded
        self._prefer = prefer
        self.paths = tuple(paths)
        self.notes = tuple(notes)

    def __len__(self) -> int:
        """The number of rows."""
        return len(self._loaded.frame)

    def table(self) -> Table:
        """The trade-off table, `edgebench.table/1`: what `edgebench show` prints.

        `table().rows` are frozen and typed, with units in the names of their fields (docs/table.md); what is
        unknown is None, and `row.unknown` says why. Raises UsageError for rows of Parquet, which hold columns
        only.
        """
        if self._loaded.table is None:
            raise UsageError(
                "Parquet files hold the columns of a table, but not all that a table needs",
                "read the result files that they were exported from; pandas.read_parquet reads the columns",
            )
        return self._worded

    @cached_property
    def _worded(self) -> Table:
        assert self._loaded.table is not None
        return deploy_line.with_words(self._loaded.table)

    def to_dicts(self) -> list[dict[str, Any]]:
        """One flat dict a row, by the names of columns that Parquet and SQL have (docs/export.md)."""
        rows = self.table().rows
        columns = columns_of(rows)
        return [flat(row, columns) for row in rows]

    def to_arrow(self) -> pa.Table:
        """The columns as a pyarrow.Table. Raises UsageError where pyarrow is not installed."""
        return data_frames.to_arrow(self._flat)

    def to_pandas(self) -> pd.DataFrame:
        """The columns as a pandas.DataFrame of nullable types. Raises UsageError where pandas is not
        installed."""
        return data_frames.to_pandas(self._flat)

    def to_polars(self) -> pl.DataFrame:
        """The columns as a polars.DataFrame. Raises UsageError where Polars is not installed."""
        return data_frames.to_polars(self._flat)

    @cached_property
    def _flat(self) -> data_frames.FlatTable:
        return data_frames.flat_table(self.table().rows)

    def frontier(
        self,
        objectives: Names = (),
        *,
        workloads: Names = (),
        across: Names = (),
        confidence: float = SURE,
        seed: int = 0,
        draws: int = DRAWS,
    ) -> FrontierReport:
        """Which rows no other one beats, and how sure that is: what `edgebench frontier --format json` prints.

        `objectives` are like "latency.p50:min"; by default speed, quality, peak memory, and energy where known.
        `across="devices"` lets rows of several devices compete. `confidence` is the share above which a verdict is
        sure. Raises UsageError for an unknown metric or workload.
        """
        result = frontier_of(
            self._loaded,
            listed(objectives),
            listed(workloads),
            across=_across(across),
            confidence=confidence,
            seed=seed,
            draws=draws,
        )
        return frontier_report(result)

    def pick(
        self,
        require: Names = (),
        *,
        minimize: str | None = None,
        maximize: str | None = None,
        workloads: Names = (),
        across: Names = (),
        prefer: Names | None = None,
        confidence: float = SURE,
    ) -> PickReport:
        """The deployment of each device, workload and scenario: what `edgebench pick --format json` prints.

        `require` are limits like "latency.p99<=30ms", "memory.peak<=512MiB" or "quality>=0.98*fp32". What is best is
        the median latency, offline the throughput, or the metric that `minimize` or `maximize` names. `prefer` decides
        between rows that are not told apart. A group without a row within the limits has a `choice` of None. Raises
        UsageError for a wrong limit or metric.
        """
        return pick_of(
            self._loaded,
            listed(require),
            listed(workloads),
            objective=objective_of(minimize, maximize),
            across=_across(across),
            prefer=self._prefer if prefer is None else preferences(prefer),
            confidence=confidence,
        )

    def compare(
        self,
        *others: Results,
        metrics: Names = (),
        workloads: Names = (),
        confidence: float = COMPARED,
        names: Sequence[str] | None = None,
    ) -> ComparisonReport:
        """The same cells of other results beside these: what `edgebench compare --format json` prints.

        Ratios are each other one's value over that of these results, with their interval. `names` are those of all
        sides, by default the ends of their paths that tell them apart. It judges no regression: `edgebench.ab`
        does. Raises UsageError where nothing else is given, and for an unknown metric or workload.
        """
        if not others:
            raise UsageError("compare needs other results", "results.compare(edgebench.read(...))")
        sides = [self, *others]
        if names is not None and len(names) != len(sides):
            raise UsageError(f"{len(names)} names for {len(sides)} sides", "give one name a side")
        comparison = compare_of(
            names or names_of([side._path for side in sides]),
            [side._loaded for side in sides],
            listed(metrics),
            listed(workloads),
            confidence=confidence,
        )
        return comparison_report(comparison)

    @property
    def _path(self) -> Path:
        return self.paths[0] if self.paths else Path("results")

    def __repr__(self) -> str:
        """A few lines: how many rows of what, and what to deploy."""
        if self._loaded.table is None:
            return f"<edgebench.Results: {len(self)} rows of {', '.join(map(str, self.paths))}>"
        return notebook.summary(self._loaded.table, self.notes)

    def __str__(self) -> str:
        """The table as `edgebench show` prints it; of Parquet what repr says."""
        if self._loaded.table is None:
            return repr(self)
        text = io.StringIO()
        table_terminal.render(self._loaded.table, text)
        return text.getvalue().rstrip("\n")

    def _repr_html_(self) -> str | None:
        """The table for Jupyter."""
        table = self._loaded.table
        return None if table is None else notebook.html(table, self.notes)


def read(paths: Paths, *, prefer: Names = ties.DEFAULT) -> Results:
    """The results of files, of folders (all result files below them), or of exported Parquet files.

    No runtime is needed, and files of earlier versions are read alike. `prefer` decides between deployments that are
    not told apart, in this order (`edgebench show --help`). Raises StoreError where a file cannot be read, or holds
    anything but results, with its line and field; UsageError where Parquet and result files are mixed.
    """
    names = [paths] if isinstance(paths, str | PathLike) else list(paths)
    files = [Path(path) for path in names]
    if not files:
        raise UsageError("no file or folder is given", 'edgebench.read("results")')
    rule = preferences(prefer)
    notes: list[str] = []
    with without_gc():
        return Results(load(files, rule, notes.append), files, notes, rule)


@contextmanager
def without_gc() -> Iterator[None]:
    """Looking for cycles among millions of samples, which have none, takes seconds."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def preferences(prefer: Names) -> Sequence[str]:
    """The rule of ties. Raises UsageError for an unknown criterion."""
    return parse_preferences(prefer if isinstance(prefer, str) else ",".join(prefer))


def _across(names: Names) -> Sequence[Across]:
    return listed(names)  # type: ignore[return-value]


def listed(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
