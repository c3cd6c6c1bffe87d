"""Roofline, efficiency gap and waterline of rows, from the work counted and the ceilings measured.

For a row with `flops` operations and `bytes` that must move, in `time` per run of the model:

- achieved = flops / time; intensity = flops / bytes;
- roof = min(peak, intensity x bandwidth) (Williams, Waterman and Patterson 2009);
- waterline = sum over layers of max(flops / peak, bytes / bandwidth): no run that takes every layer's
  tensors from memory is faster (On the Efficiency of Convolutional Neural Networks);
- gap = time / waterline, and efficiency = flops / (peak x time), so that latency = ops / (peak x efficiency).

Bytes assume that every layer's tensors come from memory: a small model that stays in the caches may
lie above the roof, and then the row says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from edgebench.analysis.table_types import Row
from edgebench.calibration import Calibration, Ceiling, What
from edgebench.record import Layer, Work, runs_of_query
from edgebench.words import note_words, unknown_words

ROOFLINE_SCHEMA: Final = "edgebench.roofline/1"

#: Precision of a row -> the product whose peak bounds it. Others have no ceiling measured.
_PRODUCTS: dict[str, What] = {
    "fp32": "gemm_fp32",
    "int8": "gemm_int8",
    "int8-static": "gemm_int8",
    "int8-dynamic": "gemm_int8",
}
#: Precisions that a runtime makes of the fp32 file: its widths are not those that move.
_OTHER_WIDTHS = ("fp16", "bf16", "w8", "w4")


class LayerLine(msgspec.Struct, frozen=True, kw_only=True):
    """One layer of the sequence of kernels."""

    op: str
    flops: int
    moved_bytes: int
    waterline_ns: float
    bound: Literal["compute", "memory"]


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A row on the roofline. Whatever is None has its reason in `unknown`."""

    id: str
    device: str
    run: str
    row: int  # index in the table
    threads: int | None  # of the ceilings
    time_ns: float | None = None  # of one run of the model (a batch)
    flops: int | None = None
    moved_bytes: int | None = None
    intensity: float | None = None  # operations per byte
    achieved_per_s: float | None = None
    roof_per_s: float | None = None
    bound: Literal["compute", "memory"] | None = None
    efficiency: float | None = None  # achieved over peak
    efficiency_low: float | None = None  # from the 95 % intervals of the row and the ceiling
    efficiency_high: float | None = None
    waterline_ns: float | None = None
    gap: float | None = None  # time over waterline: 1 is as fast as memory and arithmetic allow
    memory_share: float | None = None  # of the waterline, in layers bound by memory
    layers: list[LayerLine] = []
    unknown: dict[str, str] = {}
    notes: list[str] = []


