"""Results of hyperfine, pytest-benchmark, litert-benchmark, onnxruntime_perf_test, llm_bench, winml, AIPerf, MLPerf Client
and ExecuTorch: the values that stand in each file, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.errors import StoreError
from edgebench.importers import reader
from edgebench.importers._source import open_source

DATA = Path(__file__).parents[1] / "data" / "imports"


def rows_of(tool: str, file: Path) -> list[Row]:
    return build_table(reader(tool)(open_source(file, ["edgebench", "import"])).records).rows


def notes_of(tool: str, file: Path) -> list[str]:
    return reader(tool)(open_source(file, ["edgebench", "import"])).notes


def changed(tmp_path: Path, file: Path, change: Callable[[Any], None]) -> Path:
    document = json.loads(file.read_text(encoding="utf-8"))
    change(document)
    copy = tmp_path / file.name
    copy.write_text(json.dumps(document), encoding="utf-8")
    return copy


def test_hyperfine_runs_are_samples_and_failed_ones_are_left_out() -> None:
    file = DATA / "hyperfine" / "export.json"
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    rows = rows_of("hyperfine", file)
    assert [row.variant["command"] for row in rows] == ["sleep 0.001", "sleep 0.002"]
    for row in rows:
        told = next(each for each in results if each["command"] == row.variant["command"])
        assert row.latency_ns.p50 == pytest.approx(told["median"] * 1e9, rel=0.2)
        assert row.latency_ns.p50 in [round(time * 1e9) for time in told["times"]]
    assert "left out 12 of 12 runs" in notes_of("hyperfine", file)[0]


def test_hyperfine_time_of_a_command_shorter_than_the_shell_is_unknown(tmp_path: Path) -> None:
    """As hyperfine 1.15 prints of `true`: the other commands of the file are none the worse."""
    results = [
        {"command": "true", "times": [0.0, 0.0, 0.0086], "exit_codes": [0, 0, 0]},
        {"command": "sleep 0.02", "times": [0.022] * 9, "exit_codes": [0] * 9},
    ]
    file = tmp_path / "export.json"
    file.write_text(json.dumps({"results": results}), encoding="utf-8")
    rows = {row.variant["command"]: row for row in rows_of("hyperfine", file)}
    short, other = rows["true"], rows["sleep 0.02"]
    assert short.latency_ns.p50 is None
    assert "2 of 3 runs came out at 0" in short.unknown["latency_ns"]
    assert other.latency_ns.p50 == 22e6


def test_pytest_benchmark_samples_are_calls_only_where_a_round_is_one_call() -> None:
    file = DATA / "pytest-benchmark" / "benchmark.json"
    rows = {row.title.rpartition("::")[2]: row for row in rows_of("pytest-benchmark", file)}
    sleep, mean_of_50 = rows["test_sleep"], rows["test_sum[100]"]
    assert sleep.latency_ns.p50 is not None
    assert sleep.latency_ns.p50 > 1_000_000
    assert sleep.latency_ns.p90 is not None
    assert mean_of_50.latency_ns.p90 is None
    assert mean_of_50.imported is not None
    assert "mean of 50 calls" in mean_of_50.imported.reported["latency.p50"]
    assert mean_of_50.variant == {"n": 100}


def test_litert_benchmark_time_rounded_to_nothing_is_unknown(tmp_path: Path) -> None:
    file = DATA / "litert-benchmark" / "result.json"
    (row,) = rows_of("litert-benchmark", file)
    assert row.latency_ns.p50 == 730_000
    assert row.variant["threads"] == 2

    def to_zero(result: Any) -> None:
        result["latency"]["median_ms"] = 0.0

    (row,) = rows_of("litert-benchmark", changed(tmp_path, file, to_zero))
    assert row.latency_ns.p50 is None
    assert "below 0.005 ms" in row.unknown["latency_ns"]


def test_onnxruntime_perf_test_percentiles_need_enough_requests(tmp_path: Path) -> None:
    file = DATA / "onnxruntime_perf_test" / "log.txt"
    (row,) = rows_of("onnxruntime_perf_test", file)
    assert (row.latency_ns.p50, row.latency_ns.p90, row.latency_ns.p99) == (1_010_000, 1_090_000, 1_420_000)  # fmt: skip
    assert row.throughput_per_s == pytest.approx(981.63)
    assert row.memory_peak_bytes == 47_185_920
    assert row.variant == {
        "provider": "cpu", "threads": "2", "random_inputs": True, "model": "models/net.onnx",
    }  # fmt: skip
    fewer = tmp_path / "log.txt"
    fewer.write_text(file.read_text(encoding="utf-8").replace("requests: 700", "requests: 100"), encoding="utf-8")  # fmt: skip
    (row,) = rows_of("onnxruntime_perf_test", fewer)
    assert row.latency_ns.p99 is None
    assert row.unknown["latency_ns.p99"] == "needs 662 requests, there are 100"


def test_onnxruntime_perf_test_runs_of_a_log_without_blanks_are_told_apart(tmp_path: Path) -> None:
    """As logs of 2020 are: no blank after the colon."""
    text = (DATA / "onnxruntime_perf_test" / "log.txt").read_text(encoding="utf-8")
    older = text.replace("cost: ", "cost:").replace("requests: ", "requests:")
    both = tmp_path / "log.txt"
    both.write_text(older + older.replace("P50 Latency: 0.00101", "P50 Latency: 0.00202"))
    first, second = rows_of("onnxruntime_perf_test", both)
    assert (first.latency_ns.p50, second.latency_ns.p50) == (1_010_000, 2_020_000)


def test_onnxruntime_perf_test_result_file_holds_two_runs_appended(tmp_path: Path) -> None:
    text = (DATA / "onnxruntime_perf_test" / "result.csv").read_text(encoding="utf-8")
    both = tmp_path / "result.csv"
    both.write_text(text + text.replace("net,0.001", "net,0.002"), encoding="utf-8")
    first, second = rows_of("onnxruntime_perf_test", both)
    assert first.latency_ns.p50 is not None
    assert second.latency_ns.p50 is not None
    assert 1_000_000 <= first.latency_ns.p50 < 1_100_000
    assert second.latency_ns.p50 >= 2_000_000
    assert second.variant["repeat"] == 2


@pytest.mark.parametrize("form", ["report.json", "report.csv"])
def test_llm_bench_leaves_the_warm_up_out(form: str) -> None:
    (row,) = rows_of("llm_bench", DATA / "llm_bench" / form)
    assert row.generate is not None
    assert row.generate.ttft_ns == round(median([11.45447, 6.06003, 8.26725]) * 1e6)
    assert row.generate.tpot_ns == round(median([1.09661, 0.42346, 1.49569]) * 1e6)
    assert row.generate.decode_tokens_per_s == pytest.approx(1000 / 1.09661)
    assert (row.generate.prompt_tokens, row.generate.new_tokens) == (21, 16)
    assert row.scenario == "generate"


@pytest.mark.parametrize("form", ["report.json", "report.csv"])
def test_llm_bench_looks_at_the_memory_in_the_warm_up_alone(form: str) -> None:
    (row,) = rows_of("llm_bench", DATA / "llm_bench" / form)  # -mc 1
    assert row.memory_peak_bytes == round(615.37109 * (1 << 20))


def test_llm_bench_first_token_of_a_chat_is_unknown_since_it_is_divided() -> None:
    rows = rows_of("llm_bench", DATA / "llm_bench" / "chat.json")
    assert [row.variant["prompt"] for row in rows] == ["0", "1"]
    for row in rows:
        assert row.generate is not None
        assert row.generate.ttft_ns is None
        assert "divides" in row.unknown["generate.ttft_ns"]
        assert row.generate.tpot_ns is not None


def test_llm_bench_with_the_warm_up_alone_is_refused(tmp_path: Path) -> None:
    def cut(report: Any) -> None:
        del report["perfdata"]["results"][1:]

    with pytest.raises(StoreError, match="no iteration after the warm-up"):
        rows_of("llm_bench", changed(tmp_path, DATA / "llm_bench" / "report.json", cut))


def test_winml_samples_and_generations() -> None:
    file = DATA / "winml" / "perf.json"
    raw = json.loads(file.read_text(encoding="utf-8"))["raw_samples_ms"]
    (row,) = rows_of("winml", file)
    assert row.latency_ns.p50 in [round(ms * 1e6) for ms in raw]
    assert row.variant["ep_options.htp_performance_mode"] == "burst"
    (row,) = rows_of("winml", DATA / "winml" / "genai.json")
    assert row.generate is not None
    assert row.generate.ttft_ns == 61_750_000  # of 60.75, 61.75 and 62.75 ms; the warm-up is none
    assert row.generate.interval_p90_ns is not None
    assert row.unknown["generate.interval_p99_ns"] == "needs 662 intervals, there are 93"


def test_aiperf_summary_and_requests(tmp_path: Path) -> None:
    (row,) = rows_of("aiperf", DATA / "aiperf" / "profile_export_aiperf.json")
    assert (row.latency_ns.p50, row.latency_ns.p99) == (180_500_000, 201_500_000)
    assert row.generate is not None
    assert (row.generate.ttft_ns, row.generate.tpot_ns) == (30_250_000, 5_125_000)
    assert row.variant["loadgen.concurrency"] == 1
    (row,) = rows_of("aiperf", DATA / "aiperf" / "profile_export.jsonl")
    assert row.generate is not None
    assert row.generate.ttft_ns is not None
    assert "left out: 1 of 21" in notes_of("aiperf", DATA / "aiperf" / "profile_export.jsonl")[0]

    def fewer(summary: Any) -> None:
        summary["request_count"]["avg"] = 50.0

    (row,) = rows_of("aiperf", changed(tmp_path, DATA / "aiperf" / "profile_export_aiperf.json", fewer))  # fmt: skip
    assert row.latency_ns.p99 is None
    assert row.unknown["latency_ns.p99"] == "needs 662 requests, there are 50"


def test_aiperf_run_that_was_cancelled_is_refused(tmp_path: Path) -> None:
    def cancel(summary: Any) -> None:
        summary["was_cancelled"] = True

    with pytest.raises(StoreError, match="cancelled"):
        rows_of("aiperf", changed(tmp_path, DATA / "aiperf" / "profile_export_aiperf.json", cancel))


def test_mlperf_client_has_a_row_a_category_and_none_for_what_failed() -> None:
    file = DATA / "mlperf-client" / "results.jsonl"
    rows = {row.workload: row for row in rows_of("mlperf-client", file)}
    row = rows["mlperf-client-Llama-3.1-8B-Instruct-Summarization-Light"]
    assert len(rows) == 2
    assert row.generate is not None
    assert row.generate.ttft_ns == 520_000_000
    assert row.generate.tpot_ns == round(1e9 / 41.5)
    assert row.imported is not None
    assert "mean over the prompts" in row.imported.reported["generate.ttft"]
    assert "device not found" in notes_of("mlperf-client", file)[0]


@pytest.mark.parametrize("form", ["events.csv", "events.txt"])
def test_executorch_execution_of_the_method_is_the_row(form: str) -> None:
    (row,) = rows_of("executorch", DATA / "executorch" / form)
    assert row.latency_ns.p50 is not None
    assert 1_128_000 <= row.latency_ns.p50 < 1_600_000
    assert row.variant == {"event_block": "Execute"}


def test_a_log_of_loadgen_gives_what_it_states(tmp_path: Path) -> None:
    file = DATA / "mlperf-loadgen" / "server_detail.txt"
    (row,) = rows_of("mlperf-loadgen", file)
    assert row.scenario == "server"
    assert (row.latency_ns.p50, row.latency_ns.p99) == (237447, 45045887)
    assert row.throughput_per_s == pytest.approx(98.011)
    assert row.variant["target_qps"] == 100
    assert row.imported is not None
    assert "not valid by LoadGen's rules: * Run unsuccessful." in row.imported.notes[-1]
    text = file.read_text(encoding="utf-8").replace("result_validity", "result_other")
    (tmp_path / "log.txt").write_text(text, encoding="utf-8")
    with pytest.raises(StoreError, match="the test states no result"):
        rows_of("mlperf-loadgen", tmp_path / "log.txt")
