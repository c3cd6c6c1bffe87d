"""Logs of other tools as people have them: several runs in one, behind stamps and quotes, in UTF-16."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.cli import cli
from edgebench.errors import StoreError, UsageError
from edgebench.importers import _source
from edgebench.record import Record
from edgebench.store import read_records

Around = Callable[[str], str]


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def imported(
    tmp_path: Path, tool: str, content: str | bytes, *options: str, name: str = "log.txt"
) -> tuple[list[Record], str]:
    """The records of a file with this content, and what was said."""
    file, out = tmp_path / name, tmp_path / "out.jsonl"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    done = run("import", tool, file, "-o", out, "--force", *options)
    if done.exception is not None:
        raise done.exception
    return read_records(out), done.stderr


def rows_of(tmp_path: Path, tool: str, content: str | bytes, *options: str) -> list[Row]:
    return build_table(imported(tmp_path, tool, content, *options)[0]).rows


def refusal(tmp_path: Path, tool: str, content: str | bytes, *options: str) -> str:
    with pytest.raises((StoreError, UsageError)) as caught:
        imported(tmp_path, tool, content, *options)
    assert "log.txt" in str(caught.value)
    return str(caught.value)


# --- what the tools print

MARKDOWN = """\
| model                          |       size |     params | backend    | threads |          test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | ------: | ------------: | -------------------: |
| llama 1B Q4_0                  | 668.00 MiB |     1.24 B | CPU        |       4 |         pp512 |        128.00 ± 0.30 |
| llama 1B Q4_0                  | 668.00 MiB |     1.24 B | CPU        |       4 |         tg128 |         11.50 ± 0.05 |

build: 0123abc (9000)
"""


def bench_test(**settings: Any) -> dict[str, Any]:
    """A test as llama-bench's `-o json` has it."""
    return {
        "build_commit": "0123abc", "build_number": 9000, "cpu_info": "Cortex-A76", "gpu_info": "",
        "backends": "CPU", "model_filename": "models/a.gguf", "model_type": "llama 1B Q4_0",
        "model_size": 700_000_000, "model_n_params": 1_235_814_400, "n_batch": 2048, "n_ubatch": 512,
        "n_threads": 4, "cpu_mask": "0x0", "cpu_strict": False, "poll": 50, "type_k": "f16",
        "type_v": "f16", "n_gpu_layers": 0, "n_cpu_moe": 0, "split_mode": "layer", "main_gpu": 0,
        "no_kv_offload": False, "flash_attn": False, "devices": "auto", "tensor_split": "0.00",
        "tensor_buft_overrides": "none", "use_mmap": True, "embeddings": False, "no_op_offload": 0,
        "n_prompt": 512, "n_gen": 0, "n_depth": 0, "test_time": "2026-05-01T10:00:00Z",
        "avg_ns": 4_000_000_000, "stddev_ns": 1_000_000, "avg_ts": 128.0, "stddev_ts": 0.3,
        "samples_ns": [4_000_000_000, 4_000_000_000], "samples_ts": [128.0, 128.0], **settings,
    }  # fmt: skip


def openvino_run(
    network: str = "resnet", median: str = "2.5 ms", rate: str = "1600.00", **changes: str
) -> str:
    """A run as benchmark_app logs it. `changes` replace text in it."""
    text = f"""\
[Step 1/11] Parsing and validating input arguments
[ INFO ] Parsing input parameters
[Step 2/11] Loading OpenVINO Runtime
[ INFO ] OpenVINO:
[ INFO ] Build ................................. 2026.1.0-20000-abcdef01234-releases/2026/1
[Step 5/11] Resizing model to match image sizes and given batch
[ INFO ] Model batch size: 1
[Step 6/11] Configuring input of the model
[ INFO ] Model inputs:
[ INFO ]     x (node: x) : f32 / [...] / [1,3,32,32]
[ INFO ] Model outputs:
[ INFO ]     y (node: y) : f32 / [...] / [1,10]
[Step 8/11] Querying optimal runtime parameters
[ INFO ] Model:
[ INFO ]   NETWORK_NAME: {network}
[ INFO ]   OPTIMAL_NUMBER_OF_INFER_REQUESTS: 4
[ INFO ]   NUM_STREAMS: 4
[ INFO ]   INFERENCE_NUM_THREADS: 8
[ INFO ]   PERFORMANCE_HINT: THROUGHPUT
[ INFO ]   INFERENCE_PRECISION_HINT: <Type: 'float32'>
[Step 9/11] Creating infer requests and preparing input tensors
[Step 10/11] Measuring performance (Start inference asynchronously, 4 inference requests, limits: 60000 ms duration)
[ INFO ] Benchmarking in inference only mode (inputs filling are not included in measurement loop).
[ INFO ] First inference took 3.10 ms
[Step 11/11] Dumping statistics report
[ INFO ] Execution Devices:['CPU']
[ INFO ] Count:            1000 iterations
[ INFO ] Latency:
[ INFO ]    Median:        {median}
[ INFO ]    Average:       2.5 ms
[ INFO ] Throughput:   {rate} FPS
"""
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


OPENVINO_FAILED = """\
[Step 1/11] Parsing and validating input arguments
[Step 4/11] Reading model files
[ INFO ] Loading model files
[ ERROR ] Exception from src/inference/src/cpp/core.cpp:99: Could not open the file
Traceback (most recent call last):
"""


