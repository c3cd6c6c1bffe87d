"""What boards answered, as answers to claims."""

from __future__ import annotations

from edgebench.selfcheck.claims import BY_KEY
from tests.kernel.guest import jetson_checks, load_checks, pc_checks, pi_checks, thor_checks  # noqa: F401 - they register
from tests.kernel.guest.registry import CHECKS
from tests.kernel.hardware_file import CLAIMS, answers

GOOD = {board: {check.__name__: "" for check in checks} for board, checks in CHECKS.items()}


def test_every_claim_is_asked_by_some_check_of_each_of_its_boards() -> None:
    assert set(CLAIMS) <= set(BY_KEY)
    assert {answer.claim: answer.status for answer in answers(GOOD, "Linux 6.1")} == dict.fromkeys(
        CLAIMS, "ok"
    )


def test_one_wrong_check_fails_its_claim_by_name() -> None:
    wrong = {**GOOD, "pc": {**GOOD["pc"], "rapl_goes_on_across_a_wrap": "AssertionError"}}
    found = {answer.claim: answer for answer in answers(wrong, "Linux 6.1")}
    assert found["energy.rapl"].status == "failed"
    assert "pc: rapl_goes_on_across_a_wrap" in found["energy.rapl"].detail
    assert found["energy.hwmon"].status == "ok"


def test_without_a_board_nothing_is_claimed() -> None:
    assert {answer.status for answer in answers({}, "")} == {"not here"}
