"""Compares each row with its fp32 row: the speed-up with its interval, and the change of the quality."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from edgebench.analysis.competition import query_samples, request_of, same_run
from edgebench.analysis.frame import RowFrame
from edgebench.analysis.table_types import Baseline, Quality, Row
from edgebench.analysis.uncertainty import Gain, gains_of
from edgebench.metrics import METRICS
from edgebench.words import unknown_words

_Key = tuple[object, ...]


def with_baselines(rows: Sequence[Row]) -> list[Row]:
    """Fills `baseline` and the quality's delta.

    The fp32 row is of the same run, workload, backend and scenario: that with the same settings, or
    else the fastest, then said by `same_settings`.
    """
    exact: dict[_Key, Row] = {}
    fastest: dict[_Key, Row] = {}
    groups = [_group_key(row) for row in rows]
    settings = [(group, _settings(row)) for group, row in zip(groups, rows, strict=True)]
    for row, group, setting in zip(rows, groups, settings, strict=True):
        if row.variant.get("precision") == "fp32" and row.ranked:
            exact[setting] = row
            if group not in fastest or _cost(row) < _cost(fastest[group]):
                fastest[group] = row
    same = [exact.get(setting) for setting in settings]
    others = [
        twin or fastest.get(group) if row.variant.get("precision") != "fp32" else None
        for row, group, twin in zip(rows, groups, same, strict=True)
    ]
    gains = _gains(rows, others)
    return [
        _compare(row, other, gains.get(index), other is twin)
        for index, (row, other, twin) in enumerate(zip(rows, others, same, strict=True))
    ]


def is_surely_slower(row: Row) -> bool:
    """Whether it is slower than the fp32 row with the same settings, its interval included."""
    gain = row.baseline
    if gain is None or not gain.same_settings or gain.speedup_high is None:
        return False
    return gain.speedup_high < 1


def _gains(rows: Sequence[Row], others: Sequence[Row | None]) -> dict[int, Gain | None]:
    """How many times as fast each row is as its other one, where both tell their speed."""
    frame = RowFrame(rows)
    places = {id(row): place for place, row in enumerate(rows)}
    pairs = [(place, places[id(other)]) for place, other in enumerate(others) if other is not None]
    gains: dict[int, Gain | None] = {}
    for metric, some in (
        (METRICS["latency.p50"], [p for p in pairs if _both_tell(rows, p, "p50")]),
        (METRICS["throughput"], [p for p in pairs if not _both_tell(rows, p, "p50")]),
    ):
        if not some:
            continue
        mine, other = np.array(some, dtype=np.intp).T
        sides = (other, mine) if metric.better == "lower" else (mine, other)
        gains.update(zip(mine.tolist(), gains_of(frame, metric, *sides), strict=True))
    return gains


def _both_tell(rows: Sequence[Row], pair: tuple[int, int], name: str) -> bool:
    return all(getattr(rows[place].latency_ns, name) is not None for place in pair)


def _group_key(row: Row) -> _Key:
    return (
        *same_run(row),
        row.variant.get("batch", 1),  # another batch is another query
        row.variant.get("model"),  # another network is no baseline (imported rows)
        row.variant.get("prompt_tokens"),
        row.variant.get("new_tokens"),
        request_of(row),
        query_samples(row),
    )


def _settings(row: Row) -> _Key:
    return tuple(
        sorted([(axis, repr(value)) for axis, value in row.variant.items() if axis != "precision"])
    )


def _cost(row: Row) -> float:
    """Time per query or, offline, per item."""
    if row.latency_ns.p50 is not None:
        return row.latency_ns.p50
    return 1e9 / row.throughput_per_s if row.throughput_per_s else float("inf")


def _compare(row: Row, other: Row | None, gain: Gain | None, same_settings: bool) -> Row:
    unknown = dict(row.unknown)
    if row.variant.get("precision") == "fp32":
        # An fp32 row is the measure, but one with other settings may be told against the fastest.
        unknown["baseline"] = unknown_words.FP32_ROW
        for name in ("quality.delta", "quality.delta_to"):
            if name in unknown:
                unknown[name] = unknown_words.FP32_ROW
        return msgspec.structs.replace(row, unknown=unknown)
    if other is None:
        return row
    baseline = None
    if gain is None:
        unknown["baseline"] = unknown_words.ROW_NOT_MEASURED
    else:
        baseline = Baseline(
            id=other.id,
            run=other.run,
            same_settings=same_settings,
            speedup=gain.ratio,
            speedup_low=gain.low,
            speedup_high=gain.high,
        )
        del unknown["baseline"]
        if gain.low is None:
            why = unknown_words.INTERVAL_OF_BOTH
            unknown["baseline.speedup_low"] = unknown["baseline.speedup_high"] = why
    quality = _with_delta(row.quality, other)
    if quality is not None and quality.delta is not None:
        del unknown["quality.delta"], unknown["quality.delta_to"]
    return msgspec.structs.replace(row, baseline=baseline, quality=quality, unknown=unknown)


def _with_delta(quality: Quality | None, other: Row) -> Quality | None:
    reference = other.quality
    if quality is None or reference is None or quality.metric != reference.metric:
        return quality
    if quality.value is None or reference.value is None:
        return quality
    return msgspec.structs.replace(
        quality, delta=quality.value - reference.value, delta_to=other.id
    )
