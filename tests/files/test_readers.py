"""What pairs, ceilings and other tools' files may hold, and how much of it is read."""

from __future__ import annotations

import gzip
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from edgebench.ab_test import run_ab
from edgebench.ab_test.pair_record import encode
from edgebench.ab_test.run_ab import read_pairs
from edgebench.assets import file_sha256
from edgebench.calibration import MAX_NAME_CHARACTERS, default_path, read_calibration
from edgebench.cli import cli
from edgebench.errors import EdgebenchError, StoreError
from edgebench.export.duckdb_tables import add_records, connect
from edgebench.models.file_kind import check_mark
from edgebench.record import encode as encode_record
from edgebench.testing.models import two_by_two
from tests.ab_test.pairs import pair
from tests.fuzz.calibrations import SEEDS as CALIBRATIONS
from tests.records import record


def packed(folder: Path, *lines: bytes) -> Path:
    file = folder / "a.pairs.jsonl.gz"
    file.write_bytes(gzip.compress(b"\n".join(lines)))
    return file


def test_pairs_are_read_back(tmp_path: Path) -> None:
    made = [pair(0), pair(1)]
    assert read_pairs(packed(tmp_path, *map(encode, made))) == made


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (b'"cpu_ns":[', b'"cpu_ns":[-', "head.blocks[0].cpu_ns[0]: -"),
        (b'"cpu_ns":[', b'"cpu_ns":[1,', "head.blocks[0]: its lists must be equally long"),
        (b'"blocks":[', b'"blocks":[],"x":[', "head.blocks: "),
        (b'"samples":', b'"samples":-', "begin.samples: -"),
        (b'"load_1m":', b'"x":' + b"[" * 200_000 + b',"load_1m":', "nested too deep"),
    ],
)
def test_a_pair_that_cannot_be_is_named_with_its_line(
    tmp_path: Path, old: bytes, new: bytes, says: str
) -> None:
    line = encode(pair(0))
    start = line.index(b'"head":{') if b"load" not in old and b'"samples"' not in old else 0
    damaged = line[:start] + line[start:].replace(old, new, 1)
    assert damaged != line
    with pytest.raises(StoreError) as caught:
        read_pairs(packed(tmp_path, line, damaged))
    assert caught.value.message.startswith(f"{tmp_path}/a.pairs.jsonl.gz:2: ")
    assert says in caught.value.message


def test_a_damaged_file_of_pairs_is_one_error(tmp_path: Path) -> None:
    whole = packed(tmp_path, encode(pair(0))).read_bytes()
    middle = len(whole) // 2
    for content in (
        b"", b"garbage", whole[:middle], whole[:middle] + b"\xff" * 40 + whole[middle:],
        whole[:-4] + b"\x00" * 4, whole + b"more",
    ):  # fmt: skip
        file = tmp_path / "damaged.gz"
        file.write_bytes(content)
        if content:
            with pytest.raises(StoreError, match=r"damaged\.gz: not a file of pairs"):
                read_pairs(file)
        else:
            assert read_pairs(file) == []


def test_a_few_bytes_do_not_unpack_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_ab, "MAX_PAIR_BYTES", 100_000)
    with pytest.raises(StoreError, match="line 1 is longer than any pair"):
        read_pairs(packed(tmp_path, b" " * 10_000_000))


def changed(folder: Path, **fields: Any) -> Path:
    """A calibration whose first ceiling has other fields."""
    plain = json.loads(CALIBRATIONS[0])
    plain["ceilings"][0].update(fields)
    file = folder / "desk.json"
    file.write_text(json.dumps(plain))
    return file


@pytest.mark.parametrize(
    ("field", "value"),
    [("per_s", 0), ("per_s", -1.0), ("threads", 0), ("low_per_s", 0), ("per_s", 1e300)],
)
def test_a_ceiling_that_cannot_be_is_named_with_its_field(
    tmp_path: Path, field: str, value: float
) -> None:
    file = changed(tmp_path, **{field: value})
    with pytest.raises(StoreError) as caught:
        read_calibration(file)
    shown = msgspec.json.encode(value).decode()
    assert f"{file}: not a edgebench.calibration/1 file: ceilings[0].{field}: {shown}: " in str(
        caught.value
    )
    results = tmp_path / "results.jsonl"
    results.write_bytes(encode_record(record()))
    done = CliRunner().invoke(cli, ["roofline", str(results), "--calibration", str(file)])
    assert isinstance(done.exception, StoreError)


