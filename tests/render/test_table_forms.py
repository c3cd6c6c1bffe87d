"""The forms of the table: terminal, Markdown, CSV, JSON, and `edgebench show`."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len
from rich.style import Style

from edgebench.analysis.table import build_table
from edgebench.backend import Scalar
from edgebench.cli import cli
from edgebench.errors import StoreError
from edgebench.export.columns import columns_of
from edgebench.record import Energy, Limit, Paced, Record, StateCheck, encode
from edgebench.render import console, table_formats
from edgebench.render.table_wording import device_line
from edgebench.store import iter_records
from tests.records import MIB, failed, offline, quality, record, replicate, samples

REFERENCE = sorted((Path(__file__).parents[2] / "results" / "reference").glob("*.jsonl"))


def variant(precision: str, threads: int = 1) -> dict[str, Scalar]:
    return {"precision": precision, "threads": threads, "batch": 1}


def realistic() -> list[Record]:
    """What a run leaves: good rows, a slower one, a struck one, failures, offline, paced."""
    paced = Paced(rate_per_s=30.0, misses=2, service_ns=[8_000_000], wake_late_ns=[60_000])
    return [
        record(
            variant("fp32"),
            p50=7.3e6,
            state_before=[StateCheck(name="load", level="warn", evidence="0.8 per core")],
        ),
        record(variant("fp32", 2), p50=4.2e6, seed=1, peak=121 * MIB),
        record(variant("int8-dynamic", 2), p50=8.9e6, seed=2, quality=quality(0.862)),
        record(variant("int8-static", 2), p50=2.3e6, spread=0.03, seed=3, quality=quality(0.87)),
        record(variant("int8-static"), p50=4.4e6, seed=4, quality=quality(0.41)),
        failed(variant("int8-dynamic"), "crashed", "the worker died of SIGSEGV"),
        failed(variant("as-is"), "unsupported", "no kernel for Conv", status="unsupported"),
        record(
            variant("fp32", 2),
            scenario="offline",
            replicates=[offline(i, 260 + i) for i in range(3)],
        ),
        record(
            workload="wake-word",
            rate_per_s=30.0,
            replicates=[replicate(i, samples(9e6, 100, i), paced=paced) for i in range(3)],
        ),
    ]


def shown(records: list[Record], form: str = "table", verbose: bool = False) -> str:
    out = io.StringIO()
    table_formats.render(build_table(records), form, out, verbose)
    return out.getvalue()


def line_with(text: str, words: str) -> str:
    (line,) = [line for line in text.splitlines() if words in line]
    return line


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


# --- terminal


def test_a_realistic_table_fits_80_columns() -> None:
    text = shown(realistic())
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text


def test_a_row_says_percentiles_with_intervals_throughput_memory_and_quality() -> None:
    line = line_with(shown(realistic()), "* int8-static threads=2")
    assert line.split()[:3] == ["*", "int8-static", "threads=2"]
    assert line.count(" ms ±") == 2
    assert line.split()[-3:] == ["90.0", "0.870", "-0.015"]


def test_struck_and_failed_rows_say_why_below_or_beside() -> None:
    lines = shown(realistic()).splitlines()
    struck = next(i for i, line in enumerate(lines) if line.startswith("x int8-static threads=1"))
    assert "4.4" in lines[struck]
    assert "accuracy 0.41 is below the floor 0.85 [quality_below_floor]" in lines[struck + 1]
    text = " ".join(" ".join(lines).split())
    assert "x int8-dynamic threads=1 failed: the worker died of SIGSEGV [crashed]" in text
    assert "x as-is threads=1 unsupported [unsupported]: fix: see the log" in text


def test_unsupported_variants_of_a_backend_stand_in_one_place() -> None:
    def unable(precision: str, threads: int, why: str) -> Record:
        return failed(variant(precision, threads), "unsupported", why, status="unsupported")

    many = [unable("as-is", n, "no kernel " * 20) for n in range(1, 40)]
    text = shown([record(variant("fp32")), unable("w8", 1, "no such precision"), *many])
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert line_with(text, "unsupported") == (
        "x ort: 40 variants unsupported [unsupported]: fix: see the log"
    )
    assert "no kernel" not in text
    whole = shown(
        [record(variant("fp32")), unable("w8", 1, "no such precision"), *many], "table", True
    )
    assert whole.count("x as-is") == 39
    assert "no such precision" in whole


def test_an_unsupported_variant_that_nothing_mends_says_why_in_one_line() -> None:
    gone = failed(variant("fp32"), "conversion", "no kernel " * 20, status="unsupported")
    lost = msgspec.structs.replace(gone.reasons[0], fix="")
    text = shown([msgspec.structs.replace(gone, reasons=[lost])])
    line = line_with(text, "unsupported [")
    assert line.startswith("x fp32 unsupported [conversion]: no kernel")
    assert line.endswith("...")
    assert len(line) <= 80


def test_table_says_what_to_deploy_what_is_slower_and_what_was_not_reached() -> None:
    text = " ".join(shown(realistic()).split())
    assert "deploy int8-static threads=2 (not to be believed yet): p50 2.3" in text
    assert "the machine was busy: before the run, load, 0.8 per core" in text
    assert "slower than fp32: it takes 2.1" in text
    assert "not reached" not in text
    whole = " ".join(shown(realistic(), verbose=True).split())
    assert "load, 0.8 per core; fastest of 4" in whole
    assert "not good enough: int8-static threads=1" in whole
    assert "±2% not reached: int8-static threads=2 ±7." in whole
    assert "energy unavailable: no_sensor (no power sensor was found)" in text
    assert "warn: load: 0.8 per core" in text
    assert "wake-word@1 · single_stream at 30/s" in text
    assert "6 deadlines missed in 300 queries" in text


def test_the_deploy_line_is_the_first_of_its_block_and_names_the_floor_above_it() -> None:
    lines = shown(realistic()).splitlines()
    title = next(place for place, line in enumerate(lines) if line.startswith("image-class"))
    assert lines[title].endswith(" · accuracy>=0.85")
    assert lines[title + 1].startswith("deploy int8-static threads=2")


@pytest.mark.parametrize("file", REFERENCE, ids=lambda file: file.stem)
def test_the_deploy_line_is_followed_by_one_line_of_doubt_at_most(file: Path) -> None:
    """Below the names of several runs, which are long, it is shorter; --verbose has all of it."""
    lines = shown(list(iter_records(file))).splitlines()
    starts = [at for at, line in enumerate(lines) if line.startswith("deploy ")]
    assert starts
    for at in starts:
        head = next(i for i in range(at + 1, at + 9) if lines[i].startswith("  variant"))
        doubt = [line for line in lines[at + 1 : head] if not line.startswith("  ")]
        assert len(doubt) <= 1
        assert head - at <= 3, "a headline of two lines and a doubt of one at most"


def test_rows_that_compete_stand_above_those_that_are_struck_each_by_speed() -> None:
    lines = shown(realistic()).splitlines()
    names = [line[:24] for line in lines if " ms ±" in line]
    assert [name[:2] + name.split()[-2] for name in names[:5]] == [
        "* int8-static", "* fp32", "* fp32", "  int8-dynamic", "x int8-static"
    ]  # fmt: skip


def test_a_struck_row_shows_its_first_reason_and_how_many_there_are_besides() -> None:
    worse = quality(
        0.41, also=[Limit(metric="top5", value=0.5, limit=0.9, better="higher", passed=False)]
    )
    records = [record(variant("fp32")), record(variant("int8-static"), quality=worse)]
    assert "[quality_below_floor] and 1 more" in " ".join(shown(records).split())
    assert "[quality_limit_missed]" not in shown(records)
    assert "[quality_limit_missed]" in shown(records, verbose=True)


@pytest.mark.parametrize("style", console.STYLES)
@pytest.mark.parametrize("ground", [(0, 0, 0), (255, 255, 255)], ids=["black", "white"])
def test_every_colour_can_be_read_on_white_and_on_black(
    style: Style, ground: tuple[int, int, int]
) -> None:
    assert not style.strike
    assert not style.dim
    if style.color is not None:
        lights = [_luminance(style.color.get_truecolor()), _luminance(ground)]
        assert (max(lights) + 0.05) / (min(lights) + 0.05) >= 4.5


def _luminance(colour: Sequence[int]) -> float:
    """That of WCAG 2.2."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_energy_has_a_column_where_it_was_measured() -> None:
    energy = Energy(status="ok", j_per_inference=0.0312, uncertainty_j=0.001, kind="measured_rail")
    text = shown([record(energy=energy), record({"precision": "int8-static", "threads": 1})])
    assert "energy" in line_with(text, "variant")
    assert line_with(text, "+ fp32").endswith("31.2 mJ ±3.2%")
    assert any(line.endswith(" no_sensor") for line in text.splitlines())


