"""A row as numbers for charts, and as words for tables and tooltips."""

from __future__ import annotations

from collections.abc import Callable

from edgebench.analysis.per_row.row_labels import setting
from edgebench.analysis.table_types import Row
from edgebench.metrics import METRICS, Metric
from edgebench.render import table_cells, table_wording
from edgebench.render.number_format import UNKNOWN, estimate_mark, half_width, percent, quantity
from edgebench.report.report_model import Figure, Numbers
from edgebench.text.plain_text import plain
from edgebench.units import format_bytes, format_ns, format_rate
from edgebench.words.unknown_words import value_and_limit

_MIB = 2**20


def numbers(row: Row, speed: Metric | None = None) -> Numbers:
    """The numbers of a row in the units of the charts, to six digits; the latency is that of the metric `speed`."""
    ns, memory, energy = row.latency_ns, row.memory, row.energy
    latency = speed if speed is not None and speed.unit == "ns" else METRICS["latency.p50"]
    joules, spread = energy.j_per_inference, energy.uncertainty_j
    sure = joules is not None and spread is not None
    return Numbers(
        latency_ms=_scaled(latency.value(row), 1e6),
        latency_low_ms=_scaled(latency.low(row), 1e6),
        latency_high_ms=_scaled(latency.high(row), 1e6),
        p90_ms=_scaled(ns.p90, 1e6),
        rate_per_s=_scaled(row.throughput_per_s, 1),
        rate_low_per_s=_scaled(row.throughput_low_per_s, 1),
        rate_high_per_s=_scaled(row.throughput_high_per_s, 1),
        memory_mib=_scaled(row.memory_peak_bytes, _MIB),
        memory_low_mib=_scaled(memory.peak_min_bytes, _MIB),
        memory_high_mib=_scaled(row.memory_peak_bytes, _MIB),
        loaded_mib=_scaled(memory.uss_loaded_bytes, _MIB),
        warm_mib=_scaled(memory.uss_warm_bytes, _MIB),
        quality=_scaled(row.quality.value if row.quality else None, 1),
        energy_mj=_scaled(joules, 1e-3),
        energy_low_mj=_scaled(joules - spread if sure else None, 1e-3),  # type: ignore[operator]
        energy_high_mj=_scaled(joules + spread if sure else None, 1e-3),  # type: ignore[operator]
    )


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else float(f"{value / unit:.6g}")


# --- words


def _timed(value: int | None, low: int | None, high: int | None) -> Figure:
    return Figure() if value is None else Figure(format_ns(value), half_width(value, low, high))


def _p50(row: Row) -> Figure:
    return _timed(row.latency_ns.p50, row.latency_ns.p50_low, row.latency_ns.p50_high)


def _p90(row: Row) -> Figure:
    """The 90th percentile, or what another tool states in its place."""
    ns = row.latency_ns
    if ns.p90 is not None or row.imported is None:
        return _timed(ns.p90, ns.p90_low, ns.p90_high)
    words = table_cells.p90_cell(row)
    return Figure() if words == "-" else Figure(words)


def _rate(row: Row) -> Figure:
    if row.throughput_per_s is None:
        return Figure()
    low, high = row.throughput_low_per_s, row.throughput_high_per_s
    return Figure(format_rate(row.throughput_per_s), half_width(row.throughput_per_s, low, high))


def _peak(row: Row) -> Figure:
    peak = row.memory_peak_bytes
    return Figure() if peak is None else Figure(format_bytes(peak))


def _judgement(row: Row) -> Figure:
    quality = row.quality
    if quality is None or quality.value is None:
        return Figure()
    return Figure(f"{quality.value:.3f}", "" if quality.delta is None else f"{quality.delta:+.3f}")


def _joules(row: Row) -> Figure:
    joules, half = row.energy.j_per_inference, row.energy.uncertainty_j
    if joules is None:
        return Figure()
    spread = "" if half is None else half_width(joules, joules - half, joules + half)
    return Figure(estimate_mark(row.energy.kind) + quantity(joules, "J"), spread)


