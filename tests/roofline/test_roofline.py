"""Ceilings, and rows under them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from edgebench.analysis.table import build_table
from edgebench.calibration import Calibration, Ceiling, read_calibration, write_calibration
from edgebench.cli import cli
from edgebench.errors import EdgebenchError, StoreError, UsageError
from edgebench.record import DeviceFacts, Layer, Paced, Record, StateCheck, Work, encode
from edgebench.roofline.measure_ceilings import _in_process, calibrate
from edgebench.roofline.roofline_points import Point, roofline
from edgebench.testing.trees import write_tree
from tests.records import failed, offline, record, replicate, samples

DEVICE = DeviceFacts(name="desk", facts={})


def ceiling(what: Any, threads: int, per_s: float, spread: float = 0.01) -> Ceiling:
    return Ceiling(
        what=what,
        threads=threads,
        per_s=per_s,
        low_per_s=per_s * (1 - spread),
        high_per_s=per_s * (1 + spread),
        of_processes_per_s=[per_s] * 3,
        detail="made up",
    )


def calibration(**changes: Any) -> Calibration:
    fields: dict[str, Any] = {
        "device": DEVICE,
        "started_utc": "2026-07-01T10:00:00Z",
        "edgebench": "0.1.0",
        "onnxruntime": "1.32.0",
        "state": [],
        "ceilings": [
            ceiling("gemm_fp32", 1, 100e9),
            ceiling("gemm_fp32", 4, 350e9),
            ceiling("gemm_int8", 1, 400e9),
            ceiling("memory_add", 1, 10e9),
            ceiling("memory_add", 4, 20e9),
        ],
    }
    return Calibration(**(fields | changes))


#: 0.4 ms of arithmetic and 0.1 ms of memory, then 0.01 ms of arithmetic and 0.3 ms of memory.
LAYERS = [
    Layer(op="Conv", flops=40_000_000, moved_bytes=1_000_000),
    Layer(op="Gemm", flops=1_000_000, moved_bytes=3_000_000),
]


def worked(
    layers: list[Layer] = LAYERS, uncounted: dict[str, int] | None = None, **changes: Any
) -> Record:
    made = record(**changes)
    assert made.model is not None
    work = Work(
        flops=sum(layer.flops for layer in layers),
        moved_bytes=sum(layer.moved_bytes for layer in layers),
        layers=layers,
        uncounted=uncounted or {},
    )
    return msgspec.structs.replace(made, model=msgspec.structs.replace(made.model, work=work))


def point(*records: Record, calibrations: list[Calibration] | None = None) -> Point:
    given_ = [calibration()] if calibrations is None else calibrations
    return roofline(build_table(records).rows, given_).points[0]


def test_a_row_by_hand() -> None:
    made = point(worked(p50=1e6, spread=0.001))
    assert made.time_ns == pytest.approx(1e6, rel=0.02)
    assert (made.flops, made.moved_bytes, made.threads) == (41_000_000, 4_000_000, 1)
    assert made.intensity == pytest.approx(10.25)
    assert made.achieved_per_s == pytest.approx(41e9, rel=0.02)
    assert (made.roof_per_s, made.bound) == (100e9, "compute")  # 10.25 x 10 GB/s is more
    assert made.waterline_ns == pytest.approx(400_000 + 300_000)
    assert made.memory_share == pytest.approx(3 / 7)
    assert [layer.bound for layer in made.layers] == ["compute", "memory"]
    assert made.gap == pytest.approx(1e6 / 700_000, rel=0.02)
    assert made.efficiency == pytest.approx(0.41, rel=0.02)
    assert made.efficiency_low is not None
    assert made.efficiency_high is not None
    assert made.efficiency is not None
    assert made.efficiency_low < made.efficiency < made.efficiency_high
    assert made.unknown == {}


def test_memory_bounds_a_row_of_low_intensity() -> None:
    layers = [Layer(op="Add", flops=1_000_000, moved_bytes=12_000_000)]
    made = point(worked(layers, p50=2e6))
    assert made.bound == "memory"
    assert made.roof_per_s == pytest.approx(10e9 / 12)
    assert made.waterline_ns == pytest.approx(1.2e6)


def test_threads_take_the_ceiling_of_as_many_or_more() -> None:
    three = worked(variant={"precision": "fp32", "threads": 3}, p50=1e6, effective=None)
    assert point(three).threads == 4
    many = worked(variant={"precision": "fp32", "threads": 9}, p50=1e6, effective=None)
    assert "9 threads" in point(many).unknown["roof_per_s"]
    unsaid = worked(variant={"precision": "fp32"}, p50=1e6, effective=None)
    assert point(unsaid).threads == 4


def test_precision_takes_its_own_product() -> None:
    int8 = worked(variant={"precision": "int8-static", "threads": 1}, p50=1e6, effective=None)
    assert point(int8).waterline_ns == pytest.approx(100_000 + 300_000)
    unsaid = point(worked(variant={"precision": "as-is", "threads": 1}, p50=1e6, effective=None))
    assert "as-is" in unsaid.unknown["roof_per_s"], "a file as it came may be of any precision"
    assert unsaid.gap is None
    told = point(worked(variant={"precision": "as-is", "threads": 1}, p50=1e6))
    assert told.waterline_ns == pytest.approx(400_000 + 300_000)
    fp16 = worked(variant={"precision": "fp16", "threads": 1}, p50=1e6, effective=None)
    assert "fp16" in point(fp16).unknown["roof_per_s"]
    assert point(fp16).gap is None


def test_offline_takes_the_time_of_a_batch() -> None:
    made = worked(
        variant={"precision": "fp32", "threads": 1, "batch": 8},
        scenario="offline",
        replicates=[offline(0, 4000.0), offline(1, 4010.0)],
    )
    result = point(made)
    assert result.time_ns == pytest.approx(8 / 4005 * 1e9, rel=1e-3)
    assert result.efficiency_low is not None


def test_at_a_rate_the_wait_is_no_run_time() -> None:
    paced = Paced(rate_per_s=100.0, misses=90, service_ns=[9_900_000] * 100, wake_late_ns=[])
    behind = [replicate(i, samples(80e6, 100, i), paced=paced) for i in range(3)]
    made = point(worked(rate_per_s=100.0, replicates=behind))
    assert made.time_ns == 9_900_000
    assert made.gap == pytest.approx(9_900_000 / 700_000)
    assert made.efficiency_low is None
    assert "no interval" in made.unknown["efficiency_low"]
    unsaid = point(worked(rate_per_s=100.0, replicates=[replicate(i) for i in range(3)]))
    assert unsaid.time_ns is None
    assert "no time of a run" in unsaid.unknown["time_ns"]


def test_missing_ceilings_and_counts_are_explained() -> None:
    assert "no count" in point(record()).unknown["flops"]
    assert "calibrate" in point(worked(), calibrations=[]).unknown["roof_per_s"]
    other = calibration(device=DeviceFacts(name="other", facts={}))
    assert point(worked(), calibrations=[other]).roof_per_s is None
    broken = failed({"precision": "fp32"}, "crashed", "it crashed")
    assert "it crashed" in point(broken).unknown["time_ns"]
    made = worked()
    assert made.effective is not None
    gpu = msgspec.structs.replace(
        made, effective=msgspec.structs.replace(made.effective, device="gpu:0")
    )
    assert "gpu:0" in point(gpu).unknown["roof_per_s"]
    assert (
        "not counted: 2x NonMaxSuppression"
        in point(worked(uncounted={"NonMaxSuppression": 2})).notes[0]
    )


def test_a_row_above_the_roof_says_so() -> None:
    made = point(worked(p50=3e5))
    assert made.gap is not None
    assert made.gap < 1
    assert "faster than the waterline" in made.notes[0]


@given(
    st.lists(st.tuples(st.integers(1, 10**10), st.integers(1, 10**9)), min_size=1, max_size=20),
    st.floats(1e9, 1e13),
    st.floats(1e8, 1e12),
)
def test_the_waterline_is_above_the_roof_of_the_whole(
    pairs: list[tuple[int, int]], peak: float, band: float
) -> None:
    """max(sum, sum) <= sum of max: a waterline never promises more than the roofline."""
    layers = [Layer(op="Conv", flops=flops, moved_bytes=moved) for flops, moved in pairs]
    ceilings = [ceiling("gemm_fp32", 1, peak), ceiling("memory_add", 1, band)]
    made = point(worked(layers, count=30), calibrations=[calibration(ceilings=ceilings)])
    assert made.waterline_ns is not None
    assert made.roof_per_s is not None
    assert made.flops is not None
    assert made.waterline_ns >= made.flops * 1e9 / made.roof_per_s * (1 - 1e-9)


# --- the commands


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_roofline_fits_80_columns_and_speaks_json(tmp_path: Path) -> None:
    results, ceilings = tmp_path / "r.jsonl", tmp_path / "c.json"
    busy = StateCheck(name="load", level="warn", evidence="3.9 per CPU")
    write_calibration(ceilings, calibration(state=[busy]))
    made = [
        worked(p50=1e6),
        worked(
            variant={"precision": "int8-static", "threads": 1, "graph_optimization": "extended"}
        ),
        record({"precision": "fp32", "threads": 4}),
    ]
    results.write_bytes(b"".join(map(encode, made)))
    done = run("roofline", results, "--calibration", ceilings, "--layers", 1)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "1.44x" in done.stdout
    assert "1 row left out: the record holds no count" in done.stdout
    assert "load: 3.9 per CPU" in done.stdout
    form = json.loads(
        run("roofline", results, "--calibration", ceilings, "--format", "json").stdout
    )
    assert form["schema"] == "edgebench.roofline/1"
    assert [entry["row"] for entry in form["points"]] == [0, 1, 2]
    assert form["points"][0]["layers"][0]["bound"] == "compute"


def test_a_damaged_or_missing_calibration_is_one_clear_error(tmp_path: Path) -> None:
    results = tmp_path / "r.jsonl"
    results.write_bytes(encode(worked()))
    for content in (None, b"", b"{}", b'{"schema": "edgebench.calibration/9"}'):
        file = tmp_path / "c.json"
        if content is not None:
            file.write_bytes(content)
        done = run("roofline", results, "--calibration", file)
        assert isinstance(done.exception, StoreError)
        assert "c.json" in str(done.exception)


def test_a_calibration_that_none_of_the_rows_could_use_is_refused(tmp_path: Path) -> None:
    results, own, other = (tmp_path / name for name in ("r.jsonl", "own.json", "other.json"))
    results.write_bytes(encode(worked()))
    of_results = worked().device
    write_calibration(own, calibration(device=of_results))
    write_calibration(other, calibration(device=DeviceFacts(name="elsewhere", facts={})))
    assert run("roofline", results, "--calibration", own).exit_code == 0
    error = run("roofline", results, "--calibration", own, "--calibration", other).exception
    assert isinstance(error, UsageError)
    assert f"is of elsewhere, and the results of {of_results.name}" in str(error)
    error = run("roofline", results, "--calibration", own, "--calibration", own).exception
    assert isinstance(error, UsageError)
    assert "a second calibration" in str(error)


def test_ceilings_that_cannot_be_kept_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgebench.roofline.measure_ceilings.calibrate", lambda *_: calibration())
    (tmp_path / "file").touch()
    done = run("calibrate", "-o", tmp_path / "file" / "c.json", "--format", "json")
    assert isinstance(done.exception, StoreError)
    assert msgspec.json.decode(done.stdout, type=Calibration) == calibration()


def test_calibrating_takes_turns_and_keeps_the_best() -> None:
    calls: list[tuple[str, int]] = []

    def measure(what: str, threads: int, seconds: float) -> tuple[float, str]:
        calls.append((what, threads))
        return 1e9 * (1 + len(calls) % 3), "made up"

    checks = [
        StateCheck(name="load", level="warn", evidence="busy"),
        StateCheck(name="fine", level="ok", evidence=""),
    ]
    made = calibrate(DEVICE, checks, 3, 0.1, measure=measure)
    settings = len(made.ceilings)
    assert len(calls) == 3 * settings
    assert calls[:settings] == calls[settings : 2 * settings]
    assert [check.name for check in made.state] == ["load"]
    for each in made.ceilings:
        assert each.per_s == max(each.of_processes_per_s)
        assert each.low_per_s is not None
        assert each.high_per_s is not None
        assert each.low_per_s <= each.per_s <= each.high_per_s


@pytest.mark.parametrize(
    ("installed", "version"), [("onnxruntime_gpu-1.23.2", "1.23.2"), ("numpy-2.0.0", None)]
)
def test_calibrating_names_the_runtime_whoever_ships_it(
    installed: str, version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "onnxruntime" if version else "numpy"
    write_tree(tmp_path, {f"{installed}.dist-info/RECORD": f"{module}/__init__.py,,"})
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    calls: list[str] = []

    def measure(what: str, threads: int, seconds: float) -> tuple[float, str]:
        calls.append(what)
        return 1e9, "made up"

    if version is None:
        with pytest.raises(EdgebenchError, match="ONNX Runtime is not installed"):
            calibrate(DEVICE, [], 2, 0.1, measure=measure)
        assert calls == []  # nothing was measured in vain
    else:
        assert calibrate(DEVICE, [], 2, 0.1, measure=measure).onnxruntime == version


@pytest.mark.parametrize("what", ["gemm_fp32", "gemm_int8", "memory_add"])
def test_a_real_process_measures_something_plausible(what: Any) -> None:
    rate, detail = _in_process(what, 1, 0.05)
    assert 1e7 < rate < 1e14
    assert detail


def test_a_process_that_fails_is_one_clear_error() -> None:
    with pytest.raises(EdgebenchError, match="calibration of memory_add failed"):
        _in_process("memory_add", 0, 0.05)


def test_calibrate_writes_what_roofline_reads(tmp_path: Path) -> None:
    out = tmp_path / "folder" / "c.json"
    write_calibration(out, calibration())
    assert read_calibration(out) == calibration()
    assert isinstance(run("calibrate", "--slice", "1ms", "-o", out).exception, UsageError)


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> NoReturn:
        raise AssertionError("minutes were spent")

    monkeypatch.setattr("edgebench.roofline.measure_ceilings.calibrate", measured)
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
        for place in ("pipe", "socket"):
            error = run("calibrate", "-o", place).exception
            assert isinstance(error, StoreError)
            assert error.message.startswith(f"{place}: cannot be written: it is a ")


def test_roofline_needs_no_runtime() -> None:
    code = (
        "import sys, edgebench.roofline.roofline_points, edgebench.roofline.roofline_text, edgebench.cli.roofline\n"
        "print([m for m in ('onnx', 'onnxruntime', 'psutil') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