def trtexec_run(model: str = "resnet50.onnx", median: str = "1.25", options: str = "") -> str:
    stamp = "[05/01/2026-10:00:00] [I] "
    started = f"TensorRT.trtexec [TensorRT v100300] [b30] # trtexec --onnx={model}{options}"
    return f"""\
&&&& RUNNING {started}
{stamp}=== Model Options ===
{stamp}Format: ONNX
{stamp}Model: {model}
{stamp}=== Build Options ===
{stamp}Precision: FP32+FP16
{stamp}=== Inference Options ===
{stamp}Data transfers: Enabled
{stamp}=== Device Information ===
{stamp}Selected Device: Orin
{stamp}TensorRT version: 10.3.0
{stamp}=== Performance summary ===
{stamp}Throughput: 800.5 qps
{stamp}Latency: min = 1.125 ms, max = 2.5 ms, mean = 1.2625 ms, median = {median} ms, percentile(99%) = 1.625 ms
{stamp}H2D Latency: min = 0.01 ms, max = 0.02 ms, mean = 0.015 ms, median = 0.015 ms
&&&& PASSED {started}
"""


def trtexec_failed(model: str) -> str:
    head = trtexec_run(model).split("[05/01/2026-10:00:00] [I] === Performance")[0]
    return head + "[05/01/2026-10:00:00] [E] Engine set up failed\n&&&& FAILED TensorRT.trtexec\n"


# --- what stands around it


def each_line(before: str) -> Around:
    return lambda text: "".join(before + line for line in text.splitlines(keepends=True))


AROUND: dict[str, Around] = {
    "as it is": lambda text: text,
    "preamble": lambda text: (
        "Results on my Pi 5:\n\nggml_cuda_init: found 1 CUDA devices:\n" + text
    ),
    "fence": lambda text: f"Hello\n```text\n{text}```\nregards\n",
    "github": each_line("2026-05-01T10:00:00.1234567Z "),
    "gitlab": each_line("2026-05-01T10:00:00.123456Z 00O "),
    "ts": each_line("May  1 10:00:00 "),
    "ts -s": each_line("00:00:01 "),
    "brackets": each_line("[2026-05-01 10:00:00.123] "),
    "jenkins after ts": each_line("10:00:00 [2026-05-01T10:00:00.123Z] "),
    "journal": each_line("May 01 10:00:00 pi bench[1234]: "),
    "epoch": each_line("1795997478.957 "),
    "compose": each_line("bench-1  | "),
    "quotation": each_line("> "),
    "colours": each_line("\x1b[32m\x1b[1m"),
    "cleared": each_line("\x1b[2K\r"),
    "crlf": lambda text: text.replace("\n", "\r\n"),
    "bom": lambda text: "\ufeff" + text,
    "progress bar": lambda text: "Progress: [....  ] 50%\rProgress: [......] 100%\r" + text,
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_text_around_an_output_changes_nothing(around: Around, tmp_path: Path) -> None:
    lists = json.dumps([bench_test(), bench_test(n_prompt=0, n_gen=128, avg_ts=11.5)], indent=1)
    for text in (MARKDOWN, lists + "\n", csv_of(), sql_of()):
        rows = rows_of(tmp_path, "llama-bench", around(text))
        assert [row.throughput_per_s for row in rows] == [128.0, 11.5], text[:40]
    (row,) = rows_of(tmp_path, "benchmark_app", around(openvino_run()))
    assert (row.workload, row.latency_ns.p50) == ("benchmark_app-resnet", 2_500_000)
    (row,) = rows_of(tmp_path, "trtexec", around(trtexec_run()))
    assert (row.workload, row.latency_ns.p50) == ("trtexec-resnet50", 1_250_000)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_output_is_read_in_any_encoding_that_a_shell_writes(
    encoding: str, tmp_path: Path
) -> None:
    text = MARKDOWN.replace("\n", "\r\n").encode(encoding)
    assert [r.throughput_per_s for r in rows_of(tmp_path, "llama-bench", text)] == [128.0, 11.5]
    (row,) = rows_of(tmp_path, "benchmark_app", openvino_run().encode(encoding))
    assert row.latency_ns.p50 == 2_500_000


def test_text_in_no_known_encoding_is_refused_with_the_fix(tmp_path: Path) -> None:
    mixed = MARKDOWN.encode() + MARKDOWN.encode("utf-16")
    assert "save it as UTF-8" in refusal(tmp_path, "llama-bench", mixed)
    assert "not UTF-16 text" in refusal(tmp_path, "llama-bench", MARKDOWN.encode("utf-16") + b"\n")


# --- llama-bench


def csv_of(*tests: dict[str, Any], delimiter: str = ",") -> str:
    tests = tests or (bench_test(), bench_test(n_prompt=0, n_gen=128, avg_ts=11.5))
    plain = [{k: v for k, v in test.items() if not k.startswith("samples")} for test in tests]
    lines = [delimiter.join(plain[0])]
    for test in plain:
        values = [int(v) if isinstance(v, bool) else v for v in test.values()]
        lines.append(delimiter.join(f'"{value}"' for value in values))
    return "\n".join(lines) + "\n"


def sql_of() -> str:
    tests = [bench_test(), bench_test(n_prompt=0, n_gen=128, avg_ts=11.5)]
    plain = [{k: v for k, v in test.items() if not k.startswith("samples")} for test in tests]
    columns = ",\n".join(f"  {name} TEXT" for name in plain[0])
    lines = [f"CREATE TABLE IF NOT EXISTS llama_bench (\n{columns}\n);\n"]
    for test in plain:
        values = ", ".join(f"'{int(v) if isinstance(v, bool) else v}'" for v in test.values())
        lines.append(f"INSERT INTO llama_bench ({', '.join(test)}) VALUES ({values});")
    return "\n".join(lines) + "\n"


def test_the_forms_of_one_llama_bench_run_give_the_same_rows(tmp_path: Path) -> None:
    lines = "".join(json.dumps(bench_test(**c)) + "\n" for c in ({}, {"n_prompt": 0, "n_gen": 128}))
    by_form = [
        [row.id for row in rows_of(tmp_path, "llama-bench", text)]
        for text in (lines, csv_of(), sql_of(), csv_of(delimiter=";"), csv_of(delimiter="\t"))
    ]
    assert all(ids == by_form[0] for ids in by_form)
    assert len(set(by_form[0])) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"use_mmap": False}, {"n_cpu_moe": 4}, {"devices": "CUDA0"}, {"split_mode": "row"}, {"poll": 0},
        {"model_filename": "models/b.gguf"}, {"model_filename": "other/a.gguf"}, {"cpu_mask": "0x3"},
        {"main_gpu": 1}, {"no_kv_offload": True}, {"tensor_split": "1.00/1.00"}, {"embeddings": True},
        {"tensor_buft_overrides": "exps=CPU"}, {"model_size": 800_000_000}, {"type_k": "q8_0"},
        {"flash_attn": True}, {"a_setting_of_tomorrow": "on"}, {"n_ubatch": 256}, {"n_threads": 2},
    ],
    ids=str,
)  # fmt: skip
def test_rows_that_differ_in_any_setting_have_ids_of_their_own(
    change: dict[str, Any], tmp_path: Path
) -> None:
    tests = [bench_test(), bench_test(**change, avg_ts=140.0)]
    together = rows_of(tmp_path, "llama-bench", json.dumps(tests))
    alone = [rows_of(tmp_path, "llama-bench", json.dumps([test]))[0] for test in tests]
    assert len({row.id for row in together}) == 2
    assert [row.id for row in alone] == [row.id for row in together]
    assert not any("repeat" in row.variant for row in together)


def test_settings_that_look_alike_in_an_id_are_told_apart(tmp_path: Path) -> None:
    tests = [bench_test(tensor_buft_overrides=value) for value in ("a=CPU", "a,CPU", "a~CPU")]
    ids = [rows_of(tmp_path, "llama-bench", json.dumps([test]))[0].id for test in tests]
    assert len(set(ids)) == 3


def test_a_test_that_was_run_again_is_counted(tmp_path: Path) -> None:
    records, said = imported(
        tmp_path, "llama-bench", MARKDOWN + MARKDOWN.replace("128.00", "127.00")
    )
    assert [record.cell.variant.get("repeat") for record in records] == [None, None, 2, 2]
    assert len({record.cell.id for record in records}) == 4
    assert "`repeat` in the variant counts them" in said


def test_two_tables_in_one_file_are_both_read(tmp_path: Path) -> None:
    second = MARKDOWN.replace("threads", "fa |       mmap").replace("|       4 |", "|  1 | 0 |")
    second = second.replace("0123abc (9000)", "9999fff (9100)").replace(
        "| ------: |", "| -: | -: |"
    )
    other = "| GPU | VRAM |\n| --- | ---: |\n| Orin | 8 GiB |\n"
    rows = rows_of(tmp_path, "llama-bench", f"before\n{MARKDOWN}\n{other}\nafter\n{second}")
    assert [row.throughput_per_s for row in rows] == [128.0, 11.5, 128.0, 11.5]
    assert [row.variant.get("use_mmap") for row in rows] == [None, None, 0, 0]
    assert [row.variant.get("flash_attn") for row in rows] == [None, None, 1, 1]
    assert [row.run.split("-")[2] for row in rows] == ["0123abc"] * 2 + ["9999fff"] * 2


@pytest.mark.parametrize(
    ("echo", "model"),
    [
        ("$ ./llama-bench -m models/a.gguf", "models/a.gguf"),
        ("+ ./build/bin/llama-bench -m models/a.gguf -t 4", "models/a.gguf"),
        ("pi@pi:~/llama.cpp$ ./llama-bench --model models/a.gguf | tee x", "models/a.gguf"),
        (r"PS C:\llama> .\llama-bench.exe -m .\models\a.gguf", "models/a.gguf"),
        ("Run ./llama-bench -m 'my models/a.gguf'", "my models/a.gguf"),
        ("$ ./llama-bench \\\n    -m models/a.gguf \\\n    -t 4", "models/a.gguf"),
        ("PS> .\\llama-bench.exe `\n  -m models/a.gguf", "models/a.gguf"),
        ("./llama-bench -m b.gguf\n./llama-bench -m c.gguf\n+ ./llama-bench -m a.gguf", "a.gguf"),
        ("for m in *.gguf; do ./llama-bench -m $m; done", None),
        ("Run ./llama-bench -m ${{ matrix.model }}", None),
        ("./llama-bench -m %MODEL%", None),
        ("$ ./llama-bench -m a.gguf -m b.gguf", None),  # whose rows are whose?
        ("$ ./llama-bench -m a.gguf\n$ ./llama-bench -m b.gguf", None),
        ("llama-bench: benchmark 1/2: starting", None),
    ],
)
def test_a_table_has_the_model_of_its_command(echo: str, model: str | None, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "llama-bench", f"{echo}\n{MARKDOWN}")
    assert [row.variant.get("model") for row in rows] == [model, model]


