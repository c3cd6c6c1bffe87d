"""What makes no sense in a record is an error where the file is read, with line, field and value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.api.result_files import records_of
from edgebench.errors import StoreError
from edgebench.record import Record, encode
from edgebench.record_validation import record_findings
from edgebench.store import JournalEntry, JournalHead, RunStore, read_records
from tests.records import (
    energy,
    generating,
    offline,
    quality,
    record,
    replicate,
    reported,
)
from tests.report_records import decoders, loads, realistic, reasoning

CHECKOUT = Path(__file__).parents[2]


def changed(one: Record, path: str, value: Any) -> bytes:
    """The record's line with another value at a path: `replicates.0.samples_ns.3`."""
    plain = json.loads(encode(one))
    *steps, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
    part = plain
    for step in steps:
        part = part[step]
    part[last] = value
    return json.dumps(plain).encode() + b"\n"


def refused(folder: Path, line: bytes) -> str:
    """What is said of a file whose second line is this one."""
    file = folder / "results.jsonl"
    file.write_bytes(encode(record()) + line)
    with pytest.raises(StoreError) as caught:
        read_records(file)
    assert caught.value.message.startswith(f"{file}:2: ")
    assert caught.value.fix
    return caught.value.message


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("replicates.0.samples_ns.3", -5_000_000),
        ("replicates.0.samples_ns.3", 2**63),
        ("replicates.0.window_ns", -1),
        ("replicates.0.memory.peak_bytes", -1),
        ("replicates.0.memory.peak_bytes", 10**30),
        ("replicates.0.pipeline.end_to_end_ns.0", -1),
        ("replicates.0.warmup.iterations", -1),
        ("replicates.0.wall_s", -0.1),
        ("model.size_bytes", -1),
        ("target", -0.02),
        ("percentile", 0),
        ("percentile", 1.5),
        ("cell.rate_per_s", 0.0),
        ("cell.variant.threads", 2**70),
        ("quality.value", 1e300),
        ("energy.j_per_inference", 1e300),
    ],
)
def test_a_number_that_cannot_be_is_named_with_its_field_and_value(
    tmp_path: Path, path: str, value: Any
) -> None:
    one = record(quality=quality(), energy=energy(0.5))
    message = refused(tmp_path, changed(one, path, value))
    steps = path.replace(".0", "[0]").replace(".3", "[3]")
    if "variant" not in path:  # a type that may be several names no field further down
        assert f"{steps}: {msgspec.json.encode(value).decode()}" in message


PROBLEMS: list[tuple[Record, str, Any]] = [
    (reasoning()[0], "replicates.0.scaling.problems.0.attempts.0.samples", []),
    (reasoning()[0], "replicates.0.scaling.problems.0.attempts", []),
    (reasoning()[0], "replicates.0.scaling.problems", []),
    (reasoning()[0], "replicates.0.scaling.problems.0.attempts.0.token_ns", []),
    (reasoning()[0], "replicates.0.scaling.problems.0.attempts.0.samples.0.since", []),
]


@pytest.mark.parametrize(("one", "path", "value"), PROBLEMS, ids=[p[1][25:] for p in PROBLEMS])
def test_answers_without_samples_are_refused_and_not_looped_over(
    tmp_path: Path, one: Record, path: str, value: Any
) -> None:
    assert "scaling.problems" in refused(tmp_path, changed(one, path, value))


