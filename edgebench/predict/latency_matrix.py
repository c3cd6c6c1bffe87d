"""Arranges rows of several devices as a matrix of log latencies, with what is counted of each cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgebench.analysis.table_types import Row, Run
from edgebench.backend import Scalar
from edgebench.calibration import Calibration
from edgebench.predict.low_rank_model import Numbers
from edgebench.roofline.roofline_points import roofline

#: Operators by class; the share of a model's operations in each is a feature.
_CLASSES = {
    "convolution": ("Conv", "ConvInteger", "QLinearConv", "ConvTranspose"),
    "product": ("MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "QGemm"),
    "recurrent": ("LSTM", "GRU", "RNN"),
}


@dataclass(frozen=True)
class Cells:
    """The cells of all devices: the newest row of each cell and device, in columns."""

    ids: list[str]
    devices: list[str]
    log_ns: Numbers  # devices x cells; NaN: not measured there
    rows: dict[tuple[str, str], Row]  # device, cell -> the row that the number is of
    examples: dict[str, Row]  # cell -> one of its rows, for its workload, variant and scenario


def time_ns(row: Row) -> float | None:
    """What is predicted of a row: its median latency, offline the time of an item; None where it was not measured."""
    if row.status != "ok" or row.imported is not None:
        return None
    if row.scenario == "offline":
        rate = row.throughput_per_s
        return 1e9 / rate if rate else None
    return row.latency_ns.p50 or None


def cells_of(rows: Iterable[Row], runs: Sequence[Run]) -> Cells:
    """The newest measured row of each cell on each device."""
    started = {run.id: run.started_utc for run in runs}
    newest: dict[tuple[str, str], Row] = {}
    for row in rows:
        if time_ns(row) is None:
            continue
        key = (row.device, row.id)
        if key not in newest or started[newest[key].run] <= started[row.run]:
            newest[key] = row
    devices = list(dict.fromkeys(device for device, _ in newest))
    examples = {cell: row for (_, cell), row in newest.items()}
    ids = list(examples)
    values = np.full((len(devices), len(ids)), np.nan)
    places = {cell: place for place, cell in enumerate(ids)}
    for (device, cell), row in newest.items():
        values[devices.index(device), places[cell]] = math.log(time_ns(row) or math.nan)
    return Cells(ids, devices, values, newest, examples)


def features_of(cells: Cells, calibrations: Sequence[Calibration], device: str) -> Numbers:
    """A row of numbers for each cell: operations, bytes, operator classes, settings and backend, and the waterline under
    the ceilings of the device where it was calibrated. A feature that a cell lacks has the middle value."""
    if not cells.ids:
        return np.empty((0, 0))
    columns: dict[str, dict[int, float]] = {}
    waterlines = _waterlines(cells, calibrations, device)
    for place, cell in enumerate(cells.ids):
        named = dict(_features(cells.examples[cell]))
        if cell in waterlines:
            named["waterline"] = math.log(waterlines[cell])
        for name, value in named.items():
            columns.setdefault(name, {})[place] = value
    return np.array(
        [_column(values, len(cells.ids), name) for name, values in sorted(columns.items())]
    ).T.reshape(len(cells.ids), -1)


def _column(values: Mapping[int, float], size: int, name: str) -> Numbers:
    missing = 0.0 if "=" in name else float(np.median(list(values.values())))
    column = np.full(size, missing)
    column[list(values)] = list(values.values())
    return column


def _features(row: Row) -> Iterator[tuple[str, float]]:
    yield f"backend={row.backend}", 1.0
    yield f"scenario={row.scenario}", 1.0
    for axis, value in row.variant.items():
        yield from _setting(axis, value)
    if row.model is None:
        return
    yield "size", math.log1p(row.model.size_bytes)
    work = row.model.work
    if work is None:
        return
    yield "operations", math.log1p(work.flops)
    yield "bytes", math.log1p(work.moved_bytes)
    for name, operators in _CLASSES.items():
        flops = sum(layer.flops for layer in work.layers if layer.op in operators)
        yield name, flops / max(work.flops, 1)
    yield "layers", math.log1p(len(work.layers))


def _setting(axis: str, value: Scalar) -> Iterator[tuple[str, float]]:
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        yield axis, math.log(value)
    else:
        yield f"{axis}={value}", 1.0


def _waterlines(cells: Cells, calibrations: Sequence[Calibration], device: str) -> dict[str, float]:
    """Of cells whose operations, bytes and precision have ceilings on this device."""
    own = [each for each in calibrations if each.device.name == device]
    if not own:
        return {}
    import msgspec

    rows = [
        msgspec.structs.replace(cells.examples[cell], device=device, effective=None)
        for cell in cells.ids
    ]
    return {
        point.id: point.waterline_ns
        for point in roofline(rows, own).points
        if point.waterline_ns is not None
    }