def test_the_command_of_a_run_that_failed_names_no_other_run(tmp_path: Path) -> None:
    head = "".join(MARKDOWN.splitlines(keepends=True)[:2])
    failed = f"+ ./llama-bench -m bad.gguf\n{head}main: error: failed to load model 'bad.gguf'\n"
    good = f"+ ./llama-bench -m good.gguf\n{MARKDOWN}"
    assert {r.variant["model"] for r in rows_of(tmp_path, "llama-bench", failed + good)} == {
        "good.gguf"
    }
    assert all(
        "model" not in r.variant for r in rows_of(tmp_path, "llama-bench", failed + MARKDOWN)
    )


def test_lists_that_a_crash_left_open_and_lines_between_tests(tmp_path: Path) -> None:
    crashed = "[\n" + json.dumps(bench_test(), indent=2) + "CUDA error: out of memory\n"
    again = "[\n" + json.dumps(bench_test(n_threads=2), indent=2) + "\n]\n"
    rows = rows_of(tmp_path, "llama-bench", crashed + again)
    assert [row.variant["threads"] for row in rows] == [4, 2]
    between = csv_of().replace('\n"', '\n  Device 0: Orin, compute capability 8.7, VMM: yes\n"')
    assert len(rows_of(tmp_path, "llama-bench", between)) == 2
    assert len(rows_of(tmp_path, "llama-bench", csv_of() + "main: error: out of memory\n")) == 2


def test_a_row_that_was_cut_is_refused(tmp_path: Path) -> None:
    cut = csv_of().rstrip()[:-200]
    assert "log.txt:3: " in refusal(tmp_path, "llama-bench", cut)
    assert "no JSON" in refusal(tmp_path, "llama-bench", json.dumps([bench_test()])[:-50])
    assert "cells under 7 columns" in refusal(
        tmp_path, "llama-bench", MARKDOWN.replace("|         tg128", "|         ")[:-60]
    )


@pytest.mark.parametrize("sign", ["±", "Â±", "┬▒", "+/-", "+-"])
def test_the_sign_before_the_spread_in_any_code_page(sign: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "llama-bench", MARKDOWN.replace("±", sign))
    assert [row.throughput_per_s for row in rows] == [128.0, 11.5]


def test_rates_by_the_decimal_mark_that_the_file_proves(tmp_path: Path) -> None:
    comma = MARKDOWN.replace("128.00 ± 0.30", "1.128,00 ± 0,30").replace("11.50", "11,5")
    assert [r.throughput_per_s for r in rows_of(tmp_path, "llama-bench", comma)] == [1128.0, 11.5]
    point = MARKDOWN.replace("128.00 ± 0.30", "1,128 ± 3")
    assert [r.throughput_per_s for r in rows_of(tmp_path, "llama-bench", point)] == [1128.0, 11.5]
    spread = MARKDOWN.replace("128.00", "1,128").replace("11.50", "12")
    assert [r.throughput_per_s for r in rows_of(tmp_path, "llama-bench", spread)] == [1128.0, 12.0]
    both = MARKDOWN.replace("128.00", "128,5")
    said = refusal(tmp_path, "llama-bench", both)
    assert "'11.50' has a decimal point, '128,5' a decimal comma" in said


@pytest.mark.parametrize("mark", [".", ","])
def test_a_rate_that_nothing_decides_is_refused_until_the_user_tells(
    mark: str, tmp_path: Path
) -> None:
    rate = f"1{mark}128"
    nobody = MARKDOWN.replace("128.00 ± 0.30", f"{rate} ± 3").replace("11.50 ± 0.05", "12")
    said = refusal(tmp_path, "llama-bench", nobody)
    assert f"avg_ts: '{rate}' may be 1.128 or 1128" in said
    assert "say which with --decimal point or --decimal comma" in said
    told = {"point": 1.128, "comma": 1128.0} if mark == "." else {"point": 1128.0, "comma": 1.128}
    for word, value in told.items():
        rows = rows_of(tmp_path, "llama-bench", nobody, "--decimal", word)
        assert [row.throughput_per_s for row in rows] == [value, 12.0]
    log = openvino_run(median=f"2{mark}500 ms", rate=f"1{mark}600", **{"2.5 ms": "3 ms"})
    assert f"'2{mark}500' may be 2.5 or 2500" in refusal(tmp_path, "benchmark_app", log)


def test_between_commas_a_point_alone_is_a_decimal_point(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "llama-bench", csv_of(bench_test(avg_ts="1.128", stddev_ts="0")))
    assert [row.throughput_per_s for row in rows] == [1.128]
    text = csv_of(bench_test(avg_ts="1.128", stddev_ts="0"), delimiter=";")
    assert "'1.128' may be 1.128 or 1128" in refusal(tmp_path, "llama-bench", text)


# --- benchmark_app


def test_each_run_of_a_benchmark_app_log_is_read_alone(tmp_path: Path) -> None:
    second = openvino_run("yolo", "80.0 ms", "50.00", THROUGHPUT="LATENCY", float32="bfloat16")
    log = openvino_run() + OPENVINO_FAILED + second
    records, said = imported(tmp_path, "benchmark_app", log)
    rows = build_table(records).rows
    assert [row.workload for row in rows] == ["benchmark_app-resnet", "benchmark_app-yolo"]
    assert [row.latency_ns.p50 for row in rows] == [2_500_000, 80_000_000]
    assert [row.throughput_per_s for row in rows] == [1600.0, 50.0]
    assert [row.variant["precision"] for row in rows] == ["fp32", "bf16"]
    assert [row.variant["hint"] for row in rows] == ["throughput", "latency"]
    assert "the run at line 32 gives no row: it failed: Exception from src" in said


