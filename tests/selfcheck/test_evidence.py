"""The matrix: what holds each claim, over several machines, and the files that it is made of."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from edgebench import registry
from edgebench.backend import Ready
from edgebench.errors import StoreError
from edgebench.selfcheck import ask_machine
from edgebench.selfcheck.ask_machine import (
    Findings,
    ask_clocks,
    ask_energy,
    machine_words,
    state_answers,
)
from edgebench.selfcheck.check_file import (
    Answer,
    CheckFile,
    kept_facts,
    read_check_file,
    read_folder,
)
from edgebench.selfcheck.claims import BY_KEY, CLAIMS
from edgebench.selfcheck.evidence import matrix
from edgebench.selfcheck.pack import check_text
from edgebench.testing.trees import write_tree
from tests.readme import ROOT

RAPL = "energy.rapl"


def checked(machine: str, status: Any, date: str = "2026-11-30", device: Any = "real") -> CheckFile:
    answer = Answer(claim=RAPL, status=status, detail="told", version="1.2")
    return CheckFile(
        machine=machine, device=device, date=date, edgebench="0.1.0", answers=(answer,)
    )


def held(*files: CheckFile) -> str:
    (found,) = (each for each in matrix(files) if each.claim.key == RAPL)
    return found.held_by


def test_without_a_file_the_catalogue_says_what_holds_a_claim() -> None:
    assert held() == "fake"
    assert {each.claim.key for each in matrix([])} == set(BY_KEY)
    assert len(BY_KEY) == len(CLAIMS)


def test_a_device_goes_before_an_emulation_of_one_and_a_failure_before_both() -> None:
    emulated = checked("made up", "ok", device="emulated")
    real, broken = checked("pc", "ok"), checked("board", "failed")
    assert held(emulated) == "real driver or library"
    assert held(emulated, real) == "ran on the device"
    assert held(emulated, real, broken) == "failed on the device"


def test_what_is_not_here_holds_nothing() -> None:
    assert held(checked("pc", "not here")) == "fake"


def test_a_newer_check_of_a_machine_takes_the_place_of_an_older_one() -> None:
    old, new = checked("pc", "failed", "2026-11-01"), checked("pc", "ok", "2026-11-30")
    assert held(new, old) == "ran on the device"
    (found,) = (each for each in matrix([old, new]) if each.claim.key == RAPL)
    assert (found.machine, found.date, found.version) == (
        "pc",
        "2026-11-30",
        "1.2, edgebench 0.1.0",
    )


def test_every_backend_has_a_claim() -> None:
    names = {f"backend.{backend.name}" for backend in registry.every()} - {"backend.null"}
    assert names <= set(BY_KEY)


def test_the_kept_files_are_of_claims_that_there_are() -> None:
    for file in read_folder(ROOT / "results/hardware"):
        assert {answer.claim for answer in file.answers} <= set(BY_KEY)


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"machine": 3}')
    with pytest.raises(StoreError, match=r"x\.json: no selfcheck: "):
        read_check_file(tmp_path / "x.json")
    with pytest.raises(StoreError, match="no such folder"):
        read_folder(tmp_path / "nowhere")


# What leaves the machine


def test_facts_that_name_somebody_are_not_kept() -> None:
    assert kept_facts({"cpu_model": "X", "hostname": "h", "affinity": "0-1"}) == {"cpu_model": "X"}
    text = check_text(checked("pc", "ok"), [("told", "-")])
    assert json.loads(text)["answers"][0]["detail"] == "-"


# Single answers


def test_a_row_that_the_machine_does_not_tell_is_not_here() -> None:
    rows = [
        {"name": "temperature", "level": "warn", "evidence": "hot"},
        {"name": "thermal_throttle", "level": "unknown", "evidence": "no counters"},
    ]
    found = {answer.claim: answer.status for answer in state_answers(rows)}
    assert found["state.temperature"] == "ok"
    assert found["state.thermal_throttle"] == found["state.pi_throttled"] == "not here"


@pytest.mark.parametrize(
    ("after", "status"), [("2400000", "ok"), ("900000", "failed"), ("1000000", "ok")]
)
def test_a_clock_that_falls_under_load_is_found(tmp_path: Path, after: str, status: str) -> None:
    name = "sys/devices/system/cpu/cpufreq/policy0/scaling_cur_freq"
    root, findings = write_tree(tmp_path, {name: "1000000"}), Findings(lambda text: None)

    def load(seconds: float) -> None:
        (root / name).write_text(after)

    ask_clocks(findings, load, root)
    assert [answer.status for answer in findings.answers] == [status]


def test_without_clocks_or_a_meter_nothing_is_claimed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebench.energy.source import NoEnergy

    findings = Findings(lambda text: None)
    ask_clocks(findings, root=tmp_path)
    monkeypatch.setattr(
        "edgebench.selfcheck.ask_machine.find_here", lambda *_: NoEnergy("no_sensor", "none")
    )
    ask_energy(findings)
    assert {answer.status for answer in findings.answers} == {"not here"}
    assert len(findings.answers) == 4


def test_a_runtime_whose_converter_is_missing_has_not_failed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    backend = registry.load("ort_genai")
    module = sys.modules[type(backend).__module__]
    monkeypatch.setattr(module.GgufBackend, "availability", lambda _: Ready("0.18"))
    monkeypatch.setattr(module, "_missing", lambda: "its builder needs torch")
    state = backend.availability()
    assert isinstance(state, Ready)
    findings = Findings(lambda text: None)
    ask_machine._ask_backend(findings, backend, state, pytest=True)
    (found,) = findings.answers
    assert (found.status, found.detail) == ("not here", "its builder needs torch")


@pytest.mark.parametrize(
    ("platform", "kind", "claim"),
    [
        ("linux", "cpu", "backend.mlx"),
        ("linux", "gpu", "backend.mlx.cuda"),
        ("darwin", "gpu", "backend.mlx.metal"),
        ("darwin", "cpu", "backend.mlx"),  # a virtual Mac without Metal
    ],
)
def test_mlx_is_asked_for_its_device(
    monkeypatch: pytest.MonkeyPatch, platform: str, kind: str, claim: str
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(ask_machine, "_mlx_device", lambda: kind)
    monkeypatch.setattr(ask_machine, "_kit", lambda _, claim, *__: Answer(claim=claim, status="ok"))
    findings = Findings(lambda text: None)
    ask_machine._ask_backend(findings, registry.load("mlx"), Ready("0.32"), pytest=True)
    assert [each.claim for each in findings.answers if each.status == "ok"] == [claim]


def test_a_machine_has_a_name_without_its_hosts() -> None:
    assert machine_words({"board": "Jetson Orin Nano"}) == "Jetson Orin Nano"
    assert (
        machine_words({"cpu_model": "AMD EPYC", "virtualised": True}) == "AMD EPYC, virtual machine"
    )
