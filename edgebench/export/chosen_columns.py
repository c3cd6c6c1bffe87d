"""Columns that a reader chooses: metrics, fields of a row, and the literature's sets by their names.

What a row does not tell stays unknown, with the reason.

- efficientllm: the columns of EfficientLLM (arXiv 2505.13840, section 3).
- mnasnet: the reward ACC * (LAT / T)**w of MnasNet (arXiv 1807.11626, equation 2).
- iso-latency: the best quality within a latency; iso-quality: the lowest latency at a quality;
  both for each value of an axis, "at equal budget" as in KV Prediction (arXiv 2410.08391).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from edgebench.analysis.competition import groups
from edgebench.analysis.table_types import Row
from edgebench.errors import UsageError
from edgebench.export.columns import columns_of
from edgebench.metrics import METRICS
from edgebench.record import samples_of_query
from edgebench.text.did_you_mean import did_you_mean
from edgebench.units import format_ns
from edgebench.words import unknown_words

SCHEMA: Final = "edgebench.columns/1"
MNASNET_W: Final = -0.07

_CLOSED_LOOPS = ("single_stream", "multi_stream", "sustained", "generate")


class Column(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    unit: str
    meaning: str  # its formula


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the table (or, of the iso views, the row that stands for an axis value)."""

    device: str
    run: str
    id: str
    ranked: bool  # False: its answers are not good enough, or something else strikes it
    label: str  # value of the axis, of the iso views; else backend and variant
    cells: list[Any]  # one per column: a number, or what a field holds
    unknown: dict[str, str]  # column -> why its cell is None


class ChosenColumns(msgspec.Struct, frozen=True, kw_only=True):
    schema: Literal["edgebench.columns/1"] = SCHEMA
    name: str  # what was asked for
    columns: list[Column]
    lines: list[Line]
    notes: list[str]


#: A cell: its value, or None and why.
_Cell = tuple[Any, str]


@dataclass(frozen=True)
class Options:
    """Holds what the sets of the literature take besides the rows."""

    target_ns: float | None = None  # T of mnasnet
    exponent: float = MNASNET_W
    axis: str = "precision"  # whose values the iso sets compare
    budget_ns: float | None = None  # of iso-latency
    level: float | None = None  # of iso-quality


@dataclass(frozen=True)
class _Part:
    """Columns that stand together, and their cells of a row."""

    columns: Sequence[Column]
    cells: Callable[[Row], list[_Cell]]


def choose(rows: Sequence[Row], names: Sequence[str], options: Options) -> ChosenColumns:
    """The columns of these names: metrics, fields of the flat table (docs/export.md), and sets.

    A set alone has the rows of the literature; beside others it has those of the table. Raises UsageError.
    """
    if len(names) == 1 and names[0] in SETS:
        return SETS[names[0]](rows, options)
    parts = [_part(name, rows, options) for name in names]
    columns = [column for part in parts for column in part.columns]
    lines = [
        _line(row, columns, [cell for part in parts for cell in part.cells(row)]) for row in rows
    ]
    return ChosenColumns(name=",".join(names), columns=columns, lines=lines, notes=[])


def _part(name: str, rows: Sequence[Row], options: Options) -> _Part:
    if name in METRICS:
        metric = METRICS[name]
        column = Column(name=name, unit=metric.unit, meaning=metric.label)
        return _Part([column], lambda row: [(metric.value(row), metric.why_unknown(row))])
    if name == "efficientllm":
        return _efficient_part(rows)
    if name == "mnasnet":
        return _reward_part(_target(options), options.exponent)
    if name in SETS:
        raise UsageError(f"{name} chooses rows, not columns alone", "ask for it by itself")
    fields = {column.name: column for column in columns_of(rows)}
    if name not in fields:
        near = did_you_mean(name, [*METRICS, *SETS, *fields])
        raise UsageError(
            f"no column {name!r}{near}", "docs/table.md lists metrics, docs/export.md other columns"
        )
    value = fields[name].value
    column = Column(name=name, unit="", meaning="")
    return _Part([column], lambda row: [(value(row), row.unknown.get(name, "unknown"))])


def _line(row: Row, columns: Sequence[Column], cells: Sequence[_Cell], label: str = "") -> Line:
    axes = " ".join(f"{axis}={value}" for axis, value in sorted(row.variant.items()))
    return Line(
        device=row.device,
        run=row.run,
        id=row.id,
        ranked=row.ranked,
        label=label or f"{row.workload} {row.backend} {axes}",
        cells=[value for value, _ in cells],
        unknown={
            column.name: why
            for column, (value, why) in zip(columns, cells, strict=True)
            if value is None
        },
    )


# --- EfficientLLM

_EFFICIENT = [
    Column(name="AMU", unit="bytes", meaning="mean memory over time"),
    Column(name="PCU", unit="1", meaning="mean utilisation over the peak"),
    Column(name="AL", unit="s", meaning="mean time of a query: batch / items per second"),
    Column(name="TT", unit="per_s", meaning="tokens per second in training"),
    Column(name="ST", unit="per_s", meaning="samples per second"),
    Column(name="IT", unit="per_s", meaning="new tokens per second after the first"),
    Column(name="AEC", unit="W", meaning="mean power: watts, not joules"),
    Column(name="MCR", unit="1", meaning="(size_o / size_c) * (perf_c / perf_o), o: fp32"),
]