def test_a_log_of_failed_runs_alone_says_why(tmp_path: Path) -> None:
    assert "Could not open the file" in refusal(tmp_path, "benchmark_app", OPENVINO_FAILED)
    said = refusal(tmp_path, "benchmark_app", OPENVINO_FAILED * 500)
    assert "and so do 495 more" in said
    assert len(said) < 2000
    cut = openvino_run().split("[Step 11")[0]
    assert "it ends without results" in refusal(tmp_path, "benchmark_app", cut)


@pytest.mark.parametrize("network", ["onnx_Frontend_IR", "torch_jit", "Model0", "main_graph"])
def test_a_name_that_any_model_has_is_no_name(network: str, tmp_path: Path) -> None:
    one, two = openvino_run(network), openvino_run(network, "80.0 ms")
    alone = [rows_of(tmp_path, "benchmark_app", text)[0] for text in (one, two)]
    together = rows_of(tmp_path, "benchmark_app", one + two)
    assert len({row.id for row in (*alone, *together)}) == 4
    assert all("unknown" in row.workload for row in (*alone, *together))
    _, said = imported(tmp_path, "benchmark_app", one)
    assert "the file does not name its model: --model NAME does" in said
    (row,) = rows_of(tmp_path, "benchmark_app", one, "--model", "nets/onet.onnx")
    assert (row.workload, row.variant["model"]) == ("benchmark_app-onet", "nets/onet.onnx")


@pytest.mark.parametrize(
    "echo",
    [
        "+ benchmark_app -m {} -d CPU -hint latency",
        "$ python3 benchmark_app.py --path_to_model {}",
        "(ov) me@pc:~$ ./benchmark_app -m={} > log.txt",
        "##[command]benchmark_app -d CPU -m {} -t 10",
    ],
)
def test_a_run_has_the_model_of_its_command(echo: str, tmp_path: Path) -> None:
    log = "".join(
        f"{echo.format(model)}\n{run}"
        for model, run in [
            ("nets/a.onnx", openvino_run("onnx_Frontend_IR")),
            ("nets/bad.onnx", OPENVINO_FAILED),
            ("nets/b.onnx", openvino_run("onnx_Frontend_IR", "80.0 ms")),
        ]
    )
    rows = rows_of(tmp_path, "benchmark_app", log)
    assert [row.variant["model"] for row in rows] == ["nets/a.onnx", "nets/b.onnx"]
    assert [row.latency_ns.p50 for row in rows] == [2_500_000, 80_000_000]


def test_commands_that_were_listed_before_name_no_run(tmp_path: Path) -> None:
    listed = "benchmark_app -m a.onnx\nbenchmark_app -m b.onnx\n"
    log = listed + openvino_run("onnx_Frontend_IR") + openvino_run("onnx_Frontend_IR")
    assert all("unknown" in row.workload for row in rows_of(tmp_path, "benchmark_app", log))


GROUPS = """\
[ INFO ] Latency for each data shape group:
[ INFO ] 1. x : [1,3,32,32]
[ INFO ]    Median:     1.20 ms
[ INFO ]    Average:    1.30 ms
[ INFO ] 2. x : [1,3,64,64]
[ INFO ]    Median:     9.80 ms
[ INFO ]    Average:    9.90 ms
"""


def test_the_latency_of_several_data_shapes_is_that_of_the_whole(tmp_path: Path) -> None:
    defined = "[ INFO ] Defined 2 tensor groups:\n[ INFO ] \tx: {1, 3, 32, 32}\n[ INFO ] \tx: {1, 3, 64, 64}\n"
    log = openvino_run().replace("[ INFO ] Throughput", GROUPS + "[ INFO ] Throughput")
    log = log.replace("[Step 10/11]", defined + "[Step 10/11]")
    (row,) = rows_of(tmp_path, "benchmark_app", log)
    assert (row.latency_ns.p50, row.throughput_per_s) == (2_500_000, 1600.0)
    assert row.variant["data_shapes"] == "x:1x3x32x32+x:1x3x64x64"
    assert row.imported is not None
    (note,) = [note for note in row.imported.notes if "over all data shapes" in note]
    assert "9.80 ms" in note
    (alone,) = rows_of(tmp_path, "benchmark_app", openvino_run())
    assert alone.id != row.id


def test_the_log_of_the_benchmark_app_in_cpp(tmp_path: Path) -> None:
    log = openvino_run().replace("['CPU']", " [ CPU ]").replace("   Median:", "\tMedian:")
    log = log.replace("<Type: 'float32'>", "f32").replace(": x) : f32", ": x) : u8")
    (row,) = rows_of(tmp_path, "benchmark_app", log)
    assert (row.latency_ns.p50, row.variant["device"]) == (2_500_000, "CPU")
    assert (row.variant["inputs"], row.variant["precision"]) == ("x:u8:1x3x32x32", "f32")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NUM_STREAMS: 4", "NUM_STREAMS: 8"),
        ("['CPU']", "['GPU.0']"),
        ("[1,3,32,32]", "[1,3,64,64]"),
        ("x) : f32", "x) : u8"),
        ("inference only mode", "full mode"),
        (", 4 inference requests", ", 2 inference requests"),
        ("batch size: 1", "batch size: 8"),
    ],
)
def test_runs_that_differ_in_any_setting_have_ids_of_their_own(
    old: str, new: str, tmp_path: Path
) -> None:
    rows = rows_of(tmp_path, "benchmark_app", openvino_run() + openvino_run().replace(old, new))
    assert len({row.id for row in rows}) == 2
    assert not any("repeat" in row.variant for row in rows)


