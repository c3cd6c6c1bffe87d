"""`edgebench run` with a meter: a simulated machine that is alive, read by the real source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgebench.energy import NoEnergy, find_source, marker_pulses
from edgebench.energy.modelled_energy import Estimate
from edgebench.errors import UsageError
from edgebench.processes.child import Failed
from edgebench.record import Reason, Record, Replicate
from edgebench.store import read_records
from edgebench.testing.models import two_by_two
from edgebench.testing.power.live import running, true_joules
from edgebench.testing.power.meters import OrinNx
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import INTEL

ORIN_NX_CHIP = str(Path(OrinNx.files[0]).parent)


def run(folder: Path, *arguments: str) -> tuple[dict[str, Any], Record, str]:
    """Table, the only record and stderr of one replicate on a tiny model."""
    model = two_by_two().write(folder).path
    command = [sys.executable, "-m", "edgebench", "run", "--model", str(model)]
    command += ["--replicates", "1", "--slice", "0.1s", "--format", "json", *arguments]
    environment = {**os.environ, "EDGEBENCH_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 1), done.stderr
    [file] = (folder / "results").rglob("*.jsonl")
    [record] = read_records(file)
    return json.loads(done.stdout), record, done.stderr


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Path]:
    """The root of a machine whose power swings between 7 and 13 W."""
    with running(tmp_path / "machine") as root:
        yield root


def test_the_energy_of_exactly_the_window(machine: Path, tmp_path: Path) -> None:
    # A meter of 20 ms needs two seconds: what a busy machine takes from its readers is little of that.
    write_tree(machine, {f"{ORIN_NX_CHIP}/update_interval": "20"})
    # A busy machine may spoil an attempt, which then says so; what is measured is right at any load.
    spoiled = []
    for attempt in ("1", "2", "3", "4", "5"):
        (tmp_path / attempt).mkdir()
        table, record, _ = run(tmp_path / attempt, "--energy-root", str(machine))
        [replicate] = record.replicates
        energy = replicate.energy
        assert energy is not None
        if energy.status == "ok":
            break
        assert energy.reason == "read_failed", energy.detail
        spoiled.append(energy.detail)
    assert energy is not None
    assert energy.status == "ok", spoiled
    holds_the_truth(machine, replicate)
    # The machine draws as much when idle: little is left beyond it, or nothing, and that is said.
    if energy.idle_before_w is not None:
        assert energy.idle_before_w == pytest.approx(10, abs=2)
    assert (energy.net_j_per_inference is None) == bool(energy.net_reason)
    assert (energy.net_j_per_inference or 0) < 0.2 * (energy.j_per_inference or 0)
    [row] = table["rows"]
    assert row["energy"]["j_per_inference"] == energy.j_per_inference
    assert row["energy"]["trace"] is None
    assert "measured_rail of module input (ina3221: VDD_IN)" in " ".join(table["notes"])


def holds_the_truth(machine: Path, replicate: Replicate) -> None:
    """What was measured, under whatever load, is of the window and is right within its uncertainty."""
    energy = replicate.energy
    assert energy is not None
    assert (energy.kind, energy.total_rail) == ("measured_rail", "VDD_IN")
    start_ns, end_ns = replicate.window_start_ns, replicate.window_end_ns
    assert start_ns is not None
    assert end_ns is not None
    assert energy.energy_j is not None
    assert energy.inferences == replicate.queries
    assert energy.uncertainty_j is not None
    assert energy.inferences is not None
    half_width_j = energy.uncertainty_j * energy.inferences
    truth_j = true_joules(machine, start_ns, end_ns)
    assert abs(energy.energy_j - truth_j) <= half_width_j < 0.25 * truth_j
    # The window was made long enough for the meter: 100 updates, however fast the model is.
    assert energy.updates is not None
    assert energy.updates >= 90  # less what may be missing
    assert (replicate.window_ns or 0) >= 2e9
    assert len(replicate.samples_ns) <= 8192
    # Raw readings are kept: the energy can be derived again.
    assert energy.trace is not None
    assert len(energy.trace.values) == len(energy.trace.read_ns) > 90


def test_a_counter_that_stands_still_is_not_believed(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "machine", INTEL)
    table, record, _ = run(tmp_path, "--energy-root", str(root))
    assert record.energy.status == "unavailable"
    assert record.energy.reason == "counter_dead"
    assert "energy.j_per_inference" not in table["fronts"][0]["objectives"]


def around_its_window(replicate: Replicate) -> None:
    """Five bursts of load before the window, and as many after it."""
    start_ns = replicate.window_start_unix_ns
    assert start_ns is not None
    end_ns = start_ns + (replicate.window_ns or 0)
    before = [marker for marker in replicate.markers if marker.end_unix_ns < start_ns]
    after = [marker for marker in replicate.markers if marker.start_unix_ns > end_ns]
    assert (len(before), len(after), len(replicate.markers)) == (5, 5, 10)
    assert all(m.end_unix_ns >= m.start_unix_ns for m in replicate.markers)


def test_bursts_last_as_long_as_their_pattern_says(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0

    def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds

    def monotonic() -> float:
        nonlocal now_s
        now_s += 0.001  # what a look takes
        return now_s

    clock = SimpleNamespace(sleep=sleep, monotonic=monotonic, time_ns=lambda: round(now_s * 1e9))
    monkeypatch.setattr(marker_pulses, "time", clock)
    bursts = marker_pulses._spin(100.05)
    lengths_s = [(end - start) / 1e9 for start, end in bursts]
    assert lengths_s == pytest.approx([load_s for _, load_s in marker_pulses.PATTERN], abs=0.003)
    quiet_s = [(b[0] - a[1]) / 1e9 for a, b in pairwise(bursts)]
    assert quiet_s == pytest.approx([quiet for quiet, _ in marker_pulses.PATTERN[1:]], abs=0.003)


@pytest.mark.parametrize("code", ["timed_out", "exited", "not_started"])
def test_a_measurement_outlives_bursts_that_fail(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    failed = Failed(Reason(code=code, message=""))
    monkeypatch.setattr(marker_pulses, "ask", lambda *_: failed)
    assert marker_pulses.emit_markers() == []


@pytest.mark.parametrize("said", [b"a library says hello", b"5", b"[5]", b"[[1]]", b""])
def test_bursts_that_nobody_can_read_are_none(monkeypatch: pytest.MonkeyPatch, said: bytes) -> None:
    monkeypatch.setattr(marker_pulses, "ask", lambda *_: said)
    assert marker_pulses.emit_markers() == []


def test_without_a_meter_nothing_is_ranked_and_an_estimate_is_labelled(tmp_path: Path) -> None:
    if not isinstance(find_source(), NoEnergy):
        pytest.skip("this machine has an energy meter")
    table, record, _ = run(tmp_path, "--estimate", "cpu-time:5", "--energy-markers")
    assert record.energy.status == "unavailable"
    assert record.energy.reason in ("virtualised", "no_sensor", "permission_denied")
    assert "energy.j_per_inference" not in table["fronts"][0]["objectives"]
    assert record.energy.j_per_inference is None
    [replicate] = record.replicates
    around_its_window(replicate)
    modelled = record.energy.modelled
    assert modelled is not None
    assert (modelled.model, modelled.w_per_core) == ("cpu-time", 5.0)
    # What the kernel charged to the window, however many cores or however exact that is.
    assert replicate.cpu_ns is not None
    assert replicate.window_ns is not None
    assert replicate.cpu_ns > 0
    joules = 5 * replicate.cpu_ns / 1e9
    assert modelled.average_w == pytest.approx(joules / (replicate.window_ns / 1e9))
    assert modelled.j_per_inference == pytest.approx(joules / (replicate.queries or 0))
    assert any(note.startswith("modelled, not measured, not ranked") for note in table["notes"])
    [left_out] = [o for o in table["fronts"][0]["left_out"] if o["objective"].startswith("energy")]
    assert left_out["reason"] == record.energy.reason


@pytest.mark.parametrize("text", ["cpu-time", "cpu-time:0", "cpu-time:x", "tdp:15", "cpu-time:inf"])
def test_an_estimate_needs_the_users_watts(text: str) -> None:
    with pytest.raises(UsageError, match="cpu-time:W"):
        Estimate.parse(text)
