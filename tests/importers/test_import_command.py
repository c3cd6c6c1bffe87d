"""`edgebench import`: others' results as records, with nothing made up."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from edgebench.analysis.precision_pairs import not_faster, precision_pairs
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row, Table
from edgebench.cli import cli
from edgebench.errors import StoreError, UsageError
from edgebench.importers import tools
from edgebench.record import Record
from edgebench.render.deploy_line import with_words
from edgebench.store import read_records
from tests.records import record as measured

DATA = Path(__file__).parents[1] / "data" / "imports"
MLPERF = DATA / "mlperf" / "inference-excerpt.csv.gz"
DESKTOP = "GATE Overflow Intel SPR i9"


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def imported(tool: str, file: Path, tmp_path: Path) -> tuple[list[Record], str]:
    out = tmp_path / "out.jsonl"
    done = run("import", tool, file, "-o", out, "--force")
    assert done.exit_code == 0, done.exception
    return read_records(out), done.stderr


def table_of(tool: str, file: Path, tmp_path: Path) -> Table:
    return build_table(imported(tool, file, tmp_path)[0])


def row_of(table: Table, **fields: Any) -> Row:
    (row,) = [row for row in table.rows if all(getattr(row, n) == v for n, v in fields.items())]
    return row


def check_nothing_is_silent(table: Table) -> None:
    """Every metric that is missing has a reason, and none is 0."""
    from edgebench.metrics import METRICS
    from tests.analysis.test_table import unexplained

    for row in table.rows:
        assert unexplained(row) == []
        assert row.imported is not None
        for metric in METRICS.values():
            value = metric.value(row)
            assert value is None or value > 0, metric.name
            if value is None:
                parts = metric.path.split(".")
                paths = [".".join(parts[: n + 1]) for n in range(len(parts))]
                assert any(row.unknown.get(path) for path in paths), (row.id, metric.name)


# --- MLPerf


def test_mlperf_rows_by_hand(tmp_path: Path) -> None:
    """Each expectation was read from the table of results by eye."""
    records, notes = imported("mlperf", MLPERF, tmp_path)
    table = build_table(records)
    check_nothing_is_silent(table)
    assert len(records) == 81 + 9
    assert "81 rows of platform 596a81fc0ea1-ctuning_cpp_tflite" in notes
    assert "MLCommons" in notes

    lite0 = next(r for r in table.rows if r.variant["model"] == "efficientnet-fp32-lite0")
    assert lite0.latency_ns.p90_early_stopping == 5_730_422
    assert (lite0.latency_ns.p50, lite0.latency_ns.p90, lite0.latency_ns.samples) == (None, None, 0)
    assert lite0.quality is not None
    assert lite0.quality.value == pytest.approx(0.75068)
    assert lite0.imported is not None
    assert "not derived from samples" in lite0.imported.reported["latency.p90_early_stopping"]
    assert lite0.throughput_per_s is None
    assert (lite0.status, lite0.ranked, lite0.scenario) == ("ok", True, "single_stream")

    trigkey = "TRIGKEY Mini PC Ryzen 5 5560"
    single = row_of(table, device=trigkey, scenario="single_stream")
    assert single.energy.j_per_inference == pytest.approx(0.1551423475863)
    multi = row_of(table, device=trigkey, scenario="multi_stream")
    assert multi.latency_ns.p99_early_stopping == 42_193_952
    assert multi.latency_ns.p90_early_stopping is None
    assert multi.energy.j_per_inference == pytest.approx(1.2411387806903 / 8)
    offline = row_of(table, device=trigkey, scenario="offline")
    assert offline.throughput_per_s == 220.502
    assert offline.energy.average_w == pytest.approx(34.1764831261)
    assert offline.energy.j_per_inference == pytest.approx(34.1764831261 / 220.502)

    tokens = row_of(table, workload="mlperf-llama2-70b-99")
    assert tokens.throughput_per_s == 99159.3
    assert tokens.energy.average_w == pytest.approx(10442.2597402597)
    assert tokens.energy.j_per_inference is None  # per token is not per inference
    assert tokens.imported is not None
    assert tokens.imported.reported["throughput"].startswith("tokens per second (Server")
    queries = row_of(table, workload="mlperf-stable-diffusion-xl", scenario="server")
    assert queries.throughput_per_s == 28.4637
    assert queries.ranked
    gptj = row_of(table, workload="mlperf-gptj-99")
    assert gptj.latency_ns.p90_early_stopping == 4_145_572_039
    assert gptj.quality is not None
    assert (gptj.quality.metric, gptj.quality.value) == ("ROUGE1", 42.9655)


def test_mlperf_keeps_its_source(tmp_path: Path) -> None:
    records, _ = imported("mlperf", MLPERF, tmp_path)
    lines = list(csv.reader(gzip.decompress(MLPERF.read_bytes()).decode().splitlines()))
    for record in (records[0], records[50], records[-1]):
        source = record.imported
        assert source is not None
        assert source.line is not None
        assert list(source.row.values()) == lines[source.line - 1]
        assert source.sha256 == hashlib.sha256(MLPERF.read_bytes()).hexdigest()
        assert source.file == MLPERF.name
        assert record.run.seed is None
    kept = [r.imported for r in records if r.device.name == DESKTOP and r.imported]
    assert not any(source.row["Platform"].startswith("596a") for source in kept)
    assert any("dropped" in note for note in kept[0].notes)


def test_uint8_is_slower_for_all_35_paired_mobilenets(tmp_path: Path) -> None:
    table = table_of("mlperf", MLPERF, tmp_path)
    (finding,) = not_faster(table.rows)
    assert (finding.family, finding.precision) == ("mobilenet", "uint8")
    assert (len(finding.pairs), finding.slower, finding.faster) == (35, 35, 0)
    assert "uint8 is slower than fp32 in all 35 mobilenet pairs" in finding.text
    by_model = {pair.reduced.variant["model"]: pair for pair in finding.pairs}
    pair = by_model["mobilenet-v1-precision_uint8-1.0-224"]
    assert pair.full.variant["model"] == "mobilenet-v1-precision_float-1.0-224"
    assert pair.slowdown == pytest.approx(8.739484 / 7.169551)
    assert pair.low is None  # no interval is made up
    lite = [p for p in precision_pairs(table.rows) if "efficientnet" in str(p.reduced.variant)]
    assert (len(lite), sum(p.faster for p in lite)) == (5, 5)


def test_pairs_of_measured_rows_have_intervals() -> None:
    made = [
        measured({"precision": "fp32", "threads": 1}, p50=5e6, seed=1),
        measured({"precision": "int8-static", "threads": 1}, p50=7e6, seed=2),
        measured({"precision": "int8-static", "threads": 2}, p50=4e6, seed=3),
    ]
    (pair,) = precision_pairs(build_table(made).rows)
    assert pair.low is not None
    assert pair.high is not None
    assert pair.low <= pair.slowdown <= pair.high
    assert pair.slowdown == pytest.approx(1.4, rel=0.02)
    assert pair.slower


def test_front_of_the_desktop_case_is_that_of_a_naive_search(tmp_path: Path) -> None:
    table = table_of("mlperf", MLPERF, tmp_path)
    rows = [row for row in table.rows if row.device == DESKTOP]
    points = {
        row.id: (row.latency_ns.p90_early_stopping or 0, -(row.quality.value or 0))
        for row in rows
        if row.quality
    }
    best = {
        name
        for name, (ns, loss) in points.items()
        if not any(o[0] <= ns and o[1] <= loss and o != (ns, loss) for o in points.values())
    }
    assert {row.id for row in rows if row.pareto} == best
    assert 5 < len(best) < 40


def test_mlperf_tiny(tmp_path: Path) -> None:
    table = table_of("mlperf", DATA / "mlperf" / "tiny-excerpt.csv", tmp_path)
    check_nothing_is_silent(table)
    row = row_of(table, device="NUCLEO_L4R5ZI", workload="mlperf-tiny-ad")
    assert row.throughput_per_s == 116.212
    assert row.energy.j_per_inference == pytest.approx(443.184e-6)
    assert row.quality is not None
    assert (row.quality.metric, row.quality.value) == ("auc", 0.86)
    assert row.latency_ns.p50 is None
    metrics = {row.workload: row.quality.metric for row in table.rows if row.quality}
    assert {name for name, metric in metrics.items() if metric == "auc"} == {"mlperf-tiny-ad"}
    assert "accuracy" in metrics.values()


def test_many_devices_are_not_given_one_name(tmp_path: Path) -> None:
    """Rows of one device compete with each other."""
    out = tmp_path / "o.jsonl"
    for file in (MLPERF, DATA / "mlperf" / "tiny-excerpt.csv"):
        done = run("import", "mlperf", file, "-o", out, "--device", "desk")
        assert isinstance(done.exception, UsageError), done.exception
        assert "devices" in str(done.exception)
        assert not out.exists()


# --- tools that ran here


@pytest.mark.parametrize("form", ["json", "jsonl", "csv", "md"])
def test_llama_bench_forms_agree(form: str, tmp_path: Path) -> None:
    table = table_of("llama-bench", DATA / "llama-bench" / f"lb.{form}", tmp_path)
    check_nothing_is_silent(table)
    assert [row.variant["threads"] for row in table.rows] == [1, 1, 2, 2]
    assert [row.workload.rsplit("-", 1)[1] for row in table.rows] == ["pp64", "tg16"] * 2
    assert {row.scenario for row in table.rows} == {"offline"}
    assert {row.variant["precision"] for row in table.rows} == {"F16"}
    assert not any(row.ranked for row in table.rows)  # nobody looked at the answers
    assert table.rows[0].imported is not None
    assert table.rows[0].imported.reported["throughput"].startswith("tokens per second")


def test_llama_bench_values(tmp_path: Path) -> None:
    table = table_of("llama-bench", DATA / "llama-bench" / "lb.json", tmp_path)
    raw = json.loads((DATA / "llama-bench" / "lb.json").read_text(encoding="utf-8"))
    assert [row.throughput_per_s for row in table.rows] == [test["avg_ts"] for test in raw]
    assert table.rows[0].device == "AMD EPYC"
    assert "mean of 3 repetitions" in str(table.rows[0].imported)
    assert "gpu_layers=-1," in table.rows[0].id
    deep = table_of("llama-bench", DATA / "llama-bench" / "lb-deep.md", tmp_path)
    assert [row.workload.split("-")[-2] for row in deep.rows] == ["pp64", "tg16", "pp64+tg16"]
    assert deep.rows[0].throughput_per_s == 1566.91
    assert deep.rows[2].imported is not None
    assert any("were timed together" in note for note in deep.rows[2].imported.notes)


def test_benchmark_app_log(tmp_path: Path) -> None:
    (row,) = table_of("benchmark_app", DATA / "benchmark_app" / "latency.log", tmp_path).rows
    assert (row.latency_ns.p50, row.throughput_per_s) == (144_360, 2360.06)
    assert row.variant.items() >= {
        "batch": 1, "hint": "latency", "precision": "bf16", "requests": 1, "threads": 2,
        "device": "CPU", "num_streams": 1, "inputs": "image:u8:1x3x96x96",
    }.items()  # fmt: skip
    assert row.scenario == "single_stream"
    assert row.imported is not None
    assert "inputs as image: u8" in row.imported.notes
    assert row.effective is None
    (row,) = table_of("benchmark_app", DATA / "benchmark_app" / "throughput.log", tmp_path).rows
    assert (row.scenario, row.variant["requests"]) == ("concurrent", 2)


def test_benchmark_app_reports(tmp_path: Path) -> None:
    table = table_of("benchmark_app", DATA / "benchmark_app" / "benchmark_report.json", tmp_path)
    check_nothing_is_silent(table)
    (row,) = table.rows
    assert (row.latency_ns.p50, row.throughput_per_s) == (140_000, 2360.06)
    assert "precision" not in row.variant  # UNSPECIFIED is not a precision
    assert row.imported is not None
    assert any("rounded to 0.01 ms, up to 3.6% off" in note for note in row.imported.notes)
    (row,) = table_of(
        "benchmark_app", DATA / "benchmark_app" / "benchmark_report.csv", tmp_path
    ).rows
    assert (row.latency_ns.p50, row.scenario) == (180_000, "concurrent")


def test_benchmark_app_zero_and_other_percentiles_stay_unknown(tmp_path: Path) -> None:
    report = json.loads((DATA / "benchmark_app" / "benchmark_report.json").read_text())
    report["execution_results"]["latency (ms)"] = "0.00"
    file = tmp_path / "report.json"
    file.write_text(json.dumps(report))
    (row,) = table_of("benchmark_app", file, tmp_path).rows
    assert row.latency_ns.p50 is None
    assert "less than" in row.unknown["latency_ns"]
    report["execution_results"]["latency (ms)"] = "3.10"
    report["cmd_options"]["-latency_percentile"] = "90"
    file.write_text(json.dumps(report))
    (row,) = table_of("benchmark_app", file, tmp_path).rows
    assert (row.latency_ns.p50, row.latency_ns.p90) == (None, 3_100_000)


# --- tools by their documented layouts


def test_trtexec(tmp_path: Path) -> None:
    table = table_of("trtexec", DATA / "trtexec" / "log.txt", tmp_path)
    check_nothing_is_silent(table)
    (row,) = table.rows
    ns = row.latency_ns
    assert (ns.p50, ns.p90, ns.p99) == (2_544_680, 2_589_110, 2_718_750)
    assert (row.throughput_per_s, row.device, row.backend) == (400.444, "Orin", "TensorRT 8.6.1")
    assert row.variant == {"precision": "FP32+FP16"}
    assert ns.p50_low is None
    assert "reports no interval" in row.unknown["latency_ns.p50_low"]
    (row,) = table_of("trtexec", DATA / "trtexec" / "times.json", tmp_path).rows
    assert (row.latency_ns.p50, row.latency_ns.samples) == (2_486_000, 80)  # derived from samples
    assert row.imported is not None
    assert row.imported.reported == {}
    (row,) = table_of("trtexec", DATA / "trtexec" / "profile.json", tmp_path).rows
    assert row.latency_ns.p50 is None
    assert "sum leaves out" in row.unknown["latency_ns"]


@pytest.mark.parametrize("transfers", ["Enabled", "Disabled"])
def test_trtexec_without_transfers_says_so(transfers: str, tmp_path: Path) -> None:
    lines = (DATA / "trtexec" / "log.txt").read_text().splitlines(keepends=True)
    lines.insert(1, f"[11/25/2026-10:00:30] [I] Data transfers: {transfers}\n")
    file = tmp_path / "log.txt"
    file.write_text("".join(lines))
    (row,) = table_of("trtexec", file, tmp_path).rows
    assert row.imported is not None
    what = row.imported.reported["latency.p50"]
    assert ("without transfers" in what) == (transfers == "Disabled")
    assert ("H2D" in what) == (transfers == "Enabled")
    assert any("disabled" in note for note in row.imported.notes) == (transfers == "Disabled")


def test_optimum_benchmark_takes_only_what_can_be_trusted(tmp_path: Path) -> None:
    table = table_of("optimum-benchmark", DATA / "optimum-benchmark" / "benchmark.json", tmp_path)
    check_nothing_is_silent(table)
    (row,) = table.rows
    assert (row.latency_ns.p50, row.latency_ns.samples) == (10_200_000, 40)
    assert row.memory_peak_bytes == 812_500_000
    assert row.energy.reason == "not_trusted"
    assert row.variant == {"batch": 2, "sequence_length": 16, "precision": "float32"}
    records, notes = imported(
        "optimum-benchmark", DATA / "optimum-benchmark" / "benchmark_report.json", tmp_path
    )
    assert "per_token left out" in notes
    rows = build_table(records).rows
    assert [row.workload.rsplit("-", 1)[1] for row in rows] == ["prefill", "decode"]
    # Tokens per second, as it says; the other one counts tokens too, and calls them samples.
    assert [row.throughput_per_s for row in rows] == [533.3, None]
    assert "labelled 'samples/s'" in rows[1].unknown["throughput_per_s"]


# --- files that are wrong


def _mlperf(tmp_path: Path, old: str, new: str) -> Path:
    text = gzip.decompress(MLPERF.read_bytes()).decode().splitlines(keepends=True)
    text = [text[0], text[1].replace(old, new)]
    file = tmp_path / "bad.csv"
    file.write_text("".join(text), encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("Latency (ms)", "Latency (us)", "bad.csv:2: SingleStream in 'Latency (us)'"),
        ("SingleStream", "SlowStream", "bad.csv:2: no scenario 'SlowStream'"),
        ("acc: ", "accurate ", "bad.csv:2: Accuracy is not like"),
        (",fp32,", ",fp32,x,", "bad.csv:2: 26 fields under 25 columns"),
        ("v5.1", "five", "bad.csv:2: no version 'five'"),
        ("5.730422", '"5,730"', "Performance_Result: '5,730' may be 5.73 or 5730"),
    ],
)
def test_a_malformed_row_names_file_and_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    done = run("import", "mlperf", _mlperf(tmp_path, old, new), "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, StoreError)
    assert says in str(done.exception)
    assert not (tmp_path / "o.jsonl").exists()


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "fast", ""])
def test_a_result_that_is_no_positive_number_is_refused(tmp_path: Path, value: str) -> None:
    text = gzip.decompress(MLPERF.read_bytes()).decode().splitlines(keepends=True)
    fields = text[1].split(",")
    fields[text[0].split(",").index("Performance_Result")] = value
    file = tmp_path / "bad.csv"
    file.write_text(text[0] + ",".join(fields), encoding="utf-8")
    done = run("import", "mlperf", file, "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, StoreError)
    assert "bad.csv:2: Performance_Result" in str(done.exception)


@pytest.mark.parametrize("tool", list(tools()))
@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"{}", b"[1]", b"\xff\xfe\x00", b"\x1f\x8bdamaged", b"a,b\n1,2\n", b"| a |\n", b"[]",
     b'{"report": 1}', b'[{"latencyMs": null}]', b'{"execution_results": 3}'],
)  # fmt: skip
def test_any_other_file_is_one_clear_error(tool: str, content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "file.bin"
    file.write_bytes(content)
    done = run("import", tool, file, "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, StoreError), done.exception
    assert "file.bin" in str(done.exception)


@pytest.mark.parametrize(
    ("tool", "content"),
    [
        ("optimum-benchmark", '{"forward": {"latency": {"unit": "s", "values": 5}}}'),
        ("optimum-benchmark", '{"forward": {"latency": {"unit": "s", "values": [1e308]}}}'),
        ("optimum-benchmark", '{"forward": {"memory": {"unit": "MB", "max_ram": 1e308}}}'),
        ("trtexec", '[{"latencyMs": 1e308}]'),
        ("llama-bench", '[{"model_type": "m", "n_prompt": 1, "n_gen": 0, "avg_ts": 1, "n_batch": 1e999}]'),
        ("llama-bench", f'{{"model_type": "m", "n_prompt": {"9" * 5000}}}'),
        ("trtexec", f'[{{"latencyMs": {"9" * 5000}}}]'),
    ],
    ids=["no list", "seconds", "bytes", "milliseconds", "setting", "a long line", "a long file"],
)  # fmt: skip
def test_impossible_numbers_are_one_clear_error(tool: str, content: str, tmp_path: Path) -> None:
    file = tmp_path / "file.json"
    file.write_text(content)
    done = run("import", tool, file, "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, StoreError), done.exception
    assert "file.json" in str(done.exception)


def test_help_and_docs_name_every_format() -> None:
    said = run("import", "--help").stdout
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text(encoding="utf-8")
    for tool in tools():
        assert f"\n  {tool} " in said
        assert f"| `{tool}` |" in page


def test_wrong_tools_and_existing_files_are_refused(tmp_path: Path) -> None:
    done = run("import", "llama_bench", MLPERF, "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, UsageError)
    assert "llama-bench" in str(done.exception)
    out = tmp_path / "o.jsonl"
    out.write_text("mine")
    done = run("import", "mlperf", MLPERF, "-o", out)
    assert isinstance(done.exception, StoreError)
    assert out.read_text() == "mine"
    done = run("import", "mlperf", tmp_path / "none.csv", "-o", out, "--force")
    assert isinstance(done.exception, StoreError)
    log = DATA / "benchmark_app" / "latency.log"
    named = run("import", "benchmark_app", log, "-o", out, "--force", "--device", "desk")
    assert named.exit_code == 0
    assert read_records(out)[0].device.name == "desk"
    assert "does not name its device" not in named.stderr
    unnamed = run("import", "benchmark_app", log, "-o", out, "--force")
    assert "does not name its device" in unnamed.stderr


def test_numbers_of_different_kinds_are_not_compared(tmp_path: Path) -> None:
    """p90 of one run is no match for p99 of another: neither a front nor a pick is made up."""
    records, _ = imported("mlperf", MLPERF, tmp_path)
    one, two = records[0], records[1]
    assert one.imported is not None
    value = one.imported.reported["latency.p90_early_stopping"]
    other = msgspec.structs.replace(
        one.imported, reported={"latency.p99_early_stopping": value / 2}
    )
    table = build_table([msgspec.structs.replace(one, imported=other), two])
    (pick,) = with_words(table).picks
    assert (pick.row, pick.clear) == (1, False)
    assert pick.text.endswith(
        "; not compared with another row that does not tell latency.p90_early_stopping"
    )
    assert table.rows[0].front is None
    assert "latency.p90_early_stopping is unknown" in table.rows[0].unknown["front"]
    both = msgspec.structs.replace(
        one.imported, reported={"latency.p50": 1.0, **one.imported.reported}
    )
    table = build_table([msgspec.structs.replace(one, imported=both), two])
    assert table.fronts[0].objectives[0] == "latency.p90_early_stopping"
    assert (
        with_words(table).picks[0].text.startswith("deploy fp32 model=efficientnet-fp32-lite0: p90")
    )


def test_imported_and_measured_rows_stand_in_one_table(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert run("import", "mlperf", MLPERF, "-o", out).exit_code == 0
    from edgebench.record import encode

    with out.open("ab") as file:
        file.write(encode(measured()))
    shown = run("show", out).stdout
    assert "<=5.73 ms" in shown
    assert "90 rows reported by mlperf" in shown
    assert "all 35 mobilenet pairs" in " ".join(shown.split())
    assert "MLCommons" in shown
    assert run("export", out, "-o", tmp_path / "t.csv").exit_code == 0


def test_the_documented_example_is_what_its_command_prints() -> None:
    from tests.importers.mlperf_example import DOC, text

    assert DOC.read_text(encoding="utf-8") == text()