class Roofline(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["edgebench.roofline/1"] = ROOFLINE_SCHEMA
    ceilings: dict[str, list[Ceiling]]  # device -> its ceilings
    points: list[Point]
    notes: list[str]


def roofline(rows: Sequence[Row], calibrations: Sequence[Calibration]) -> Roofline:
    """A point for every row; calibrations are matched by the name of the device."""
    by_device = {calibration.device.name: calibration for calibration in calibrations}
    points = [_point(index, row, by_device.get(row.device)) for index, row in enumerate(rows)]
    notes = [
        note_words.ceilings_while(
            device=device,
            state="; ".join(f"{check.name}: {check.evidence}" for check in calibration.state),
        )
        for device, calibration in by_device.items()
        if calibration.state
    ]
    return Roofline(
        ceilings={device: calibration.ceilings for device, calibration in by_device.items()},
        points=points,
        notes=notes,
    )


def _point(index: int, row: Row, calibration: Calibration | None) -> Point:
    point = Point(id=row.id, device=row.device, run=row.run, row=index, threads=None)
    time_ns = _time_ns(row)
    work = row.model.work if row.model is not None else None
    if time_ns is None:
        reasons = (row.unknown.get(part) for part in ("latency_ns", "throughput_per_s", "paced"))
        why = next(filter(None, reasons), row.status)
        return _unknown(point, "time_ns", unknown_words.no_time_of_run(why=why))
    point = msgspec.structs.replace(point, time_ns=time_ns)
    if work is None:
        return _unknown(point, "flops", unknown_words.NO_WORK_COUNTED)
    point = _with_work(point, work, time_ns)
    if calibration is None:
        return _unknown(point, "roof_per_s", unknown_words.NO_CALIBRATION)
    if row.effective is not None and not row.effective.device.startswith("cpu"):
        why = unknown_words.other_ceilings(device=row.effective.device)
        return _unknown(point, "roof_per_s", why)
    return _under_roof(point, row, work, calibration)


def _unknown(point: Point, field: str, why: str) -> Point:
    return msgspec.structs.replace(point, unknown={**point.unknown, field: why})


def _time_ns(row: Row) -> float | None:
    """Returns the time of one run of the model: p50, at a rate without the wait for its turn, offline the time of a
    batch by the throughput."""
    if row.scenario == "offline":
        batch = row.variant.get("batch", 1)
        if row.throughput_per_s is None or not isinstance(batch, int):
            return None
        return batch * 1e9 / row.throughput_per_s
    if row.rate_per_s is not None:
        return None if row.paced is None else row.paced.service_p50_ns
    p50_ns = row.latency_ns.p50
    return None if p50_ns is None else p50_ns / runs_of_query(row.scenario, row.variant)


def _with_work(point: Point, work: Work, time_ns: float) -> Point:
    notes = list(point.notes)
    if work.uncounted:
        notes.append(note_words.uncounted_work(work.uncounted, work.uncounted_share))
    return msgspec.structs.replace(
        point,
        flops=work.flops,
        moved_bytes=work.moved_bytes,
        intensity=work.flops / work.moved_bytes if work.moved_bytes else None,
        achieved_per_s=work.flops * 1e9 / time_ns,
        notes=notes,
    )


def _under_roof(point: Point, row: Row, work: Work, calibration: Calibration) -> Point:
    precision = str(row.variant.get("precision", "as-is"))
    if row.effective is not None and row.effective.precision in (*_PRODUCTS, *_OTHER_WIDTHS):
        precision = str(row.effective.precision)
    threads = _threads(row)
    product = _PRODUCTS.get(precision)
    peak = None if product is None else calibration.ceiling(product, threads)
    band = calibration.ceiling("memory_add", threads)
    if peak is None or band is None:
        why = unknown_words.no_ceiling(precision=precision, threads=threads or "unknown")
        return _unknown(point, "roof_per_s", why)
    if work.flops == 0 or work.moved_bytes == 0 or point.time_ns is None:
        return _unknown(point, "roof_per_s", unknown_words.NO_WORK)
    layers = [_line_of(layer, peak, band) for layer in work.layers]
    waterline = sum(layer.waterline_ns for layer in layers)
    in_memory = sum(layer.waterline_ns for layer in layers if layer.bound == "memory")
    by_memory = work.flops / work.moved_bytes * band.per_s
    efficiency = work.flops * 1e9 / point.time_ns / peak.per_s
    low, high = _spread(row, point.time_ns, peak, efficiency)
    notes = list(point.notes)
    if waterline > point.time_ns:
        notes.append(note_words.BELOW_WATERLINE)
    unknown = dict(point.unknown)
    if low is None:
        why = unknown_words.NO_INTERVAL_OF_PEAK
        unknown["efficiency_low"] = unknown["efficiency_high"] = why
    return msgspec.structs.replace(
        point,
        threads=peak.threads,
        roof_per_s=min(peak.per_s, by_memory),
        bound="compute" if peak.per_s <= by_memory else "memory",
        efficiency=efficiency,
        efficiency_low=low,
        efficiency_high=high,
        waterline_ns=waterline,
        gap=point.time_ns / waterline,
        memory_share=in_memory / waterline,
        layers=layers,
        notes=notes,
        unknown=unknown,
    )


def _threads(row: Row) -> int | None:
    if row.effective is not None and row.effective.threads is not None:
        return row.effective.threads
    threads = row.variant.get("threads")
    return threads if isinstance(threads, int) and threads > 0 else None


def _line_of(layer: Layer, peak: Ceiling, band: Ceiling) -> LayerLine:
    compute, memory = layer.flops * 1e9 / peak.per_s, layer.moved_bytes * 1e9 / band.per_s
    return LayerLine(
        op=layer.op,
        flops=layer.flops,
        moved_bytes=layer.moved_bytes,
        waterline_ns=max(compute, memory),
        bound="compute" if compute >= memory else "memory",
    )


def _spread(
    row: Row, time_ns: float, peak: Ceiling, efficiency: float
) -> tuple[float | None, float | None]:
    """The efficiency with both, time and peak, at the ends of their intervals. The time at a rate
    has none: that of p50 is of the wait as well."""
    if row.scenario == "offline":
        value, low, high = row.throughput_per_s, row.throughput_low_per_s, row.throughput_high_per_s
        ends = (value / high, value / low) if value and low and high else None
    elif row.rate_per_s is not None:
        ends = None
    else:
        runs = runs_of_query(row.scenario, row.variant)
        low_ns, high_ns = (
            ns and ns / runs for ns in (row.latency_ns.p50_low, row.latency_ns.p50_high)
        )
        ends = (low_ns / time_ns, high_ns / time_ns) if low_ns and high_ns else None
    if ends is None or peak.low_per_s is None or peak.high_per_s is None:
        return None, None
    return (
        efficiency / ends[1] * peak.per_s / peak.high_per_s,
        efficiency / ends[0] * peak.per_s / peak.low_per_s,
    )
