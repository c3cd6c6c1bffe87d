"""Predicts, for the end of a pick, cells that a device never ran and that are perhaps faster than what it ran."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analysis.table_types import Row, Table
from edgebench.api.loading import Loaded
from edgebench.api.result_files import calibrations_of
from edgebench.errors import UsageError
from edgebench.predict.latency_matrix import Cells, cells_of, time_ns
from edgebench.predict.predict_device import predict_device, worth_measuring
from edgebench.predict.prediction_report import Predicted, WorthMeasuring


def worth_measuring_of(loaded: Loaded, workloads: Sequence[str] = ()) -> WorthMeasuring:
    """Of every device of the results. Raises UsageError for Parquet, which has no operations and bytes."""
    if loaded.table is None:
        raise UsageError(
            "--include-predicted needs result files: exported Parquet files lack what it predicts from",
            "name the .jsonl files",
        )
    table = loaded.table
    cells = cells_of(table.rows, table.runs)
    found: list[Predicted] = []
    notes: dict[str, None] = {}
    for device in cells.devices:
        try:
            prediction = predict_device(cells, device, calibrations_of((), cells.devices))
        except UsageError as error:
            notes[f"not predicted: {error.message}"] = None
            continue
        if prediction.predicted:  # else they are about nothing that is shown
            notes.update(dict.fromkeys(prediction.notes))
        good = [each for each in prediction.predicted if _may_be_deployed(cells, each)]
        kept = [each for each in good if not workloads or each.workload in workloads]
        found += worth_measuring(kept, _best_ns(table, device))
    return WorthMeasuring(cells=found, notes=list(notes))


def _may_be_deployed(cells: Cells, predicted: Predicted) -> bool:
    """Whether it was good enough to be ranked on some device: quality hardly depends on the device."""
    rows = (cells.rows[device, predicted.id] for device in predicted.measured_on)
    return any(row.ranked for row in rows)


def _best_ns(table: Table, device: str) -> dict[tuple[str, int, str], float]:
    """The shortest time of a ranked row of each workload and scenario on the device."""
    best: dict[tuple[str, int, str], float] = {}
    for row in table.rows:
        found = time_ns(row)
        if row.device == device and row.ranked and found is not None:
            key = _key(row)
            best[key] = min(best.get(key, found), found)
    return best


def _key(row: Row) -> tuple[str, int, str]:
    return row.workload, row.workload_version, row.scenario