def test_requests_are_those_that_were_measured(tmp_path: Path) -> None:
    log = openvino_run().replace(", 4 inference requests", ", 2 inference requests")
    (row,) = rows_of(tmp_path, "benchmark_app", log)
    assert row.variant["requests"] == 2  # 4 would have been best


def test_two_results_in_one_run_are_refused_where_they_differ(tmp_path: Path) -> None:
    twice = openvino_run() + "[ INFO ] Throughput:   900.00 FPS\n"
    assert "Throughput stands twice for one run, as 1600 and 900" in refusal(
        tmp_path, "benchmark_app", twice
    )
    same = openvino_run() + "[ INFO ] Throughput:   1600.00 FPS\n"
    assert len(rows_of(tmp_path, "benchmark_app", same)) == 1


@pytest.mark.parametrize("rate", ["0", "-5", "nan", "inf", "1e400", "1e-30", "many"])
def test_a_rate_that_cannot_be_is_refused(rate: str, tmp_path: Path) -> None:
    assert "Throughput" in refusal(tmp_path, "benchmark_app", openvino_run(rate=rate))


def test_a_latency_of_zero_is_rounded_away_and_unknown(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, "benchmark_app", openvino_run(median="0.00 ms"))
    assert row.latency_ns.p50 is None
    assert "less than the steps" in row.unknown["latency_ns"]


def test_several_reports_and_the_names_of_cpp(tmp_path: Path) -> None:
    def report(model: str, latency: str) -> str:
        return (
            f"Command line parameters\n-m;{model}\n\nConfiguration setup\ntopology;Model1\n\n"
            f"Execution results\nMedian latency (ms);{latency}\nthroughput;100.5\n\n"
            "Group Latencies\nData shape;Median;Average;Min;Max\n\n"
        )

    failed = report("bad.onnx", "1").replace("Median latency (ms);1", "error;cannot read it")
    texts = report("a.onnx", "2.25") + failed + report("b.onnx", "4.5")
    rows = rows_of(tmp_path, "benchmark_app", texts)
    assert [row.workload for row in rows] == ["benchmark_app-a", "benchmark_app-b"]
    assert [row.latency_ns.p50 for row in rows] == [2_250_000, 4_500_000]
    assert "it failed: cannot read it" in refusal(tmp_path, "benchmark_app", failed)
    named = json.dumps(
        {
            "cmd_options": {"-m": "a.onnx"},
            "configuration_setup": {"topology": "", "nireq": 1},
            "execution_results": {"latency (90 percentile) (ms)": "3.10", "throughput": "5"},
        }
    )
    (row,) = rows_of(tmp_path, "benchmark_app", "some words before\n" + named)
    assert (row.latency_ns.p50, row.latency_ns.p90) == (None, 3_100_000)


# --- trtexec


def test_each_run_of_a_trtexec_log_is_read_alone(tmp_path: Path) -> None:
    log = (
        trtexec_failed("first.onnx")
        + trtexec_run("resnet50.onnx")
        + trtexec_failed("bad.onnx")
        + trtexec_run("yolov8x.onnx", "24.5")
    )
    records, said = imported(tmp_path, "trtexec", log)
    rows = build_table(records).rows
    assert [row.workload for row in rows] == ["trtexec-resnet50", "trtexec-yolov8x"]
    assert [row.latency_ns.p50 for row in rows] == [1_250_000, 24_500_000]
    assert [row.throughput_per_s for row in rows] == [800.5, 800.5]
    assert said.count("gives no row: it failed: Engine set up failed") == 2
    assert "of bad.onnx, gives no row" in said
    assert "Engine set up failed" in refusal(tmp_path, "trtexec", trtexec_failed("a.onnx"))


def test_runs_whose_start_was_filtered_away_are_told_by_their_options(tmp_path: Path) -> None:
    log = trtexec_run("a.onnx") + trtexec_run("b.onnx", "2.5")
    kept = "".join(line for line in log.splitlines(keepends=True) if "[I]" in line)
    rows = rows_of(tmp_path, "trtexec", kept)
    assert [row.workload for row in rows] == ["trtexec-a", "trtexec-b"]
    assert [row.latency_ns.p50 for row in rows] == [1_250_000, 2_500_000]
    summaries = "".join(line for line in kept.splitlines(keepends=True) if " === M" not in line)
    assert "two performance summaries in one run" in refusal(tmp_path, "trtexec", summaries)


@pytest.mark.parametrize(
    "option",
    [
        " --useCudaGraph",
        " --shapes=x:8x3x224x224",
        " --infStreams=2",
        " --useDLACore=0",
        " --noTF32",
    ],
)
def test_runs_with_other_options_have_ids_of_their_own(option: str, tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "trtexec", trtexec_run() + trtexec_run(options=option))
    assert len({row.id for row in rows}) == 2
    assert not any("repeat" in row.variant for row in rows)