def efficientllm(rows: Sequence[Row]) -> ChosenColumns:
    """The columns of EfficientLLM, as far as rows tell them."""
    part = _efficient_part(rows)
    lines = [_line(row, part.columns, part.cells(row)) for row in rows if row.status == "ok"]
    return ChosenColumns(name="efficientllm", columns=_EFFICIENT, lines=lines, notes=[])


def _efficient_part(rows: Sequence[Row]) -> _Part:
    by_id = {(row.device, row.run, row.id): row for row in rows}

    def cells(row: Row) -> list[_Cell]:
        samples: _Cell = (row.throughput_per_s, row.unknown.get("throughput_per_s", "unknown"))
        watts: _Cell = (row.energy.average_w, row.energy.reason or unknown_words.NOT_MEASURED)
        return [
            (None, unknown_words.NO_SERIES), (None, unknown_words.NO_SERIES), _mean_latency(row),
            (None, unknown_words.NOT_TRAINED), samples, _token_rate(row), watts,
            _compression(row, by_id),
        ]  # fmt: skip

    return _Part(_EFFICIENT, cells)


def _token_rate(row: Row) -> _Cell:
    if row.generate is None:
        return None, unknown_words.NO_TOKENS
    rate = row.generate.decode_tokens_per_s
    return rate, row.unknown.get("generate.decode_tokens_per_s", "unknown")


def _mean_latency(row: Row) -> _Cell:
    if row.scenario not in _CLOSED_LOOPS or row.rate_per_s is not None:
        return None, unknown_words.NO_MEAN_TIME
    if not row.throughput_per_s:
        return None, row.unknown.get("throughput_per_s", "unknown")
    return samples_of_query(row.scenario, row.variant) / row.throughput_per_s, ""


def _compression(row: Row, by_id: dict[tuple[str, str, str], Row]) -> _Cell:
    if row.baseline is None:
        return None, row.unknown.get("baseline", unknown_words.NO_FP32_ROW)
    full = by_id[row.device, row.baseline.run, row.baseline.id]
    if row.model is None or full.model is None:
        return None, unknown_words.NO_MODEL_SIZE
    mine, other = row.quality, full.quality
    if mine is None or other is None or not mine.value or not other.value:
        return None, unknown_words.NO_QUALITY
    if mine.metric != other.metric:
        return None, unknown_words.OTHER_QUALITY
    kept = mine.value / other.value if mine.better == "higher" else other.value / mine.value
    return full.model.size_bytes / row.model.size_bytes * kept, ""


# --- MnasNet

_REWARD = [
    Column(name="reward", unit="1", meaning="ACC * (LAT / T)**w"),
    Column(name="reward_low", unit="1", meaning="at the upper end of the latency's interval"),
    Column(name="reward_high", unit="1", meaning="at its lower end"),
    Column(name="quality", unit="1", meaning="ACC"),
    Column(name="latency.p50", unit="ns", meaning="LAT"),
]


def _reward_part(target_ns: float, exponent: float) -> _Part:
    return _Part(_REWARD, lambda row: _reward(row, target_ns, exponent))


def _target(options: Options) -> float:
    if options.target_ns is None:
        raise UsageError("mnasnet needs the target latency T", "--target 10ms")
    return options.target_ns


def mnasnet(rows: Sequence[Row], target_ns: float, exponent: float = MNASNET_W) -> ChosenColumns:
    """Ranked rows, the highest reward first within each group. Raises UsageError where a reward is
    beyond all numbers."""
    lines = []
    for members in groups(rows).values():
        columns = []
        for row in (rows[index] for index in members if rows[index].ranked):
            cells = _reward(row, target_ns, exponent)
            columns.append(_line(row, _REWARD, cells))
        lines += sorted(columns, key=lambda line: (line.cells[0] is None, -(line.cells[0] or 0.0)))
    notes = [f"T = {format_ns(target_ns)}, w = {exponent:g}"]
    return ChosenColumns(name="mnasnet", columns=_REWARD, lines=lines, notes=notes)


def _reward(row: Row, target_ns: float, exponent: float) -> list[_Cell]:
    quality, latency = row.quality, row.latency_ns
    accuracy = None if quality is None else quality.value
    error = quality is not None and quality.better == "lower"
    why = unknown_words.QUALITY_IS_ERROR if error else unknown_words.UNKNOWN

    def reward(ns: float | None, reason: str) -> _Cell:
        if accuracy is None or error:
            return None, why
        if not ns:
            return None, reason
        try:
            value = accuracy * float(ns / target_ns) ** exponent
        except ArithmeticError:
            value = math.inf
        if not math.isfinite(value):
            ratio = f"({ns / target_ns:.3g})**{exponent:g}"
            raise UsageError(f"{row.id}: {ratio} is too large for a number", "try --exponent -0.07")
        return value, ""

    unknown = row.unknown.get("latency_ns") or row.unknown.get("latency_ns.p50", "unknown")
    bound = row.unknown.get("latency_ns.p50_low", unknown)
    return [
        reward(latency.p50, unknown),
        reward(latency.p50_high, bound),
        reward(latency.p50_low, bound),
        (accuracy, "unknown"),
        (latency.p50, unknown),
    ]