def _first_token(row: Row) -> Figure:
    made = row.generate
    return Figure() if made is None else _timed(made.ttft_ns, made.ttft_low_ns, made.ttft_high_ns)


def _next_token(row: Row) -> Figure:
    made = row.generate
    return Figure() if made is None else _timed(made.tpot_ns, made.tpot_low_ns, made.tpot_high_ns)


_FIGURES: dict[str, Callable[[Row], Figure]] = {
    "p50": _p50,
    "p90": _p90,
    "items/s": _rate,
    "memory": _peak,
    "quality": _judgement,
    "energy": _joules,
    "TTFT": _first_token,
    "TPOT": _next_token,
}
FIGURE_NAMES = list(_FIGURES)


def figures(row: Row) -> list[Figure]:
    """Parallel to FIGURE_NAMES."""
    return [figure(row) for figure in _FIGURES.values()]


def _cell(name: str) -> Callable[[Row], str]:
    """A figure as one text; "-" where it is unknown."""

    def cell(row: Row) -> str:
        figure = _FIGURES[name](row)
        return f"{figure.value or '-'} {figure.beside}".rstrip()

    return cell


def _p99(row: Row) -> str:
    if row.latency_ns.p99 is not None:
        return format_ns(row.latency_ns.p99)
    why = row.unknown.get("latency_ns.p99") or row.unknown.get("latency_ns", "")
    return f"unknown: {why}" if why else "-"


def _speedup(row: Row) -> str:
    gain = row.baseline
    if gain is None:
        return ""
    span = "" if gain.speedup_low is None else f" ({gain.speedup_low:.2f}-{gain.speedup_high:.2f})"
    other = "" if gain.same_settings else f" (to {gain.id})"
    return f"{gain.speedup:.2f}x{span}{other}"


def _quality(row: Row) -> str:
    quality = row.quality
    if quality is None:
        return f"unknown: {row.unknown.get('quality', 'not measured')}"
    limit = "" if quality.floor is None else f", limit {quality.floor:g}"
    items = f"{quality.items} items, {quality.kind}" if quality.items else quality.kind
    return f"{quality.metric} {table_cells.quality_cell(row)} ({items}{limit})"


def _further(row: Row) -> str:
    also = row.quality.also if row.quality else []
    return "; ".join(map(value_and_limit, also))


def _memory(row: Row) -> str:
    return f"{_peak(row).value or UNKNOWN} ({row.memory.peak_source or 'not measured'})"


def _memory_parts(row: Row) -> str:
    memory = row.memory
    parts = (
        ("loaded", memory.uss_loaded_bytes),
        ("warm", memory.uss_warm_bytes),
        ("end", memory.uss_end_bytes),
        ("allocator", memory.arena_bytes),
        ("anonymous", memory.anonymous_bytes),
        ("of files", memory.file_bytes),
        ("PSS", memory.pss_bytes),
        ("accelerator", memory.device_peak_bytes),
    )
    return ", ".join(f"{name} {format_bytes(size)}" for name, size in parts if size is not None)


def _energy(row: Row) -> str:
    energy = row.energy
    if energy.j_per_inference is None:
        return f"unavailable: {energy.reason or 'no reason recorded'}"
    spread = "" if energy.uncertainty_j is None else f" ±{energy.uncertainty_j:.2g} J"
    source = ", ".join(filter(None, (energy.kind, energy.scope, energy.source)))
    return f"{table_cells.energy_cell(row)}{spread} per inference ({source or 'source unknown'})"


def _effective(row: Row) -> str:
    ran = row.effective
    if ran is None:
        return f"unknown: {row.unknown.get('effective', 'not reported')}"
    threads = "" if ran.threads is None else f", {ran.threads} threads"
    providers = ", ".join(ran.providers or {})
    told = f"{ran.precision} on {ran.device}{threads}; {ran.runtime}"
    return f"{told}; {providers}" if providers else told


def _model(row: Row) -> str:
    if row.model is None:
        return f"unknown: {row.unknown.get('model', '')}"
    return f"{row.model.name}, {format_bytes(row.model.size_bytes)}, sha256 {row.model.sha256[:12]}"