def test_a_file_that_is_not_a_calibration_is_one_error(tmp_path: Path) -> None:
    file = tmp_path / "deep.json"
    file.write_bytes(
        CALIBRATIONS[0].replace(
            b'"facts":{', b'"facts":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b","
        )
    )
    with pytest.raises(StoreError, match="nested too deep"):
        read_calibration(file)
    with file.open("wb") as out:
        out.truncate(100 << 20)
    with pytest.raises(StoreError, match=r"it has 100\.0 MiB, and at most 16 MiB are read"):
        read_calibration(file)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(StoreError, match="it is a pipe and not a file"):
        read_calibration(file)


@pytest.mark.parametrize("name", ["d" * 300, "ü" * 300, "\udce9", "a/../b", "x" * 4000])
def test_the_file_of_any_device_has_a_name_that_a_disk_takes(tmp_path: Path, name: str) -> None:
    path = default_path(tmp_path, name)
    assert path.parent == tmp_path / "calibration"
    assert not path.is_file()  # a name that is too long would be an error here
    assert path != default_path(tmp_path, f"{name}2")
    assert len(path.name) < 2 * MAX_NAME_CHARACTERS


def test_results_of_a_device_with_a_long_name_are_shown(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_bytes(encode_record(record(device="d" * 300)))
    for command in (["show"], ["roofline"], ["report", "-o", str(tmp_path / "r.md")]):
        assert CliRunner().invoke(cli, [*command, str(results)]).exit_code == 0


def test_a_number_of_another_tool_that_cannot_be_is_refused_before_it_is_written(
    tmp_path: Path,
) -> None:
    row = {
        "build_commit": "1", "build_number": 1, "model_filename": "m.gguf", "model_type": "m",
        "model_size": 10, "model_n_params": 10, "n_batch": 1, "n_threads": 1, "type_k": "f16",
        "type_v": "f16", "backends": "CPU", "cpu_info": "Example CPU", "gpu_info": "",
        "n_prompt": 8, "n_gen": 0, "test_time": "2026-07-01T10:00:00Z",
        "avg_ns": 5, "stddev_ns": 0, "avg_ts": 1e300, "stddev_ts": 0.0,
    }  # fmt: skip
    source, out = tmp_path / "lb.json", tmp_path / "out.jsonl"
    source.write_text(json.dumps([row]))
    done = CliRunner().invoke(cli, ["import", "llama-bench", str(source), "-o", str(out)])
    assert isinstance(done.exception, StoreError)
    assert not out.exists()


def test_a_record_that_duckdb_leaves_out_is_noticed(tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    results = tmp_path / "results.jsonl"
    results.write_bytes(encode_record(record()))
    with pytest.raises(StoreError, match="DuckDB read only 1 of 2 records"):
        add_records(connect(), [results], 2)


@pytest.mark.parametrize("read", [file_sha256, lambda path: check_mark(path, "tflite")])
def test_a_model_that_is_a_pipe_or_a_device_is_not_read_without_end(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    for path, kind in ((Path(os.devnull), "a device"), (pipe, "a pipe")):
        with pytest.raises((OSError, EdgebenchError), match=f"it is {kind} and not a file"):
            read(path)


def special(kind: str) -> None:
    """Puts what is no file in the place of `named.py`, in the working directory."""
    if kind == "a pipe":
        os.mkfifo("named.py")
    elif kind == "a device":
        Path("named.py").symlink_to("/dev/zero")
    elif kind == "a folder":
        Path("named.py").mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind("named.py")


@pytest.mark.parametrize("kind", ["a pipe", "a socket", "a device", "a folder"])
@pytest.mark.parametrize(
    "command",
    [
        "assets import named.py",
        "run --model model.onnx --backend named.py:Mine",
        "run --model model.onnx --task named.py:Mine",
        "run --model model.tflite --reference named.py",
        "roofline results.jsonl --calibration named.py",
    ],
)
def test_what_is_no_file_is_refused_by_every_option_that_names_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, kind: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EDGEBENCH_CACHE", str(tmp_path / "cache"))
    two_by_two().write(tmp_path).path.rename("model.onnx")
    Path("model.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3")
    Path("results.jsonl").write_bytes(encode_record(record()))
    special(kind)
    error = CliRunner().invoke(cli, command.split(), standalone_mode=False).exception
    assert isinstance(error, EdgebenchError | click.UsageError)
    if isinstance(error, EdgebenchError):  # click knows of folders by itself
        assert f"it is {kind} and not a file" in error.message
