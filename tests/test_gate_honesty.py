"""Arms whose times are no measure of their work: they return early, answer from a cache, or compute elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from edgebench.analysis.gate import Rules
from edgebench.analysis.gate_cell import mismatch, rows
from edgebench.backend import Effective, computes_itself
from edgebench.record import Completion, Unseen
from tests.pairs import case, measured, pair

EARLY = Completion(first_read_ns=[10**6] * 8, second_read_ns=[10] * 8, deferred=True)
CACHED = Unseen(pool_ns=[10] * 6, unseen_ns=[10**6] * 6, caching=True)


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