def test_a_long_label_gets_a_line_of_its_own() -> None:
    axes: dict[str, Scalar] = {"precision": "int8-dynamic", "execution_mode": "parallel"}
    text = shown([record(axes), record(axes | {"execution_mode": "sequential"})])
    assert max(cell_len(line) for line in text.splitlines()) <= 80
    assert line_with(text, "+ int8-dynamic execution_mode=parallel").endswith("=parallel")


def test_columns_of_the_environment_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    wide = shown(realistic())
    assert any(80 < cell_len(line) <= 120 for line in wide.splitlines())


def test_control_characters_of_a_result_file_do_not_reach_the_terminal() -> None:
    text = shown([failed(variant("fp32"), "crashed", "\x1b]0;owned\x07 \x9b31m")])
    assert not set(text) & {"\x1b", "\x07", "\x9b"}


def test_a_table_without_records_says_so() -> None:
    assert shown([]).strip() == "no records"
    assert json.loads(shown([], "json"))["rows"] == []


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_gets_colour_unless_no_color(
    monkeypatch: pytest.MonkeyPatch, no_color: str, coloured: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    out = Terminal()
    table_formats.render(build_table(realistic()), "table", out)
    assert ("\x1b[" in out.getvalue()) is coloured


# --- Markdown, CSV, JSON


def test_markdown_is_a_table_that_no_name_breaks_out_of() -> None:
    hostile = "a|b <script>alert(1)</script> `c` [x](http://y) @all"
    text = shown([failed(variant("fp32"), "crashed", hostile), record(variant("fp32", 2))], "md")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.replace(r"\|", "").count("|") for line in rows} == {9}
    assert "<script>" not in text
    assert "](" not in text.replace(r"\]", "")
    assert "**deploy fp32" in text


