"""Arms whose times are no measure of their work: they return early, answer from a cache, or compute elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgebench.ab_test import pair_runner as pairs_of
from edgebench.ab_test.ab_report_types import CPU, WALL
from edgebench.ab_test.ab_runner import ABCell
from edgebench.ab_test.cell_verdict import clocks, mismatch, rows
from edgebench.ab_test.pair_record import SIDES
from edgebench.ab_test.pair_runner import ArmSpec, Interpreter
from edgebench.ab_test.run_ab import unlike_asked
from edgebench.ab_test.verdict import Rules
from edgebench.backend import Effective, computes_itself
from edgebench.measure import cpu_pinning
from edgebench.record import Completion, Unseen
from tests.ab_test.pairs import case, measured, pair
from tests.ab_test.test_ab_runner import JOB
from tests.ab_test.test_pair_runner import CORES, Told, arms_of, measure

EARLY = Completion(first_read_ns=[10**6] * 8, second_read_ns=[10] * 8, deferred=True)
CACHED = Unseen(pool_ns=[10] * 6, unseen_ns=[10**6] * 6, caching=True)


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of a gate that runs on this machine meanwhile are not waited for."""
    monkeypatch.setattr(cpu_pinning, "lock_folder", lambda: tmp_path / "locks")


def on(device: str) -> Effective:
    return Effective(device=device, precision="fp32")


@pytest.mark.parametrize(
    ("showed", "code", "words"),
    [
        ({"completion": EARLY}, "outputs_deferred", "head returned before its work was done"),
        ({"unseen": CACHED}, "caching", "head caches results"),
        ({"effective": on("gpu.0")}, "device_untold", "head computed on gpu.0"),
    ],
)
def test_an_arm_that_shows_a_fault_makes_its_cell_invalid(
    showed: dict[str, Any], code: str, words: str
) -> None:
    found = [pair(0, head=measured(seed=1, **showed)), *(pair(n) for n in range(1, 5))]
    reason = mismatch(case(), found)
    assert reason is not None
    assert reason.code == code
    judged = rows(case(), found, Rules(tests=2))
    assert {row.verdict for row in judged} == {"invalid"}
    assert words in judged[0].reason


def test_a_device_that_was_told_beforehand_is_no_fault() -> None:
    told = pair(0, head=measured(seed=1, effective=on("gpu.0")), device=True)
    own = pair(0, head=measured(seed=1, effective=on("cpu")))
    assert mismatch(case(), [told]) is None
    assert mismatch(case(), [own]) is None


def test_the_process_computes_itself_where_no_part_is_a_device() -> None:
    assert computes_itself("cpu")
    assert computes_itself("none")  # the null backend
    for device in ("cuda:0", "gpu.0", "cpu+gpu", "npu", "unknown"):
        assert not computes_itself(device)


# With real processes


def test_in_a_first_pair_either_arm_is_looked_at_while_the_other_sleeps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Told.log = []
    monkeypatch.setattr(pairs_of, "_Arm", Told)
    measure(arms_of(tmp_path), rounds=1, quality=True)
    b, h = "base", "head"
    assert Told.log[-12:] == [
        (b, "end"), (h, "end"), (b, "check"), (b, "Checked"), (h, "check"), (h, "Checked"),
        (b, "end"), (h, "end"), (b, "Measured"), (h, "Measured"), (b, "gone"), (h, "gone"),
    ]  # fmt: skip


def test_the_first_pair_of_a_cell_looks_for_deferred_and_cached_answers(tmp_path: Path) -> None:
    first = measure(arms_of(tmp_path, "ort"), quality=True)
    later = measure(arms_of(tmp_path, "ort"), quality=False)
    for side in SIDES:
        completion, unseen = first.arm(side).completion, first.arm(side).unseen
        assert completion is not None
        assert unseen is not None
        assert len(unseen.pool_ns) == len(unseen.unseen_ns) >= 6
        assert later.arm(side).unseen is None


@pytest.mark.parametrize("named", ["cuda:0", "cpu"])
def test_what_a_session_says_of_its_device_decides_what_is_judged(
    tmp_path: Path, named: str
) -> None:
    (tmp_path / "there.py").write_text(
        "from edgebench.testing.faults import FaultyBackend, FaultySession\n"
        "class Session(FaultySession):\n"
        f"    def device(self):\n        return {named!r}\n"
        "class There(FaultyBackend):\n    session = Session\n"
    )
    found = measure(arms_of(tmp_path, head=f"{tmp_path / 'there.py'}:There"))
    assert found.device == (named != "cpu")
    assert {clock.metric for clock in clocks(case(), [found])} == (
        {CPU, WALL} if named == "cpu" and CORES else {WALL}
    )


# What is shown, and no fault


def test_what_ran_otherwise_than_asked_is_noted() -> None:
    def notes(found: str | None, not_deployable: str = "", precision: str = "fp32") -> list[str]:
        job = msgspec.structs.replace(JOB, precision=precision)
        facts = Effective(device="cpu", precision=found, not_deployable=not_deployable)
        ran = ABCell(case("demo"), dict.fromkeys(SIDES, ArmSpec(job, Interpreter())))
        ran.pairs = [pair(0, head=measured(effective=facts))]
        return list(unlike_asked([ran]))

    assert notes("fp16") == ["demo: head was to run in fp32 and ran in fp16"]
    assert notes("fp32", precision="int8-static") == [
        "demo: head was to run in int8 and ran in fp32"
    ]
    for found, asked in (
        ("fp32", "fp32"),
        (None, "fp32"),
        ("mixed", "int8-static"),
        ("x", "as-is"),
    ):
        assert notes(found, precision=asked) == []
    assert notes("fp32", "it checks answers") == ["demo: head is not deployable: it checks answers"]
