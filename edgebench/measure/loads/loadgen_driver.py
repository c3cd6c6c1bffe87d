"""Drives a session by MLPerf's LoadGen, with the same inputs and the same load as the replicate's own loop.

LoadGen is told how many queries the own loop served, and of a server its rate and seed: `loops.poisson` draws the
same schedule from a seed as LoadGen does. So the waits of its queries are known by our clock as well.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from edgebench.files import loadgen_log
from edgebench.measure.replicate.loops import Clock, Run, no_gc, poisson
from edgebench.processes.timer_slack import exact_timers
from edgebench.record import LoadGen

DISTRIBUTION = "mlcommons-loadgen"
DETAIL_LOG = "mlperf_log_detail.txt"
Scenario = Literal["SingleStream", "MultiStream", "Offline", "Server"]
#: Our scenarios -> LoadGen's. It knows no equal periods and no hops.
SCENARIOS: dict[str, Scenario] = {
    "single_stream": "SingleStream",
    "multi_stream": "MultiStream",
    "offline": "Offline",
    "server": "Server",
}
#: A server without a bound is asked for one that says nothing.
NO_BOUND_NS = 60_000_000_000
MAX_KEPT = 8192


class Load(NamedTuple):
    scenario: Scenario
    queries: int
    window_ns: int  # that they took in the own loop
    call_ns: int  # expected of a run
    calls_per_query: int = 1
    samples_per_call: int = 1
    rate_per_s: float | None = None
    seed: int = 0


class Served(NamedTuple):
    """The calls that LoadGen made, by our clock, and what one of them raised."""

    begin_ns: list[int]
    service_ns: list[int]
    errors: list[Exception]


def drive(run: Run, pool: Sequence[Any], load: Load, logs: str) -> LoadGen:
    """What LoadGen states of a session; `logs`: the folder where its logs stay, "": nowhere. Raises what a
    run raised."""
    with _folder(logs) as folder:
        served = _test(run, pool, load, folder)
        if served.errors:
            raise served.errors[0]
        with (folder / DETAIL_LOG).open(encoding="utf-8", errors="replace") as lines:
            found = loadgen_log.entries(lines)
    return _stated(found, load, served, logs)


@contextmanager
def _folder(logs: str) -> Iterator[Path]:
    if logs:
        Path(logs).mkdir(parents=True, exist_ok=True)
        yield Path(logs)
        return
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


def _test(run: Run, pool: Sequence[Any], load: Load, folder: Path) -> Served:
    import mlperf_loadgen as loadgen

    served = Served([], [], [])
    log = loadgen.LogSettings()
    log.log_output = loadgen.LogOutputSettings()
    log.log_output.outdir = str(folder)
    log.log_output.copy_summary_to_stdout = False
    log.enable_trace = False
    samples = len(pool) * load.samples_per_call
    library = loadgen.ConstructQSL(samples, samples, lambda _: None, lambda _: None)
    system = loadgen.ConstructSUT(_issue(loadgen, run, pool, load, served), lambda: None)
    try:
        with no_gc(), exact_timers():
            loadgen.StartTestWithLogSettings(
                system, library, _settings(loadgen, load, samples), log, ""
            )
    finally:
        loadgen.DestroySUT(system)
        loadgen.DestroyQSL(library)
    return served


def _settings(loadgen: Any, load: Load, samples: int) -> Any:
    """LoadGen's settings: as many queries as the own loop served, its rate and its seed."""
    settings = loadgen.TestSettings()
    settings.scenario = getattr(loadgen.TestScenario, load.scenario)
    settings.mode = loadgen.TestMode.PerformanceOnly
    settings.min_query_count = load.queries
    settings.max_query_count = 0 if load.scenario == "Offline" else load.queries
    settings.min_duration_ms = (
        max(1, load.window_ns // 1_000_000) if load.scenario == "Offline" else 1
    )
    settings.max_duration_ms = 2 * max(1, load.window_ns // 1_000_000) + 1000
    settings.performance_sample_count_override = samples
    query_ns = max(1, load.call_ns * load.calls_per_query)
    settings.single_stream_expected_latency_ns = query_ns
    settings.multi_stream_expected_latency_ns = query_ns
    settings.multi_stream_samples_per_query = load.calls_per_query * load.samples_per_call
    #: It sends a tenth more samples than this rate takes in the time.
    settings.offline_expected_qps = load.samples_per_call * 1e9 / max(1, load.call_ns) / 1.1
    settings.server_target_qps = load.rate_per_s or 1.0
    settings.server_target_latency_ns = NO_BOUND_NS
    settings.schedule_rng_seed = load.seed
    settings.sample_index_rng_seed = settings.qsl_rng_seed = load.seed
    return settings


def _issue(
    loadgen: Any,
    run: Run,
    pool: Sequence[Any],
    load: Load,
    served: Served,
    clock: Clock = time.perf_counter_ns,
) -> Callable[[Sequence[Any]], None]:
    """Serves a query on the thread that issues it. After an error the rest is answered without a run: an exception
    in LoadGen's thread would end the process."""
    answer, complete = loadgen.QuerySampleResponse, loadgen.QuerySamplesComplete
    size, each = len(pool), load.samples_per_call
    began, took = served.begin_ns.append, served.service_ns.append

    def issue(samples: Sequence[Any]) -> None:
        begin = clock()
        for first in range(0, len(samples), each):
            if not served.errors:
                try:
                    run(pool[samples[first].index // each % size])
                except Exception as error:  # noqa: BLE001 - raised again when LoadGen has ended
                    served.errors.append(error)
        if len(served.service_ns) < MAX_KEPT:
            took(clock() - begin)
            began(begin)
        complete([answer(sample.id, 0, 0) for sample in samples])

    return issue


def _stated(found: dict[str, Any], load: Load, served: Served, logs: str) -> LoadGen:
    """What the log states. An Offline query has no latency of its own."""

    def percentile(name: str) -> int | None:
        value = found.get(loadgen_log.percentile_key(name, load.scenario))
        return int(value) if load.scenario != "Offline" and isinstance(value, int | float) else None

    valid = found.get("result_validity") == "VALID"
    why = "" if valid else str(found.get("early_stopping_result") or "not valid")
    samples_per_s = loadgen_log.samples_per_s(found, load.scenario)
    return LoadGen(
        version=version(DISTRIBUTION),
        scenario=load.scenario,
        queries=_queries(found, load),
        valid=valid,
        why=" ".join(why.split()),
        p50_ns=percentile("50.00"),
        p90_ns=percentile("90.00"),
        p99_ns=percentile("99.00"),
        samples_per_s=samples_per_s,
        service_ns=served.service_ns,
        wait_ns=_waits_ns(served, load),
        logs=logs and "/".join(Path(logs).parts[-2:]),
    )


def _waits_ns(served: Served, load: Load) -> list[int]:
    """From the scheduled time of each call to its start; of a server alone. Nothing is served before it is due: the
    call that starts least late tells when the load began."""
    if load.scenario != "Server" or load.rate_per_s is None or not served.begin_ns:
        return []
    due_ns = poisson(load.rate_per_s, len(served.begin_ns), load.seed).due_ns
    late_ns = [begin - due for begin, due in zip(served.begin_ns, due_ns, strict=True)]
    return [each - min(late_ns) for each in late_ns]


def _queries(found: dict[str, Any], load: Load) -> int:
    """How many there were; of the one query of Offline, its samples."""
    key = "generated_samples_per_query" if load.scenario == "Offline" else "result_query_count"
    return int(found.get(key, 0))