@pytest.mark.parametrize(
    ("one", "path", "value"),
    [
        (record(), "replicates.0.pipeline.inference_ns", [1]),
        (record(), "replicates.0.pipeline.read_ns", [1]),
        (record(), "replicates.0.unseen.prepare_ns", [1]),
        (record(), "replicates.0.queries", 3),
        (record(), "replicates.1.index", 0),
        (record(), "replicates.0.superseded_by", 9),
        (record(), "replicates.0.rerun_of", 0),
        (record(), "cell.variant.batch", 0),
        (record(), "cell.variant.batch", True),
        (record(), "replicates.0.window_start_ns", None),
        (record(scenario="generate", replicates=[generating()]), "replicates.0.generate.requests.0.token_ns", []),
        (record(scenario="generate", replicates=[generating()]), "replicates.0.generate.requests.0.token_ns", [5, 4]),
        (record(scenario="generate", replicates=[generating()]), "replicates.0.generate.requests.0.new_tokens", []),
        (record(scenario="generate", replicates=[generating()]), "replicates.0.generate.requests.0.new_tokens", [0]),
        (record(scenario="offline", replicates=[offline()]), "replicates.0.offline.duration_ns", 0),
        (record(quality=quality()), "quality.value", 0.1),
        (record(energy=energy(0.5)), "energy.status", "unavailable"),
        (reported("throughput", 5.0), "imported.reported.throughput", -5.0),
        (reported("throughput", 5.0), "imported.reported", {"no such metric": 5.0}),
        (reported("throughput", 5.0), "imported.reported", {"generate.ttft": 5.0}),
    ],
)  # fmt: skip
def test_parts_that_contradict_each_other_are_refused(
    tmp_path: Path, one: Record, path: str, value: Any
) -> None:
    if value is None:  # a window that ends before it starts
        one = record(replicates=[replicate(0, window_start_ns=10, window_end_ns=20)])
        value = 30
    assert refused(tmp_path, changed(one, path, value))


def test_records_as_they_are_made_make_sense() -> None:
    made = [*realistic(), *loads(), *decoders(), *reasoning(), reported("throughput", 5.0)]
    assert [finding for one in made for finding in record_findings(one)] == []


def test_results_of_earlier_versions_read_as_before() -> None:
    files = sorted((CHECKOUT / "results").rglob("*.jsonl"))
    assert files
    assert len(list(records_of(files))) == sum(len(file.read_text().splitlines()) for file in files)


def test_journals_are_validated_like_records(tmp_path: Path) -> None:
    head = JournalHead(
        run_id="r", started_utc="", options={}, device="d", versions={}, plan_sha256=""
    )
    store = RunStore.create(tmp_path / "run.jsonl", head)
    store.add_replicate(JournalEntry(cell="a", replicate=replicate(0)))
    store.close()
    text = store.journal.read_text()
    store.journal.write_text(text.replace('"window_ns":', '"window_ns":-'))
    with pytest.raises(StoreError, match=r"run\.journal:2: damaged: replicate\.window_ns: -"):
        RunStore.resume(store.journal)
    store.journal.write_text('{"options":{"a":' + "[" * 200_000)
    with pytest.raises(StoreError, match=r"run\.journal:1: .*nested too deep"):
        RunStore.resume(store.journal)


def test_a_record_nested_too_deep_is_an_error_of_its_line(tmp_path: Path) -> None:
    deep = encode(record()).replace(
        b'"settings":{', b'"settings":{"a":' + b"[" * 200_000 + b"]" * 200_000 + b","
    )
    assert "nested too deep" in refused(tmp_path, deep)


@pytest.mark.parametrize("digits", [b"9" * 5000, b"-" + b"9" * 5000, b"1e999"])
def test_a_number_beyond_all_ranges_is_an_error_of_its_line(tmp_path: Path, digits: bytes) -> None:
    line = encode(record()).replace(b'"memory_bytes":', b'"memory_bytes":' + digits + b',"x":')
    assert "out of range" in refused(tmp_path, line)


@pytest.mark.parametrize("field", ["run.settings.a", "device.facts.a", "imported.row.a"])
@pytest.mark.parametrize("depth", [20, 100, 200])
def test_parts_of_free_form_are_not_nested_without_end(
    tmp_path: Path, field: str, depth: int
) -> None:
    """Each level would be a call of what walks through it."""
    value: Any = 1
    for _ in range(depth):
        value = {"b": [value]}
    assert "nested" in refused(tmp_path, changed(reported("throughput", 5.0), field, value))


@pytest.mark.parametrize("field", ["run.settings.seed", "device.facts.memory_bytes"])
def test_numbers_of_free_form_fit_64_bits(tmp_path: Path, field: str) -> None:
    assert "beyond 64 bits" in refused(tmp_path, changed(record(), field, 10**400))
