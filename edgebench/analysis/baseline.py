"""Each row against the fp32 row: speed-up with its interval, and the change of the quality."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from edgebench.analysis import stats
from edgebench.analysis.types import Baseline, Quality, Row

_Key = tuple[object, ...]


def with_baselines(rows: Sequence[Row]) -> list[Row]:
    """Fills `baseline` and the quality's delta.

    The fp32 row is of the same run, workload, backend and scenario: that with the same settings, or
    else the fastest, then said by `same_settings`.
    """
    exact: dict[_Key, Row] = {}
    fastest: dict[_Key, Row] = {}
    for row in rows:
        if row.variant.get("precision") == "fp32" and row.ranked:
            exact[_settings_key(row)] = row
            group = _group_key(row)
            if group not in fastest or _cost(row) < _cost(fastest[group]):
                fastest[group] = row
    return [
        _compare(row, exact.get(_settings_key(row)), fastest.get(_group_key(row))) for row in rows
    ]


def _group_key(row: Row) -> _Key:
    return (
        row.device,
        row.run,
        row.workload,
        row.workload_version,
        row.backend,
        row.scenario,
        row.rate_per_s,
        row.variant.get("batch", 1),  # another batch is another query
        row.variant.get("prompt_tokens"),
        row.variant.get("new_tokens"),
    )


def _settings_key(row: Row) -> _Key:
    settings = tuple(
        sorted((axis, repr(value)) for axis, value in row.variant.items() if axis != "precision")
    )
    return (*_group_key(row), settings)


def _cost(row: Row) -> float:
    """Time per query or, offline, per item."""
    if row.latency_ns.p50 is not None:
        return row.latency_ns.p50
    return 1e9 / row.throughput_per_s if row.throughput_per_s else float("inf")


def _costs(row: Row) -> Sequence[float]:
    if row.scenario == "offline":
        return [1e9 / rate for rate in row.throughput_of_replicates_per_s]
    return row.latency_ns.p50_of_replicates


def _compare(row: Row, exact: Row | None, fastest: Row | None) -> Row:
    other = exact or fastest
    unknown = dict(row.unknown)
    if row.variant.get("precision") == "fp32":
        # An fp32 row is the measure, but one with other settings may be told against the fastest.
        unknown["baseline"] = "this is an fp32 row"
        for name in ("quality.delta", "quality.delta_to"):
            if name in unknown:
                unknown[name] = "this is an fp32 row"
        return msgspec.structs.replace(row, unknown=unknown)
    if other is None:
        return row
    baseline = _baseline(row, other, same_settings=exact is not None)
    if baseline is None:
        unknown["baseline"] = "the row was not measured"
    else:
        del unknown["baseline"]
        if baseline.speedup_low is None:
            why = "an interval needs 2 replicates of both rows"
            unknown["baseline.speedup_low"] = unknown["baseline.speedup_high"] = why
    quality = _with_delta(row.quality, other)
    if quality is not None and quality.delta is not None:
        del unknown["quality.delta"], unknown["quality.delta_to"]
    return msgspec.structs.replace(row, baseline=baseline, quality=quality, unknown=unknown)


def _baseline(row: Row, other: Row, same_settings: bool) -> Baseline | None:
    own = _cost(row)
    if own in (0, float("inf")):
        return None
    interval = stats.ratio_interval(_costs(other), _costs(row))
    speedup = _cost(other) / own
    return Baseline(
        id=other.id,
        run=other.run,
        same_settings=same_settings,
        speedup=speedup,
        speedup_low=None if interval is None else min(interval.low, speedup),
        speedup_high=None if interval is None else max(interval.high, speedup),
    )


def _with_delta(quality: Quality | None, other: Row) -> Quality | None:
    reference = other.quality
    if quality is None or reference is None or quality.metric != reference.metric:
        return quality
    if quality.value is None or reference.value is None:
        return quality
    return msgspec.structs.replace(
        quality, delta=quality.value - reference.value, delta_to=other.id
    )