def test_the_summary_of_tensorrt_7(tmp_path: Path) -> None:
    head, _, _ = trtexec_run(median="9").partition("[05/01/2026-10:00:00] [I] === Performance")
    stamp = "[05/01/2026-10:00:00] [I] "
    summary = [
        "Host Latency", "min: 1.1 ms (end to end 1.2 ms)", "max: 2.5 ms (end to end 2.6 ms)",
        "mean: 1.3 ms (end to end 1.4 ms)", "median: 1.25 ms (end to end 1.35 ms)",
        "percentile: 1.625 ms at 99% (end to end 1.7 ms at 99%)", "throughput: 800.5 qps",
        "walltime: 3.0 s", "GPU Compute", "min: 1.0 ms", "median: 1.15 ms", "percentile: 1.5 ms at 99%",
    ]  # fmt: skip
    log = head.replace("[TensorRT v100300]", "[TensorRT v7103]").replace("10.3.0", "7.1.3")
    (row,) = rows_of(tmp_path, "trtexec", log + "".join(f"{stamp}{line}\n" for line in summary))
    assert (row.latency_ns.p50, row.latency_ns.p99) == (1_250_000, 1_625_000)
    assert (row.throughput_per_s, row.backend) == (800.5, "TensorRT 7.1.3")


def test_two_throughput_lines_are_refused_where_they_differ(tmp_path: Path) -> None:
    line = "[05/01/2026-10:00:00] [I] Throughput: 800.5 qps\n"
    assert len(rows_of(tmp_path, "trtexec", trtexec_run().replace(line, line * 2))) == 1
    other = trtexec_run().replace(line, line + line.replace("800.5", "700"))
    assert "Throughput stands twice for one run" in refusal(tmp_path, "trtexec", other)


def test_traces_of_unknown_models_are_not_one_row(tmp_path: Path) -> None:
    traces = [json.dumps([{"latencyMs": ms}, {"latencyMs": ms}]) for ms in (1.5, 2.5)]
    alone = [rows_of(tmp_path, "trtexec", trace)[0] for trace in traces]
    together = rows_of(tmp_path, "trtexec", "\n".join(traces))
    assert len({row.id for row in (*alone, *together)}) == 4
    (row,) = rows_of(tmp_path, "trtexec", traces[0], "--model", "a.onnx")
    assert row.workload == "trtexec-a"
    said = refusal(tmp_path, "trtexec", trtexec_run(), "--model", "other.onnx")
    assert "already names its model" in said


# --- optimum-benchmark


def optimum(**backend: Any) -> str:
    parts = {
        "name": "pytorch",
        "version": "2.4.0",
        "model": "bert-base",
        "device": "cpu",
        **backend,
    }
    latency = {"unit": "s", "values": [0.02, 0.021, 0.019]}
    return json.dumps(
        {
            "config": {"backend": parts, "scenario": {"input_shapes": {"batch_size": 1}}},
            "report": {"forward": {"latency": latency}},
        }
    )


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda"}, {"torch_dtype": "float16"}, {"model": "gpt2"}, {"model": "me/bert-base"},
        {"quantization_scheme": "bnb"}, {"torch_compile": True}, {"model_kwargs": {"attn": "sdpa"}},
        {"device_ids": [0, 1]}, {"hub_kwargs": {"revision": "v2"}}, {"inter_op_num_threads": 4},
    ],
    ids=str,
)  # fmt: skip
def test_reports_that_differ_in_any_setting_have_ids_of_their_own(
    change: dict[str, Any], tmp_path: Path
) -> None:
    ids = [
        rows_of(tmp_path, "optimum-benchmark", text)[0].id
        for text in (optimum(), optimum(**change))
    ]
    assert len(set(ids)) == 2