def test_csv_has_units_in_its_head_and_empty_cells_for_the_unknown() -> None:
    rows = list(csv.DictReader(io.StringIO(shown(realistic(), "csv"))))
    assert len(rows) == len(realistic())
    assert json.loads(rows[3]["variant"]) == {"batch": 1, "precision": "int8-static", "threads": 2}
    assert (rows[3]["variant_precision"], rows[3]["variant_threads"]) == ("int8-static", "2")
    assert list(rows[3]) == [column.name for column in columns_of(build_table(realistic()).rows)]
    assert float(rows[3]["latency.p50_ns"]) == pytest.approx(2.3e6, rel=0.02)
    assert float(rows[3]["latency.p50_low_ns"]) < float(rows[3]["latency.p50_ns"])
    assert rows[3]["pareto"] == "true"
    assert (rows[5]["status"], rows[5]["reasons"]) == ("failed", "crashed")
    assert (rows[5]["latency.p50_ns"], rows[5]["pareto"]) == ("", "")


def test_csv_holds_no_formula() -> None:
    text = shown([record(device="=1+1")], "csv")
    assert next(csv.DictReader(io.StringIO(text)))["device"] == "'=1+1"


def test_json_is_the_table() -> None:
    form = json.loads(shown(realistic(), "json"))
    assert form["schema"] == "edgebench.table/1"
    assert len(form["rows"]) == len(realistic())


# --- edgebench show


def _show(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["show", *map(str, arguments)])


def _write(path: Path, records: list[Record]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(encode(item) for item in records))
    return path


def test_show_reads_files_and_folders_each_file_once(tmp_path: Path) -> None:
    file = _write(tmp_path / "desk" / "a.jsonl", [record()])
    _write(tmp_path / "board" / "b.jsonl", [record(device="board", run="r2")])
    result = _show(tmp_path, file, "--format", "json")
    assert result.exit_code == 0
    assert sorted(row["device"] for row in json.loads(result.stdout)["rows"]) == ["board", "desk"]


def test_show_survives_a_torn_last_line(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(encode(record()) + encode(record(variant("int8-static")))[:-20])
    assert len(json.loads(_show(file, "--format", "json").stdout)["rows"]) == 1


def test_show_names_the_line_that_is_no_record(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(encode(record()) + b'{"schema": "other/1"}\n')
    error = _show(file).exception
    assert isinstance(error, StoreError)
    assert f"{file}:2:" in str(error)


def test_show_of_a_folder_without_results_says_so(tmp_path: Path) -> None:
    error = _show(tmp_path).exception
    assert isinstance(error, StoreError)
    assert "no result files" in str(error)


def test_show_in_a_pipe_is_plain_and_imports_no_runtime(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", realistic())
    code = (
        "import sys; from edgebench.cli import cli; "
        f"cli.main(['show', {str(file)!r}], standalone_mode=False); "
        "print(sorted({'onnxruntime', 'onnx', 'torch'} & set(sys.modules)))"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, env=environment
    )
    text = result.stdout.decode()
    assert "\x1b" not in text
    assert text.splitlines()[-1] == "[]"
    assert max(cell_len(line) for line in text.splitlines()) <= 80


def test_the_fix_of_a_reason_stands_where_the_reason_is() -> None:
    gone = failed(
        variant("fp32"), "not_installed", "openvino is not installed", status="unsupported"
    )
    fixed = msgspec.structs.replace(gone.reasons[0], fix="pip install openvino")
    for form in ("table", "md"):
        text = shown([msgspec.structs.replace(gone, reasons=[fixed])], form)
        assert "fix: pip install openvino" in " ".join(text.split())


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"cgroup_cpu_limit": 1.5}, "2 CPUs (limited to the time of 1.5) · 8.0 GiB"),
        ({"cgroup_memory_limit_bytes": 2**30}, "2 CPUs · 8.0 GiB (limited to 1.0 GiB)"),
        ({"cgroup_cpu_limit": "none", "cgroup_memory_limit_bytes": "none"}, "2 CPUs · 8.0 GiB"),
        ({"cgroup_memory_limit_bytes": 2**40}, "2 CPUs · 8.0 GiB"),
        ({}, "2 CPUs · 8.0 GiB"),
    ],
)
def test_what_a_container_leaves_of_the_machine_is_shown(facts: dict[str, Any], words: str) -> None:
    [made, *_] = realistic()
    limited = msgspec.structs.replace(
        made.device, facts={"cpu_model": "c", "logical_cpus": 2, "memory_bytes": 2**33, **facts}
    )
    table = build_table([msgspec.structs.replace(made, device=limited)])
    assert device_line(table, table.devices[0].name).endswith(words)
