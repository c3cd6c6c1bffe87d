"""Limits that devices.yaml sets for a device, as the table judges them."""

from __future__ import annotations

import io

import msgspec
import pytest

from edgebench.analysis.per_row.device_limits import limit_words
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.record import Declared, Reason, Record
from edgebench.render import table_terminal
from tests.records import generating, offline, record, replicate


def limited(made: Record, **limits: float) -> Record:
    names = {name.replace("__", "."): value for name, value in limits.items()}
    declared = Declared(entry="lab", title="A board", limits=names)
    return msgspec.structs.replace(
        made, device=msgspec.structs.replace(made.device, declared=declared)
    )


def row(made: Record) -> Row:
    return build_table([made]).rows[0]


@pytest.mark.parametrize(
    ("limits", "codes"),
    [
        ({"latency__p50": 8e6}, []),
        ({"latency__p50": 6e6}, ["limit_missed"]),
        ({"memory__peak": 2**30}, []),
        ({"memory__peak": 2**20, "latency__p90": 1e6}, ["limit_missed", "limit_missed"]),
        ({"throughput": 10}, []),
        ({"throughput": 1000}, ["limit_missed"]),
        ({"energy__j_per_inference": 1}, ["limit_unknown"]),
        ({"temperature": 85, "paced__misses": 1}, []),  # not of this scenario
        ({"generate__ttft": 1, "generate__decode": 1e9}, []),
    ],
)
def test_a_row_that_misses_a_device_limit_is_not_ranked(
    limits: dict[str, float], codes: list[str]
) -> None:
    judged = row(limited(record(), **limits))
    assert judged.status == "ok"
    assert [reason.code for reason in judged.reasons] == codes[:1] * len(codes)
    assert judged.ranked is not bool(codes)


def test_a_limit_on_latency_is_none_of_offline() -> None:
    made = record({}, scenario="offline", replicates=[offline(0), offline(1)])
    assert row(limited(made, latency__p50=1)).ranked


def test_a_limit_on_text_generation_is_held_by_what_generates() -> None:
    made = record(scenario="generate", replicates=[generating(0), generating(1)])
    assert row(limited(made, generate__ttft=1e12)).ranked
    assert not row(limited(made, generate__ttft=1)).ranked


def test_too_few_samples_for_a_percentile_keep_no_limit_on_it() -> None:
    made = record({}, replicates=[replicate(0), replicate(1)])  # p99 wants 662
    (reason,) = row(limited(made, latency__p99=1e9)).reasons
    assert reason == Reason(
        code="limit_unknown",
        message="latency.p99 is unknown, and the device's limit is latency.p99 <= 1.00 s",
        data={"metric": "latency.p99", "limit": "latency.p99 <= 1.00 s"},
    )


def test_the_table_shows_the_limits() -> None:
    table = build_table([limited(record(), latency__p50=6e6, memory__peak=2**29)])
    assert table.notes[0] == (
        "desk: limits of its entry lab: latency.p50 <= 6.00 ms, memory.peak <= 512 MiB"
    )
    assert table.device is not None
    assert table.device.declared is not None
    out = io.StringIO()
    table_terminal.render(table, out)
    assert "desk · A board · Example CPU" in out.getvalue()
    assert "misses the device's limit latency.p50 <= 6.00 ms [limit_missed]" in " ".join(
        out.getvalue().split()
    )


def test_words_of_limits() -> None:
    assert limit_words("throughput", 30) == "throughput >= 30/s"
    assert limit_words("temperature", 85) == "temperature <= 85 C"
    assert limit_words("energy.j_per_inference", 0.2) == "energy.j_per_inference <= 0.2 J"
    assert limit_words("of a later version", 1) == "of a later version 1"