def as_csv(*texts: str, delimiter: str = ",") -> str:
    """As pandas writes what optimum-benchmark makes flat: a column for each path into the document."""

    def flat(value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            return {path: value}
        parts = (flat(each, f"{path}.{name}".lstrip(".")) for name, each in value.items())
        return {key: part for each in parts for key, part in each.items()}

    rows = [flat(json.loads(text), "") for text in texts]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_csv_of_optimum_benchmark_is_read_as_its_json(delimiter: str, tmp_path: Path) -> None:
    texts = [optimum(), optimum(device="cuda", torch_compile=True, device_ids=[0, 1])]
    rows = rows_of(tmp_path, "optimum-benchmark", as_csv(*texts, delimiter=delimiter))
    alone = [rows_of(tmp_path, "optimum-benchmark", text)[0] for text in texts]
    assert [row.id for row in rows] == [row.id for row in alone]
    assert [row.latency_ns for row in rows] == [row.latency_ns for row in alone]
    report = json.dumps(json.loads(optimum())["report"])
    (record,), _ = imported(tmp_path, "optimum-benchmark", as_csv(report), "--model", "bert")
    assert record.cell.workload == "optimum-bert-forward"
    assert record.replicates[0].samples_ns == [20_000_000, 21_000_000, 19_000_000]
    damaged = as_csv(optimum()).replace("[0.02, 0.021, 0.019]", "[0.02, 0.021")
    assert "not a list of values" in refusal(tmp_path, "optimum-benchmark", damaged)


def test_reports_without_a_configuration_are_not_one_workload(tmp_path: Path) -> None:
    def report(seconds: float) -> str:
        return json.dumps({"forward": {"latency": {"unit": "s", "values": [seconds] * 3}}})

    (bert,) = rows_of(tmp_path, "optimum-benchmark", report(0.02))
    (gpt2,) = rows_of(tmp_path, "optimum-benchmark", report(0.03))
    assert bert.id != gpt2.id
    assert bert.workload != gpt2.workload
    (named,) = rows_of(tmp_path, "optimum-benchmark", report(0.02), "--model", "bert")
    assert named.workload == "optimum-bert-forward"


# --- MLPerf


def test_pointpainting_is_p99_9_and_never_p90(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "imports" / "mlperf" / "inference-excerpt.csv.gz"
    head, first = gzip.decompress(data.read_bytes()).decode().splitlines()[:2]
    fields = dict(zip(head.split(","), first.split(","), strict=True))
    assert fields["Scenario"] == "SingleStream"
    fields["Model"] = "pointpainting"
    (row,) = rows_of(tmp_path, "mlperf", f"{head}\n{','.join(fields.values())}\n")
    assert row.latency_ns.p90_early_stopping is None
    assert row.latency_ns.p999_early_stopping == 5_730_422
    assert row.imported is not None
    what = row.imported.reported["latency.p999_early_stopping"]
    assert what.startswith("early-stopping estimate of p99.9 (SingleStream)")
    said = run("show", tmp_path / "out.jsonl").stdout
    assert "p99.9<=5.73 ms" in said


def test_a_cell_of_several_lines_hides_no_row(tmp_path: Path) -> None:
    data = Path(__file__).parents[1] / "data" / "imports" / "mlperf" / "inference-excerpt.csv.gz"
    head, first, second = gzip.decompress(data.read_bytes()).decode().splitlines()[:3]
    several = first.replace("tflite vmaster,", '"tflite\n",', 1)
    assert several != first
    rows = rows_of(tmp_path, "mlperf", f"{head}\n{several}\n{second}")
    assert len(rows) == 2
    assert rows[1].imported is not None
    assert rows[1].imported.line == 4


# --- files that nobody should have to wait for


def test_a_file_beyond_the_limit_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_source, "MAX_FILE_BYTES", 1 << 20)
    bomb = gzip.compress(b"0" * (64 << 20))
    assert len(bomb) < 1 << 20
    for content in (bomb, b"x" * (2 << 20)):
        said = refusal(tmp_path, "llama-bench", content)
        assert "at most 1 MiB are read" in said
        assert "cut it" in said


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "runs.jsonl")
    done = run("import", "llama-bench", tmp_path / "runs.jsonl", "-o", tmp_path / "o.jsonl")
    assert isinstance(done.exception, StoreError)
    assert "it is a pipe and not a file" in str(done.exception)
    folder = run("import", "llama-bench", tmp_path, "-o", tmp_path / "o.jsonl")
    assert isinstance(folder.exception, StoreError)


@pytest.mark.parametrize(
    ("head", "unit"),
    [
        ("[Step 1/11]\n", "1"),
        ("[Step 1/11]\n[ INFO ] ", "9"),
        ("[Step 6/11]\n[ INFO ]   ", "x (node: "),
        ("&&&& RUNNING \n[I] ", "Latency: min = "),
        ("", "[05/01/2026-10:00:00] [I] x\n"),
        ("", "["),
        ("", "[\n"),
        ("", "{\n"),
        ("", '{"a":'),
        ("", "|"),
        ("", "| - "),
        ("", "1:11:11 "),
        ("", "\x1b["),
        ("", "\x1b]"),
        ("", "INSERT INTO x VALUES ("),
        ("", "CREATE TABLE x ("),
        ("", "llama-bench -m "),
        ("x: ", "a"),
    ],
    ids=repr,
)
def test_time_grows_with_the_length_and_no_faster(head: str, unit: str, tmp_path: Path) -> None:
    """A pattern that tries again from each place takes 16 times as long for four times the text."""

    def cpu_s(length: int) -> float:
        started = time.process_time()
        for tool in ("benchmark_app", "llama-bench", "mlperf", "optimum-benchmark", "trtexec"):
            refusal(tmp_path, tool, head + unit * (length // len(unit)))
        return time.process_time() - started

    assert cpu_s(200_000) < 9 * cpu_s(50_000) + 1


# --- text that is hostile


def test_halves_of_surrogate_pairs_control_characters_and_huge_integers(tmp_path: Path) -> None:
    test = bench_test(model_filename="a\ud800\u001b[31m.gguf", gpu_info="\ud83d\ude00\u202eorin")
    text = json.dumps([test]).replace('"poll": 50', f'"poll": {10**30}')
    records, said = imported(tmp_path, "llama-bench", text, "--device", "my\udcff")
    written = (tmp_path / "out.jsonl").read_text(encoding="utf-8")
    assert records[0].cell.variant["poll"] == str(10**30)
    assert not {"\x1b", "\u202e"} & set(written + said)


def test_a_name_of_a_file_that_is_not_utf_8_is_no_traceback(tmp_path: Path) -> None:
    file = tmp_path / os.fsdecode(b"log\xff.md")
    file.write_text(MARKDOWN)
    done = run("import", "llama-bench", file, "-o", tmp_path / "out.jsonl")
    assert done.exit_code == 0, done.exception
    assert len(read_records(tmp_path / "out.jsonl")) == 2


def test_deep_json_and_numbers_beyond_range_are_clear_errors(tmp_path: Path) -> None:
    deep = json.dumps([bench_test()]).replace('"auto"', "[" * 200 + "]" * 200)
    assert "nested too deeply" in refusal(tmp_path, "llama-bench", deep)
    for bad in ("1e308", "-1", "0", "NaN", "Infinity", "true", "null", '"x"', str(10**400)):
        text = json.dumps([bench_test(avg_ts=7)]).replace('"avg_ts": 7', f'"avg_ts": {bad}')
        assert "avg_ts" in refusal(tmp_path, "llama-bench", text)