def _samples(row: Row) -> str:
    ns, reached = row.latency_ns, row.interval.reached
    precision = "" if reached is None else f", ±{percent(reached)} reached"
    return f"{ns.samples} in {ns.replicates} processes{precision}"


def _warmup(row: Row) -> str:
    if row.warmup is None:
        return ""
    steady = "steady" if row.warmup.steady else "not steady when it ended"
    return f"{row.warmup.iterations} runs, {format_ns(row.warmup.duration_ns)}, {steady}"


def _state(row: Row) -> str:
    return "; ".join(f"{check.level}: {check.name}: {check.evidence}" for check in row.state)


def _source(row: Row) -> str:
    """Another tool's word for what it reports."""
    if row.imported is None:
        return ""
    words = [f"{name}: {what}" for name, what in row.imported.reported.items()]
    where = f"{row.imported.tool}, {row.imported.file}"
    return "; ".join([where, *words, *row.imported.notes])


def _generated(cell: Callable[[Row], str]) -> Callable[[Row], str]:
    """The cell; "" of a row that generates nothing."""
    return lambda row: "" if row.generate is None else cell(row)


def _prefill_rate(row: Row) -> str:
    if row.generate is None or row.generate.prefill_tokens_per_s is None:
        return ""
    return format_rate(row.generate.prefill_tokens_per_s)


def _kv_cache(row: Row) -> str:
    if row.generate is None:
        return ""
    size = row.generate.kv_cache_bytes
    return row.unknown.get("generate.kv_cache_bytes", "") if size is None else format_bytes(size)


def _quality_words(row: Row, metric: str, form: str) -> str:
    """A quality metric, whether the limit is on it or it stands beside."""
    if row.quality is None:
        return ""
    values = {limit.metric: limit.value for limit in row.quality.also}
    value = {**values, row.quality.metric: row.quality.value}.get(metric)
    return "" if value is None else format(value, form)


def _settings(row: Row) -> str:
    return ", ".join(setting(axis, value) for axis, value in sorted(row.variant.items()))


def _rates(row: Row) -> str:
    """Every rate of a search in ascending order: where p99 begins to rise is the knee."""
    if row.rate_search is None:
        return ""
    trials = sorted(row.rate_search.trials, key=lambda trial: trial.rate_per_s)
    return ", ".join(
        f"{format_rate(trial.rate_per_s)}/s {format_ns(trial.p99_ns)} {trial.verdict}"
        for trial in trials
    )


_FACTS: dict[str, Callable[[Row], str]] = {
    **{name: _cell(name) for name in ("p50", "p90", "items/s", "memory", "quality")},
    "energy": table_cells.energy_cell,
    "TTFT": _generated(table_cells.first_token_cell),
    "TPOT": _generated(table_cells.next_token_cell),
    "decode tokens/s": _generated(table_cells.token_rate_cell),
    "prefill tokens/s": _prefill_rate,
    "KV cache": _kv_cache,
    "perplexity": lambda row: _quality_words(row, "perplexity", ".4g"),
    "agreement": lambda row: _quality_words(row, "greedy_agreement", ".3f"),
    "remarks": lambda row: "; ".join(table_wording.remarks(row)),
    "p99": _p99,
    "p99 by rate": _rates,
    "speed-up to fp32": _speedup,
    "quality in full": _quality,
    "further limits": _further,
    "peak memory": _memory,
    "own memory": _memory_parts,
    "energy in full": _energy,
    "settings": _settings,
    "ran as": _effective,
    "model": _model,
    "samples": _samples,
    "warm-up": _warmup,
    "around": table_wording.around,
    "disturbed by": _state,
    "source": _source,
    "run": lambda row: row.run,
}
#: The first six are the columns of the table; the others stand in a row's full record.
NAMES = list(_FACTS)


def values(row: Row) -> list[str]:
    """Parallel to NAMES."""
    return [plain(fact(row)) for fact in _FACTS.values()]
