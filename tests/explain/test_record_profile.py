"""Times of operators in records: kept by `run --profile`, within 64 KiB, and explained without a runtime."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import msgspec
import pytest

from edgebench.analysis.table import build_table
from edgebench.explain import profile_runs, record_profile
from edgebench.explain.record_profile import profile_of
from edgebench.explain.stored_rows import explain_rows
from edgebench.measure.runner import Settings
from edgebench.measure.worker_messages import Job
from edgebench.record import OperatorProfile, Reason, encode
from edgebench.render import explain_text
from edgebench.store import iter_records
from tests.explain.profiles import convolutions, measured, operator
from tests.onnx_models import convolution
from tests.records import record

MAX_BYTES = 64 * 1024
SLOW, FAST = 900_000, 100_000


def stored(monkeypatch: pytest.MonkeyPatch, count: int = 2) -> OperatorProfile | Reason:
    """What is kept of a network of so many convolutions, the first of which is slow."""
    times = [operator(f"conv{n}", FAST if n else SLOW) for n in range(count)]
    found = measured(times, convolutions(count))
    monkeypatch.setattr(profile_runs, "profile_in_turns", lambda *given, **more: [found])
    return profile_of(_job(), Settings(), None)


def _job() -> Job:
    return cast(Job, SimpleNamespace(backend="ort", generate=None))


def test_operators_are_kept_with_the_run_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stored(monkeypatch)
    assert isinstance(kept, OperatorProfile)
    assert [(o.name, o.time_ns) for o in kept.operators] == [("conv0", SLOW), ("conv1", FAST)]
    assert kept.run_ns == kept.operators_ns == SLOW + FAST
    assert kept.left_out == 0


def test_a_record_has_room_for_64_kib_of_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stored(monkeypatch, count=2000)
    assert isinstance(kept, OperatorProfile)
    assert len(kept.operators) + kept.left_out == 2000
    assert kept.left_out > 0
    assert kept.operators[0].name == "conv0", "those that take most are kept"
    assert kept.operators_ns == SLOW + 1999 * FAST, "the sum is of all"
    assert len(msgspec.json.encode(kept)) <= MAX_BYTES


def test_why_there_is_none_is_kept_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = profile_runs.Unmeasured(Reason(code="unsupported", message="no profiler"), True)
    monkeypatch.setattr(profile_runs, "profile_in_turns", lambda *given, **more: [refused])
    found = profile_of(_job(), Settings(), None)
    assert isinstance(found, Reason)
    assert (found.code, found.message) == (record_profile.NOT_PROFILED, "no profiler")


def test_a_stored_profile_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = stored(monkeypatch)
    assert isinstance(kept, OperatorProfile)
    records = [msgspec.structs.replace(record(), profile=kept)]
    assert msgspec.json.decode(encode(records[0]), type=type(records[0])).profile == kept
    rows = build_table(records).rows
    found = explain_rows(rows, None, {}, "none", {(rows[0].run, rows[0].id): kept})
    assert [o.name for o in found.subject.operators] == ["conv0", "conv1"]
    assert [(k.kind, k.count, k.time_ns) for k in found.subject.kinds] == [("Conv", 2, SLOW + FAST)]
    out = io.StringIO()
    explain_text.render(found, 10, out)
    assert "no times of operators" not in out.getvalue()
    assert "conv0" in out.getvalue()
    assert max(map(len, out.getvalue().splitlines())) <= 80


def test_run_keeps_what_explain_tells(tmp_path: Path) -> None:
    """The whole way, in real processes."""
    model = tmp_path / "small.onnx"
    model.write_bytes(convolution([1, 3, 8, 8]).SerializeToString())
    asked = ("--profile", "--replicates", "1", "--slice", "0.1s", "--set", "threads=1")
    _edgebench(tmp_path, "run", "--model", str(model), *asked)
    (file,) = (tmp_path / "results").rglob("*.jsonl")
    (only,) = iter_records(file)
    assert only.profile is not None
    assert any("Conv" in each.kind for each in only.profile.operators)
    assert only.run.settings["settings"]["profile"] is True
    told = json.loads(_edgebench(tmp_path, "explain", str(file), "--format", "json"))
    assert told["subject"]["operators"] == msgspec.to_builtins(only.profile.operators)
    assert "no times of operators" not in str(told["notes"])


def _edgebench(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgebench", *words],
        cwd=folder,
        env={**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout
