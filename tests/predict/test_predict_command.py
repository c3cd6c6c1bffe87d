"""`edgebench predict` and `pick --include-predicted`: what is printed, and one clear line for bad input."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgebench.errors import EdgebenchError
from edgebench.record import Layer, ModelFacts, Record, Work, encode
from tests import records as make
from tests.analysis.test_commands import code, run
from tests.predict.synthetic_devices import devices

NAMES = ["pi", "orin", "nuc", "phone"]
CELLS = 16
NEW_RAN = 6


def cell(device: str, number: int, p50: float, quality: float = 0.9) -> Record:
    flops = 10**8 * (1 + number)
    work = Work(
        flops=flops, moved_bytes=10**6, layers=[Layer(op="Conv", flops=flops, moved_bytes=10**6)]
    )
    model = ModelFacts(
        name="m", sha256="a" * 64, size_bytes=10**6, source="s", source_sha256="b" * 64,
        precision="fp32", work=work,
    )  # fmt: skip
    return make.record(
        {"precision": "fp32", "threads": 1 + number}, device=device, run=f"run-{device}", p50=p50,
        count=40, model=model, quality=make.quality(quality),
    )  # fmt: skip


@pytest.fixture
def shelf(tmp_path: Path) -> tuple[Path, Path]:
    """A file of known devices and one of a new device that ran its slowest cells."""
    values, _ = devices(len(NAMES) + 1, CELLS, seed=3)
    known = [
        cell(name, number, math.exp(values[at, number]) * 1e6)
        for at, name in enumerate(NAMES)
        for number in range(CELLS)
    ]
    slow = sorted(range(CELLS), key=lambda number: -values[-1, number])[:NEW_RAN]
    fresh = [cell("new", number, math.exp(values[-1, number]) * 1e6) for number in slow]
    files = tmp_path / "known.jsonl", tmp_path / "new.jsonl"
    for file, records in zip(files, (known, fresh), strict=True):
        file.write_bytes(b"".join(map(encode, records)))
    return files


def test_predicted_cells_are_called_modelled_and_have_intervals(shelf: tuple[Path, Path]) -> None:
    known, new = shelf
    result = run("predict", known, "--device", new, "--format", "json")
    assert code(result) == 0
    found = json.loads(result.output)
    assert len(found["predicted"]) == CELLS - NEW_RAN
    assert {each["status"] for each in found["predicted"]} == {"modelled"}
    assert all(each["low_ns"] < each["time_ns"] < each["high_ns"] for each in found["predicted"])
    assert len(found["anchors"]) == NEW_RAN


def test_terminal_marks_every_modelled_number(shelf: tuple[Path, Path]) -> None:
    known, new = shelf
    result = run("predict", known, "--device", new)
    assert code(result) == 0
    lines = [line for line in result.output.splitlines() if line.startswith("~ ")]
    assert "modelled, not measured" in result.output
    assert len(lines) == CELLS - NEW_RAN
    assert all(" ~" in line[2:] for line in lines)


def test_two_known_devices_give_values_and_say_why_there_is_no_interval(
    tmp_path: Path, shelf: tuple[Path, Path]
) -> None:
    known, new = shelf
    few = tmp_path / "few.jsonl"
    lines = known.read_bytes().splitlines(keepends=True)
    few.write_bytes(b"".join(lines[: 2 * CELLS]))
    found = json.loads(run("predict", few, "--device", new, "--format", "json").output)
    assert found["predicted"][0]["low_ns"] is None
    assert "known devices" in found["predicted"][0]["unknown"]["low_ns"]


def test_suggestions_for_a_device_that_ran_nothing(shelf: tuple[Path, Path]) -> None:
    result = run("predict", shelf[0], "--suggest", "--anchors", "4", "--format", "json")
    found = json.loads(result.output)
    assert len({each["id"] for each in found["suggested"]}) == 4
    assert found["predicted"] == []


def test_pick_is_the_same_with_predictions_below_it(shelf: tuple[Path, Path]) -> None:
    plain = run("pick", *shelf)
    more = run("pick", *shelf, "--include-predicted")
    assert code(plain) == code(more) == 0
    assert more.output.startswith(plain.output)
    assert "not measured, and perhaps faster" in more.output


def test_notes_of_a_pick_are_about_predictions_that_are_there(shelf: tuple[Path, Path]) -> None:
    """Of devices that ran all cells nothing is predicted, and yet "no intervals" was told of them."""
    known, new = shelf
    found = json.loads(run("pick", known, new, "--include-predicted", "--format", "json").output)
    assert not any(note.startswith("no intervals") for note in found["predicted"]["notes"])


def test_cell_that_is_not_good_enough_elsewhere_is_not_worth_measuring(
    tmp_path: Path, shelf: tuple[Path, Path]
) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"".join(encode(cell(name, 40, 1e3, quality=0.1)) for name in NAMES))
    found = json.loads(run("pick", *shelf, bad, "--include-predicted", "--format", "json").output)
    assert not any("threads=41" in each["id"] for each in found["predicted"]["cells"])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, EdgebenchError)
    assert "\n" not in result.exception.message
    return result.exception.message


def test_no_common_cells_is_one_clear_line(tmp_path: Path, shelf: tuple[Path, Path]) -> None:
    other = tmp_path / "other.jsonl"
    other.write_bytes(encode(make.record(workload="another", device="lonely")))
    message = refused("predict", shelf[0], "--device", other)
    assert message.startswith("lonely has no cells in common with pi")


def test_unknown_device_and_missing_device_are_said(shelf: tuple[Path, Path]) -> None:
    assert "'moon'" in refused("predict", shelf[0], "--device", "moon")
    assert refused("predict", shelf[0]) == "which device?"
    assert "holds 4 devices" in refused("predict", shelf[1], "--device", shelf[0])


def test_results_of_one_device_alone_predict_nothing(shelf: tuple[Path, Path]) -> None:
    assert "all results are of new" in refused("predict", shelf[1], "--device", shelf[1])