# --- equal budget

_ISO = [
    Column(name="budget", unit="", meaning="the latency or quality that all had to keep"),
    Column(name="quality", unit="1", meaning="of the row"),
    Column(name="latency.p50", unit="ns", meaning="of the row"),
    Column(name="latency.p50_low", unit="ns", meaning="its interval"),
    Column(name="latency.p50_high", unit="ns", meaning=""),
]


def iso_latency(
    rows: Sequence[Row], axis: str = "precision", at_ns: float | None = None
) -> ChosenColumns:
    """Returns for each value of the axis the row of best quality that is not slower than the budget; by
    default the median latency of the fastest row of the group's best quality."""

    def budget(group: Sequence[Row]) -> float:
        best = max(_goodness(row) for row in group)
        return float(min(_latency(row) for row in group if _goodness(row) == best))

    def choose(group: Sequence[Row], limit: float) -> Row | None:
        within = [row for row in group if _latency(row) <= limit]
        return min(within, key=lambda row: (-_goodness(row), _latency(row)), default=None)

    return _iso("iso-latency", rows, axis, at_ns, budget, choose)


def iso_quality(
    rows: Sequence[Row], axis: str = "precision", at: float | None = None
) -> ChosenColumns:
    """Returns for each value of the axis the fastest row that is at least as good as the level; by default
    the floor (or ceiling) of the workload where it is one for all, else the quality of the group's
    worst row."""

    def level(group: Sequence[Row]) -> float:
        floors = {row.quality.floor for row in group if row.quality}
        if len(floors) == 1 and (floor := floors.pop()):
            return floor
        worst = min(group, key=_goodness)
        assert worst.quality is not None  # or it would not be ranked
        return worst.quality.value or 0.0

    def choose(group: Sequence[Row], limit: float) -> Row | None:
        good = [row for row in group if row.quality and _reaches(row, limit)]
        return min(good, key=_latency, default=None)

    return _iso("iso-quality", rows, axis, at, level, choose)


def _iso(
    name: str,
    rows: Sequence[Row],
    axis: str,
    at: float | None,
    default: Callable[[Sequence[Row]], float],
    choose: Callable[[Sequence[Row], float], Row | None],
) -> ChosenColumns:
    axes = {"backend", *(known for row in rows for known in row.variant)}
    if rows and axis not in axes:
        raise UsageError(f"no axis {axis!r} in the results{did_you_mean(axis, axes)}")
    lines: list[Line] = []
    notes: list[str] = []
    for key, members in groups(rows).items():
        group = [rows[i] for i in members if rows[i].ranked and rows[i].latency_ns.p50 is not None]
        if not group:
            continue
        limit = default(group) if at is None else at
        parts: dict[str, list[Row]] = {}
        for row in group:
            value = row.backend if axis == "backend" else row.variant.get(axis, "-")
            parts.setdefault(str(value), []).append(row)
        for value, some in parts.items():
            best = choose(some, limit)
            if best is None:
                notes.append(
                    f"{key.workload} on {key.device}, {key.scenario}: no row with {axis}={value} keeps it"
                )
                continue
            ns = best.latency_ns
            cells: list[_Cell] = [
                (limit, ""), (best.quality.value if best.quality else None, "unknown"), (ns.p50, "unknown"),
                (ns.p50_low, best.unknown.get("latency_ns.p50_low", "unknown")),
                (ns.p50_high, best.unknown.get("latency_ns.p50_high", "unknown")),
            ]  # fmt: skip
            lines.append(_line(best, _ISO, cells, f"{key.workload} {axis}={value}"))
    return ChosenColumns(name=name, columns=_ISO, lines=lines, notes=notes)


def _latency(row: Row) -> float:
    return float("inf") if row.latency_ns.p50 is None else row.latency_ns.p50


def _goodness(row: Row) -> float:
    if row.quality is None or row.quality.value is None:
        return -float("inf")
    return row.quality.value if row.quality.better == "higher" else -row.quality.value


def _reaches(row: Row, level: float) -> bool:
    assert row.quality is not None
    sign = 1 if row.quality.better == "higher" else -1
    return _goodness(row) >= sign * level


#: The sets by name, with the rows and the order that their sources give them.
SETS: Mapping[str, Callable[[Sequence[Row], Options], ChosenColumns]] = {
    "efficientllm": lambda rows, options: efficientllm(rows),
    "mnasnet": lambda rows, options: mnasnet(rows, _target(options), options.exponent),
    "iso-latency": lambda rows, options: iso_latency(rows, options.axis, options.budget_ns),
    "iso-quality": lambda rows, options: iso_quality(rows, options.axis, options.level),
}
