"""Computes the energy of a finished run's windows from a meter's log, and writes it to new records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec
import numpy as np

from edgebench.energy.cell_energy import combine
from edgebench.energy.energy_window import SourceFacts
from edgebench.energy.marker_alignment import Alignment, align, zone_shift_s
from edgebench.energy.meter_log import LATEST_S, MeterLog
from edgebench.energy.replicate_energy import origin, window_energy
from edgebench.energy.source import Sample
from edgebench.errors import UsageError
from edgebench.record import Energy, Record, Replicate

#: How well two computers' clocks are trusted to agree, where no marker tells.
CLOCK_ERROR_S = 0.05
_MARGIN_S = 2.0


@dataclass(frozen=True)
class Meter:
    """Holds what the user states about a meter."""

    scope: str = "device input"
    averages: bool = False  # a row is the mean since the row before
    accuracy: float | None = None  # as a share of the value


def offset_of(log: MeterLog, records: Sequence[Record], given_s: float | None) -> Alignment:
    """The seconds to add to the log's times to get Unix time: from the user, the markers, or the log's clock.

    Raises UsageError where none of them serves.
    """
    if given_s is not None:
        return Alignment(given_s, CLOCK_ERROR_S, 1.0)
    pulses_s = sorted(
        (marker.start_unix_ns / 1e9, marker.end_unix_ns / 1e9)
        for record in records
        for replicate in record.replicates
        for marker in replicate.markers
    )
    if pulses_s:
        return align(*_power(log), pulses_s, str(log.path))
    if log.absolute:
        return Alignment(0.0, CLOCK_ERROR_S, 1.0)
    raise UsageError(
        f"{log.path}: its times do not say when they begin, and the run has no markers to find "
        "in it",
        "give --offset-s N (log time + N = Unix time), or run with --energy-markers",
    )


def _power(log: MeterLog) -> tuple[np.ndarray, np.ndarray]:
    """Times and watts of a log; of a counter the mean power from row to row, in its middle."""
    if log.quantity == "power":
        return log.times_s, log.values
    known = np.isfinite(log.values)
    times_s, joules = log.times_s[known], log.values[known]
    return (times_s[1:] + times_s[:-1]) / 2, np.diff(joules) / np.diff(times_s)


def attach(
    records: Sequence[Record], log: MeterLog, alignment: Alignment, meter: Meter
) -> list[Record]:
    """The records with the energy of the log in place of any that they had. Raises UsageError where
    the log covers no measured window."""
    _check_span(log, alignment, records)
    facts = facts_of_log(log, alignment, meter)
    samples = samples_of(log, facts, alignment.offset_s)
    starts_ns = np.array([sample.start_ns for sample in samples])
    attached = [_attached(record, facts, samples, starts_ns, meter) for record in records]
    if not any(record.energy.status == "ok" for record in attached):
        raise UsageError(f"{log.path}: no measured window has an energy: {_why(attached)}")
    return attached


def _check_span(log: MeterLog, alignment: Alignment, records: Sequence[Record]) -> None:
    """Raises UsageError where the log is of another time than every measured window."""
    first_s, last_s = (float(log.times_s[n]) + alignment.offset_s for n in (0, -1))
    if not (abs(first_s) < LATEST_S and abs(last_s) < LATEST_S):
        raise UsageError(
            f"{log.path}: log time + {alignment.offset_s:g} s is {last_s:.3g} s, which is not a possible time",
            "choose --offset-s N so that log time + N is Unix time in seconds",
        )
    windows_s = [
        (unix_ns / 1e9, (unix_ns + last_ns - first_ns) / 1e9)
        for record in records
        for replicate in record.replicates
        if (unix_ns := replicate.window_start_unix_ns) is not None
        and (first_ns := replicate.window_start_ns) is not None
        and (last_ns := replicate.window_end_ns) is not None
    ]
    if not windows_s or any(first_s < end and start < last_s for start, end in windows_s):
        return
    run_s = min(start for start, _ in windows_s), max(end for _, end in windows_s)
    spans = f"it goes from {_utc(first_s)} to {_utc(last_s)}, and the run from {_utc(run_s[0])} to {_utc(run_s[1])}"
    shift_s = zone_shift_s((first_s, last_s), windows_s)
    if shift_s is None:
        raise UsageError(
            f"{log.path}: no measured window has an energy: {spans}",
            "give the log of this run, or the offset of its clock with --offset-s N",
        )
    hours = f"{abs(shift_s) / 3600:g} h {'behind' if shift_s > 0 else 'ahead of'}"
    raise UsageError(
        f"{log.path}: no measured window has an energy: {spans}; it is {hours} the run, as stamps in the "
        "local time of another zone are",
        f"if so, give --offset-s {alignment.offset_s + shift_s:g}, or write the zone in the stamps",
    )


def _utc(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def _why(records: Sequence[Record]) -> str:
    details = {record.energy.detail: None for record in records if record.energy.detail}
    return "; ".join(list(details)[:3]) or "the records hold no measured window"


def facts_of_log(log: MeterLog, alignment: Alignment, meter: Meter) -> SourceFacts:
    return SourceFacts(
        name=log.path.name,
        kind="measured_external",
        quantity=log.quantity,
        scope=meter.scope,
        total_rail=log.columns,
        period_s=log.period_s,
        resolution=log.resolution,
        averages=meter.averages,
        gain_error=meter.accuracy or 0.0,
        latency_s=2 * alignment.error_s,
    )


def samples_of(log: MeterLog, facts: SourceFacts, offset_s: float) -> list[Sample]:
    """Rows by Unix time. A polled value is older than its read, which integration corrects for; a row
    is stamped itself, so that its stamp is moved by as much the other way."""
    shift_s = offset_s + facts.latency_s / 2 + facts.period_s / 2
    at_ns = np.round((log.times_s + shift_s) * 1e9).astype(np.int64).tolist()
    return [
        Sample(ns, ns, None if math.isnan(value) else value)
        for ns, value in zip(at_ns, log.values.tolist(), strict=True)
    ]


def _attached(
    record: Record,
    facts: SourceFacts,
    samples: Sequence[Sample],
    starts_ns: np.ndarray,
    meter: Meter,
) -> Record:
    items = record.cell.samples_per_query
    replicates = [
        _measured(replicate, facts, samples, starts_ns, items, meter)
        for replicate in record.replicates
    ]
    good = [replicate.energy for replicate in replicates if replicate.status == "ok"]
    nothing = Energy(
        status="unavailable",
        reason="no_sensor",
        detail="no replicate has a measured window with its time",
        **origin(facts),
    )
    return msgspec.structs.replace(record, replicates=replicates, energy=combine(good) or nothing)


def _measured(
    replicate: Replicate,
    facts: SourceFacts,
    samples: Sequence[Sample],
    starts_ns: np.ndarray,
    batch: int,
    meter: Meter,
) -> Replicate:
    """The replicate with its window's energy; without a window it stays as it is."""
    unix_ns = replicate.window_start_unix_ns
    first_ns, last_ns = replicate.window_start_ns, replicate.window_end_ns
    if unix_ns is None or first_ns is None or last_ns is None:
        return msgspec.structs.replace(replicate, energy=None)
    clock_ns = unix_ns - first_ns
    margin_ns = round((_MARGIN_S + 3 * facts.period_s) * 1e9)
    bounds_ns = (unix_ns - margin_ns, last_ns + clock_ns + margin_ns)
    low, high = np.searchsorted(starts_ns, bounds_ns)
    near = [
        Sample(sample.start_ns - clock_ns, sample.end_ns - clock_ns, sample.value)
        for sample in samples[low:high]
    ]
    energy = window_energy(facts, near, replicate, batch)
    caveats = () if meter.accuracy is not None else ("accuracy not stated, and not included",)
    return msgspec.structs.replace(
        replicate, energy=msgspec.structs.replace(energy, caveats=caveats)
    )
