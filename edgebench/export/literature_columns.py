"""The columns that papers define: EfficientLLM's, and the reward of MnasNet.

- efficientllm: the columns of EfficientLLM (arXiv 2505.13840, section 3).
- mnasnet: the reward ACC * (LAT / T)**w of MnasNet (arXiv 1807.11626, equation 2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from edgebench.analysis.competition import groups
from edgebench.analysis.table_types import Row
from edgebench.errors import UsageError
from edgebench.export.column_types import Cell, ChosenColumns, Column, Part, line_of
from edgebench.record import samples_of_query
from edgebench.units import format_ns
from edgebench.words import unknown_words

MNASNET_W: Final = -0.07

_CLOSED_LOOPS = ("single_stream", "multi_stream", "sustained", "generate")


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
    part = efficient_part(rows)
    lines = [line_of(row, part.columns, part.cells(row)) for row in rows if row.status == "ok"]
    return ChosenColumns(name="efficientllm", columns=_EFFICIENT, lines=lines, notes=[])


def efficient_part(rows: Sequence[Row]) -> Part:
    by_id = {(row.device, row.run, row.id): row for row in rows}

    def cells(row: Row) -> list[Cell]:
        samples: Cell = (row.throughput_per_s, row.unknown.get("throughput_per_s", "unknown"))
        watts: Cell = (row.energy.average_w, row.energy.reason or unknown_words.NOT_MEASURED)
        return [
            (None, unknown_words.NO_SERIES), (None, unknown_words.NO_SERIES), _mean_latency(row),
            (None, unknown_words.NOT_TRAINED), samples, _token_rate(row), watts,
            _compression(row, by_id),
        ]  # fmt: skip

    return Part(_EFFICIENT, cells)


def _token_rate(row: Row) -> Cell:
    if row.generate is None:
        return None, unknown_words.NO_TOKENS
    rate = row.generate.decode_tokens_per_s
    return rate, row.unknown.get("generate.decode_tokens_per_s", "unknown")


def _mean_latency(row: Row) -> Cell:
    if row.scenario not in _CLOSED_LOOPS or row.rate_per_s is not None:
        return None, unknown_words.NO_MEAN_TIME
    if not row.throughput_per_s:
        return None, row.unknown.get("throughput_per_s", "unknown")
    return samples_of_query(row.scenario, row.variant) / row.throughput_per_s, ""


def _compression(row: Row, by_id: dict[tuple[str, str, str], Row]) -> Cell:
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


def reward_part(target_ns: float, exponent: float) -> Part:
    return Part(_REWARD, lambda row: _reward(row, target_ns, exponent))


def mnasnet(rows: Sequence[Row], target_ns: float, exponent: float = MNASNET_W) -> ChosenColumns:
    """Ranked rows, the highest reward first within each group. Raises UsageError where a reward is
    beyond all numbers."""
    lines = []
    for members in groups(rows).values():
        columns = []
        for row in (rows[index] for index in members if rows[index].ranked):
            cells = _reward(row, target_ns, exponent)
            columns.append(line_of(row, _REWARD, cells))
        lines += sorted(columns, key=lambda line: (line.cells[0] is None, -(line.cells[0] or 0.0)))
    notes = [f"T = {format_ns(target_ns)}, w = {exponent:g}"]
    return ChosenColumns(name="mnasnet", columns=_REWARD, lines=lines, notes=notes)


def _reward(row: Row, target_ns: float, exponent: float) -> list[Cell]:
    quality, latency = row.quality, row.latency_ns
    accuracy = None if quality is None else quality.value
    error = quality is not None and quality.better == "lower"
    why = unknown_words.QUALITY_IS_ERROR if error else unknown_words.UNKNOWN

    def reward(ns: float | None, reason: str) -> Cell:
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
