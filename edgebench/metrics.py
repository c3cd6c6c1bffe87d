"""The metric names of the command line: field of a table row, unit, direction, label.

Every command that takes or prints a metric asks here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Literal

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
        path = self.path
        while path:
            if path in row.unknown:
                return row.unknown[path]
            path = path.rpartition(".")[0]
        return "unknown"

    def low(self, row: Row) -> float | None:
        """Lower end of the interval, or None where there is none."""
        return number_at(row, self.low_path) if self.low_path else None

    def high(self, row: Row) -> float | None:
        """Upper end of the interval, or None where there is none."""
        return number_at(row, self.high_path) if self.high_path else None


_SUFFIXES = ("ns", "bytes", "per_s")  # the names of the others tell their unit
_ENERGY = ("J", "W", "J_s", "per_J")


_getter = lru_cache(maxsize=None)(attrgetter)


def number_at(row: Row, path: str) -> float | None:
    """The number at a dotted path of fields; None where it, or a part on the way, is none."""
    try:
        value = _getter(path)(row)
    except AttributeError:
        return None
    return value if isinstance(value, int | float) else None


def numbers_at(rows: Sequence[Row], path: str) -> list[float | None]:
    """The number at a dotted path of fields of each row; None where it, or a part on the way, is none."""
    try:
        return list(map(_getter(path), rows))
    except AttributeError:  # some rows lack the part
        return [number_at(row, path) for row in rows]


def _latency(percentile: str, label: str, interval: bool) -> Metric:
    path = f"latency_ns.{percentile}"
    low, high = (f"{path}_low", f"{path}_high") if interval else ("", "")
    return Metric(f"latency.{percentile}", path, "ns", "lower", label, low, high)


def _time(name: str, path: str, label: str) -> Metric:
    return Metric(name, path, "ns", "lower", label)


def _interval(name: str, label: str) -> Metric:
    path = name + "_ns"
    low, high = name + "_low_ns", name + "_high_ns"
    return Metric(name, path, "ns", "lower", label, low, high)


def _size(name: str, path: str, label: str) -> Metric:
    return Metric(name, path, "bytes", "lower", label)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _latency("p50", "median latency", True),
        _latency("p90", "90th percentile of the latency", True),
        _latency("p99", "99th percentile of the latency", True),
        _latency("p90_early_stopping", "MLPerf estimate of p90", False),
        _latency("p99_early_stopping", "MLPerf estimate of p99", False),
        _latency("p999_early_stopping", "MLPerf estimate of p99.9", False),
        Metric(
            "throughput", "throughput_per_s", "per_s", "higher", "items per second",
            "throughput_low_per_s", "throughput_high_per_s",
        ),
        Metric(
            "speedup", "baseline.speedup", "1", "higher", "speed-up against fp32",
            "baseline.speedup_low", "baseline.speedup_high",
        ),
        _size("memory.peak", "memory_peak_bytes", "peak memory of the process"),
        _size("memory.uss_loaded", "memory.uss_loaded_bytes", "own memory, model loaded"),
        _size("memory.uss_warm", "memory.uss_warm_bytes", "own memory, warmed up"),
        _size("memory.uss_end", "memory.uss_end_bytes", "own memory, at the end"),
        _size("memory.arena", "memory.arena_bytes", "memory of the runtime's allocator"),
        _size("memory.anonymous", "memory.anonymous_bytes", "memory that the process wrote itself"),
        _size("memory.file", "memory.file_bytes", "pages of files, such as mapped weights"),
        _size("memory.pss", "memory.pss_bytes", "resident memory, shared pages by their share"),
        _size("memory.budget", "memory.budget_bytes", "memory that it was held to"),
        _size("fits", "memory.fits_bytes", "memory that it was held to and fits into"),
        _size("memory.device_peak", "memory.device_peak_bytes", "peak memory of the accelerator"),
        _size("model.size", "model.size_bytes", "size of the model file"),
        Metric("quality", "quality.value", "1", None, "quality of the answers"),
        Metric("quality.delta", "quality.delta", "1", None, "quality minus that of fp32"),
        Metric("energy.j_per_inference", "energy.j_per_inference", "J", "lower",
               "energy per inference"),
        Metric("energy.uncertainty_j", "energy.uncertainty_j", "J", "lower",
               "half-width of the energy per inference"),
        Metric("energy.net_j_per_inference", "energy.net_j_per_inference", "J", "lower",
               "energy per inference beyond idle"),
        Metric("energy.average_w", "energy.average_w", "W", "lower", "average power"),
        Metric("energy.edp_j_s", "energy.edp_j_s", "J_s", "lower", "energy-delay product"),
        Metric("energy.inferences_per_j", "energy.inferences_per_j", "per_J", "higher",
               "inferences per joule"),
        Metric("instructions", "instructions.retired", "1", "lower",
               "instructions of an inference, by the processor"),
        Metric("instructions.callgrind", "instructions.callgrind", "1", "lower",
               "instructions of an inference, by callgrind"),
        _time("cold_start", "cold_start.total_ns", "import, load and first inference"),
        _time("cold_start.import", "cold_start.import_ns", "import of the runtime"),
        _time("cold_start.load", "cold_start.load_ns", "load of the model"),
        _time("cold_start.first_inference", "cold_start.first_inference_ns", "first inference"),
        _time("warmup", "warmup.duration_ns", "time until the latency was steady"),
        _time("pipeline.preprocess", "pipeline.preprocess_ns", "pre-processing"),
        _time("pipeline.inference", "pipeline.inference_ns", "inference within the pipeline"),
        _time("pipeline.postprocess", "pipeline.postprocess_ns", "post-processing"),
        _time("pipeline.end_to_end", "pipeline.end_to_end_ns", "raw input to answer"),
        _interval("generate.ttft", "time to first token"),
        _interval("generate.tpot", "time per output token after the first"),
        _time("generate.interval.p90", "generate.interval_p90_ns", "p90 between tokens"),
        _time("generate.interval.p99", "generate.interval_p99_ns", "p99 between tokens"),
        Metric("generate.prefill", "generate.prefill_tokens_per_s", "per_s", "higher",
               "prompt tokens per second"),
        Metric("generate.decode", "generate.decode_tokens_per_s", "per_s", "higher",
               "new tokens per second after the first"),
        Metric("generate.j_per_token", "generate.j_per_token", "J", "lower",
               "energy per new token, prompt included"),
        _size("generate.kv_cache", "generate.kv_cache_bytes", "cache of keys and values"),
        Metric("paced.misses", "paced.misses", "1", "lower", "missed deadlines"),
        Metric("paced.utilisation", "paced.utilisation", "1", "lower", "share of the time in service"),
        Metric("paced.depth_max", "paced.depth_max", "1", "lower", "most queries in the queue"),
        Metric("company.ratio", "company.ratio", "1", "lower", "mean latency in company over alone",
               "company.ratio_low", "company.ratio_high"),
        _time("company.p50", "company.p50_ns", "median latency in company"),
        _time("company.p99", "company.p99_ns", "p99 latency in company"),
        Metric("company.waited_share", "company.waited_share", "1", "lower",
               "wait for a core in what company adds"),
        Metric("company.cpu_ratio", "company.cpu_ratio", "1", "lower",
               "CPU time of a query in company over alone"),
        _size("company.memory", "company.total_bytes", "memory of all processes together"),
        _time("loadgen.p50", "loadgen.p50_ns", "median latency by LoadGen"),
        _time("loadgen.p90", "loadgen.p90_ns", "90th percentile by LoadGen"),
        _time("loadgen.p99", "loadgen.p99_ns", "99th percentile by LoadGen"),
        Metric("loadgen.throughput", "loadgen.throughput_per_s", "per_s", "higher",
               "samples per second by LoadGen"),
        Metric("loadgen.p90_ratio", "loadgen.p90_ratio", "1", "lower", "p90 by LoadGen over ours",
               "loadgen.p90_ratio_low", "loadgen.p90_ratio_high"),
        Metric("loadgen.p99_ratio", "loadgen.p99_ratio", "1", "lower", "p99 by LoadGen over ours",
               "loadgen.p99_ratio_low", "loadgen.p99_ratio_high"),
        Metric("loadgen.p90_same_ratio", "loadgen.p90_same_ratio", "1", "lower",
               "p90 by LoadGen over ours of the same queries"),
        Metric("loadgen.p99_same_ratio", "loadgen.p99_same_ratio", "1", "lower",
               "p99 by LoadGen over ours of the same queries"),
        Metric("loadgen.throughput_ratio", "loadgen.throughput_ratio", "1", "higher",
               "samples per second by LoadGen over ours"),
        _time("loadgen.overhead", "loadgen.overhead_ns", "time that LoadGen adds to a query"),
        _time("latency.worst", "worst_case.worst_ns", "slowest input found, its answer included"),
        Metric("energy.worst", "worst_case.energy_j", "J", "lower", "energy of the input that takes most"),
        Metric("worst_case.energy_amplification", "worst_case.energy_amplification", "1", "lower",
               "energy of the input that takes most over that of the median one"),
        Metric("worst_case.amplification", "worst_case.amplification", "1", "lower",
               "slowest input found over the median one"),
        _time("shapes.p50", "shapes.p50_ns", "median latency over a mix of shapes"),
        _time("shapes.p90", "shapes.p90_ns", "90th percentile over a mix of shapes"),
        _time("shapes.p99", "shapes.p99_ns", "99th percentile over a mix of shapes"),
        Metric("shapes.change_ratio", "shapes.change_ratio", "1", "lower",
               "latency after a change of shape over the same shape again",
               "shapes.change_ratio_low", "shapes.change_ratio_high"),
        Metric("shapes.first_ratio", "shapes.first_ratio", "1", "lower",
               "first query of a shape over the second"),
        _size("shapes.growth", "shapes.growth_bytes", "own memory that changes of shape added"),
        _size("shapes.arena_growth", "shapes.arena_growth_bytes",
              "memory that they added to the runtime's allocator"),
        Metric("stream.real_time_factor", "stream.real_time_factor", "1", "lower",
               "time of computing over time of the stream"),
        _time("stream.service_p99", "stream.service_p99_ns", "p99 of computing a hop"),
        _time("stream.delay", "stream.delay_p99_ns", "from a sample to its answer, at p99"),
        _time("stream.algorithmic_delay", "stream.algorithmic_delay_ns", "wait for input"),
        _time("stream.recovery", "stream.recovery_ns", "to catch up after a stop"),
        Metric("stream.misses", "stream.misses", "1", "lower", "hops done after the next arrived"),
        Metric("stream.backlog_max", "stream.backlog_max", "1", "lower", "most hops that waited"),
        _size("stream.state", "stream.state_bytes", "state from hop to hop"),
        Metric("stream.cpu_share", "stream.cpu_share", "1", "lower", "share of a core at real time"),
        Metric("stream.j_per_s", "stream.j_per_s", "J", "lower", "energy per second of stream"),
        _time("sustained.burst_p50", "sustained.burst_p50_ns", "median latency at first"),
        _time("sustained.p50", "sustained.sustained_p50_ns", "median latency once it is hot"),
        Metric("sustained.slowdown", "sustained.slowdown", "1", "lower", "sustained over burst"),
        Metric("temperature", "sustained.temperature_max_c", "C", "lower",
               "highest temperature under a sustained load"),
    )
}  # fmt: skip


def metric(name: str) -> Metric:
    """The metric of that name. Raises UsageError with the nearest name."""
    try:
        return METRICS[name]
    except KeyError:
        raise UsageError(f"no metric {name!r}{did_you_mean(name, METRICS)}") from None
