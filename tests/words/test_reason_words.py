"""Sentences are made of what a reason knows, and of nothing else."""

from __future__ import annotations

from string import Formatter

import msgspec
import pytest

from edgebench.record import Reason
from edgebench.words.reason_words import REASONS, reason


@pytest.mark.parametrize("key", REASONS)
def test_every_sentence_is_well_formed(key: str) -> None:
    for sentence in REASONS[key]:
        assert [name for _, name, _, _ in Formatter().parse(sentence) if name == ""] == []


def test_reason_keeps_its_data_beside_its_words() -> None:
    missed = reason("quality_below_floor", metric="accuracy", value=0.71, floor=0.75)
    assert missed == Reason(
        code="quality_below_floor",
        message="accuracy 0.71 is below the floor 0.75",
        data={"metric": "accuracy", "value": 0.71, "floor": 0.75},
    )


def test_units_are_written_as_in_tables() -> None:
    unkept = reason("bound_not_kept", bound_ns=5_000_000, rate_per_s=12.5, p99_ns=6_100_000)
    assert unkept.message == "no rate keeps p99 within 5.00 ms: at 12.5/s it is 6.10 ms"


def test_what_is_not_known_leaves_no_empty_brackets() -> None:
    def message(basis: str) -> str:
        key = "quality_above_ceiling"
        return reason(key, metric="wer", value=0.4, ceiling=0.3, basis=basis).message

    assert message("").endswith("ceiling 0.3")
    assert message("why").endswith("0.3 (why)")


def test_infinite_numbers_survive_json() -> None:
    failed = reason("output_mismatch.arms", error=float("inf"), limit=0.1, option="--parity 1")
    assert msgspec.json.decode(msgspec.json.encode(failed), type=Reason) == failed
    assert failed.data["error"] == "inf"


def test_older_reasons_without_data_read_as_before() -> None:
    older = (
        b'{"code":"timed_out","message":"no sign of life for 9 s: killed","fix":"raise --timeout"}'
    )
    read = msgspec.json.decode(older, type=Reason)
    assert (read.message, read.data) == ("no sign of life for 9 s: killed", {})
