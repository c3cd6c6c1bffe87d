"""The metric names of the command line: field of a table row, unit, direction, label.

Every command that takes or prints a metric asks here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from edgebench.errors import UsageError
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from edgebench.analysis.table_types import Row

Better = Literal["lower", "higher"]


@dataclass(frozen=True)
class Metric:
    """One number of a table row. `better=None`: the row says (a quality may be an error rate)."""

    name: str
    path: str  # dotted path of fields, from a row
    unit: str  # "ns", "bytes", "per_s", "J", "W", "C", "J_s", "per_J", or "1" for shares and scores
    better: Better | None
    label: str
    low_path: str = ""  # of its 95 % interval, where there is one
    high_path: str = ""

    @property
    def of_energy(self) -> bool:
        """Whether it is made of joules: values of another kind or scope are other quantities."""
        return self.unit in _ENERGY

    def column(self, bound: str = "") -> str:
        """Name with the unit, for flat formats: "latency.p50_ns", "latency.p50_low_ns"."""
        name = f"{self.name}_{bound}" if bound else self.name
        return f"{name}_{self.unit}" if self.unit in _SUFFIXES else name

    def value(self, row: Row) -> float | None:
        """The number, or None where it is unknown (`Row.unknown` says why)."""
        return number_at(row, self.path)

    def why_unknown(self, row: Row) -> str:
        """The reason of the field, or of the part it stands in."""
        return reason_at(row.unknown, self.path)

    def low(self, row: Row) -> float | None:
        """Lower end of the interval, or None where there is none."""
        return number_at(row, self.low_path) if self.low_path else None

    def high(self, row: Row) -> float | None:
        """Upper end of the interval, or None where there is none."""
        return number_at(row, self.high_path) if self.high_path else None


_SUFFIXES = ("ns", "bytes", "per_s")  # the names of the others tell their unit
_ENERGY = ("J", "W", "J_s", "per_J")


_getter = lru_cache(maxsize=None)(attrgetter)


def reason_at(unknown: Mapping[str, str], path: str) -> str:
    """The reason of a dotted path of fields, or of the part that it stands in."""
    while path:
        if path in unknown:
            return unknown[path]
        path = path.rpartition(".")[0]
    return "unknown"


def value_at(row: object, path: str) -> Any:
    """Whatever stands at a dotted path of fields, from a row or a part of it; None where a part on the way is none."""
    try:
        return _getter(path)(row)
    except AttributeError:
        return None


def values_at(rows: Sequence[Row], path: str) -> list[Any]:
    """The same of each row."""
    try:
        return list(map(_getter(path), rows))
    except AttributeError:  # some rows lack the part
        part, _, rest = path.partition(".")
        parts = map(_getter(part), rows)
        return [None if each is None else value_at(each, rest) for each in parts]


def number_at(row: Row, path: str) -> float | None:
    """The number at a dotted path of fields; None where it, or a part on the way, is none."""
    value = value_at(row, path)
    return value if isinstance(value, int | float) else None


def _metric(
    unit: str,
    name: str,
    label: str,
    path: str = "",
    better: Better | None = "lower",
    interval: bool = False,
) -> Metric:
    """`path`: where it is not the name with its unit. `interval`: its ends stand beside it, by their names."""
    path = path or (f"{name}_{unit}" if unit in _SUFFIXES else name)
    stem = path.removesuffix(f"_{unit}")
    ends = [f"{stem}_{bound}{path[len(stem) :]}" for bound in ("low", "high")]
    return Metric(name, path, unit, better, label, *(ends if interval else []))


_time, _size = partial(_metric, "ns"), partial(_metric, "bytes")
_rate, _joules = partial(_metric, "per_s", better="higher"), partial(_metric, "J")
_ratio = partial(_metric, "1")

_ALL = (
    _time("latency.p50", "median latency", "latency_ns.p50", interval=True),
    _time("latency.p90", "90th percentile of the latency", "latency_ns.p90", interval=True),
    _time("latency.p99", "99th percentile of the latency", "latency_ns.p99", interval=True),
    _time("latency.p90_early_stopping", "MLPerf estimate of p90", "latency_ns.p90_early_stopping"),
    _time("latency.p99_early_stopping", "MLPerf estimate of p99", "latency_ns.p99_early_stopping"),
    _time(
        "latency.p999_early_stopping", "MLPerf estimate of p99.9", "latency_ns.p999_early_stopping"
    ),
    _rate("throughput", "items per second", interval=True),
    _ratio("speedup", "speed-up against fp32", "baseline.speedup", better="higher", interval=True),
    _size("memory.peak", "peak memory of the process", "memory_peak_bytes"),
    _size("memory.uss_loaded", "own memory, model loaded"),
    _size("memory.uss_warm", "own memory, warmed up"),
    _size("memory.uss_end", "own memory, at the end"),
    _size("memory.arena", "memory of the runtime's allocator"),
    _size("memory.anonymous", "memory that the process wrote itself"),
    _size("memory.file", "pages of files, such as mapped weights"),
    _size("memory.pss", "resident memory, shared pages by their share"),
    _size("memory.budget", "memory that it was held to"),
    _size("fits", "memory that it was held to and fits into", "memory.fits_bytes"),
    _size("memory.device_peak", "peak memory of the accelerator"),
    _size("model.size", "size of the model file"),
    _ratio("quality", "quality of the answers", "quality.value", better=None),
    _ratio("quality.delta", "quality minus that of fp32", better=None),
    _joules("energy.j_per_inference", "energy per inference"),
    _joules("energy.uncertainty_j", "half-width of the energy per inference"),
    _joules("energy.net_j_per_inference", "energy per inference beyond idle"),
    _metric("W", "energy.average_w", "average power"),
    _metric("J_s", "energy.edp_j_s", "energy-delay product"),
    _metric("per_J", "energy.inferences_per_j", "inferences per joule", better="higher"),
    _ratio(
        "instructions", "instructions of an inference, by the processor", "instructions.retired"
    ),
    _ratio("instructions.callgrind", "instructions of an inference, by callgrind"),
    _time("cold_start", "import, load and first inference", "cold_start.total_ns"),
    _time("cold_start.import", "import of the runtime"),
    _time("cold_start.load", "load of the model"),
    _time("cold_start.first_inference", "first inference"),
    _time("warmup", "time until the latency was steady", "warmup.duration_ns"),
    _time("pipeline.preprocess", "pre-processing"),
    _time("pipeline.inference", "inference within the pipeline"),
    _time("pipeline.postprocess", "post-processing"),
    _time("pipeline.end_to_end", "raw input to answer"),
    _time("generate.ttft", "time to first token", interval=True),
    _time("generate.tpot", "time per output token after the first", interval=True),
    _time("generate.interval.p90", "p90 between tokens", "generate.interval_p90_ns"),
    _time("generate.interval.p99", "p99 between tokens", "generate.interval_p99_ns"),
    _rate("generate.prefill", "prompt tokens per second", "generate.prefill_tokens_per_s"),
    _rate(
        "generate.decode", "new tokens per second after the first", "generate.decode_tokens_per_s"
    ),
    _joules("generate.j_per_token", "energy per new token, prompt included"),
    _size("generate.kv_cache", "cache of keys and values"),
    _ratio("paced.misses", "missed deadlines"),
    _ratio("paced.utilisation", "share of the time in service"),
    _ratio("paced.depth_max", "most queries in the queue"),
    _ratio("company.ratio", "mean latency in company over alone", interval=True),
    _time("company.p50", "median latency in company"),
    _time("company.p99", "p99 latency in company"),
    _ratio("company.waited_share", "wait for a core in what company adds"),
    _ratio("company.cpu_ratio", "CPU time of a query in company over alone"),
    _size("company.memory", "memory of all processes together", "company.total_bytes"),
    _time("loadgen.p50", "median latency by LoadGen"),
    _time("loadgen.p90", "90th percentile by LoadGen"),
    _time("loadgen.p99", "99th percentile by LoadGen"),
    _rate("loadgen.throughput", "samples per second by LoadGen"),
    _ratio("loadgen.p90_ratio", "p90 by LoadGen over ours", interval=True),
    _ratio("loadgen.p99_ratio", "p99 by LoadGen over ours", interval=True),
    _ratio("loadgen.p90_same_ratio", "p90 by LoadGen over ours of the same queries"),
    _ratio("loadgen.p99_same_ratio", "p99 by LoadGen over ours of the same queries"),
    _ratio("loadgen.throughput_ratio", "samples per second by LoadGen over ours", better="higher"),
    _time("loadgen.overhead", "time that LoadGen adds to a query"),
    _time("latency.worst", "slowest input found, its answer included", "worst_case.worst_ns"),
    _joules("energy.worst", "energy of the input that takes most", "worst_case.energy_j"),
    _ratio(
        "worst_case.energy_amplification",
        "energy of the input that takes most over that of the median one",
    ),
    _ratio("worst_case.amplification", "slowest input found over the median one"),
    _time("shapes.p50", "median latency over a mix of shapes"),
    _time("shapes.p90", "90th percentile over a mix of shapes"),
    _time("shapes.p99", "99th percentile over a mix of shapes"),
    _ratio(
        "shapes.change_ratio",
        "latency after a change of shape over the same shape again",
        interval=True,
    ),
    _ratio("shapes.first_ratio", "first query of a shape over the second"),
    _size("shapes.growth", "own memory that changes of shape added"),
    _size("shapes.arena_growth", "memory that they added to the runtime's allocator"),
    _ratio("stream.real_time_factor", "time of computing over time of the stream"),
    _time("stream.service_p99", "p99 of computing a hop"),
    _time("stream.delay", "from a sample to its answer, at p99", "stream.delay_p99_ns"),
    _time("stream.algorithmic_delay", "wait for input"),
    _time("stream.recovery", "to catch up after a stop"),
    _ratio("stream.misses", "hops done after the next arrived"),
    _ratio("stream.backlog_max", "most hops that waited"),
    _size("stream.state", "state from hop to hop"),
    _ratio("stream.cpu_share", "share of a core at real time"),
    _joules("stream.j_per_s", "energy per second of stream"),
    _time("sustained.burst_p50", "median latency at first"),
    _time("sustained.p50", "median latency once it is hot", "sustained.sustained_p50_ns"),
    _ratio("sustained.slowdown", "sustained over burst"),
    _metric(
        "C",
        "temperature",
        "highest temperature under a sustained load",
        "sustained.temperature_max_c",
    ),
)
METRICS: dict[str, Metric] = {each.name: each for each in _ALL}


def metric(name: str) -> Metric:
    """The metric of that name. Raises UsageError with the nearest name."""
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"no metric {name!r}{did_you_mean(name, METRICS)}") from None
