"""Speed against memory in the report: the curve of budgets, those that do not fit, and its picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edgebench.backend import Scalar
from edgebench.record import Accounts, Record
from edgebench.report import pictures
from edgebench.report.build_report import build_report
from edgebench.report.html_page import render
from edgebench.words.reason_words import reason
from tests.records import MIB, failed, generating, record, replicate

REQUESTS, TOKENS = 8, 16
VARIANT: dict[str, Scalar] = {"precision": "as-is", "prompt_tokens": 128, "new_tokens": TOKENS}


def held_to(budget: str, step_ns: int, read: int, faults: int) -> Record:
    """A decoder that fits; `read` and `faults` of each of its tokens."""
    accounts = Accounts(
        wall_ns=10**9,
        major_faults=faults * REQUESTS * TOKENS,
        storage_read_bytes=read * REQUESTS * TOKENS,
    )
    each = [generating(n, step_ns=step_ns, tokens=TOKENS, accounts=accounts) for n in range(3)]
    return record(
        {**VARIANT, "memory_budget": budget},
        scenario="generate",
        backend="llama_cpp",
        replicates=each,
    )


def misfit(budget: str) -> Record:
    why = reason("does_not_fit", budget_bytes=64 * MIB, by="cgroup v2", detail="killed")
    return failed(
        {**VARIANT, "memory_budget": budget},
        why.code,
        why.message,
        scenario="generate",
        backend="llama_cpp",
    )


def test_rows_that_differ_in_their_budget_are_a_curve() -> None:
    rows = [
        held_to("1GiB", 20_000_000, 0, 0),
        held_to("96MiB", 90_000_000, 50 * MIB, 700),
        misfit("64MiB"),
    ]
    report = build_report(rows, ["a.jsonl"])
    (curve,) = report.budget_curves
    small, middle, large = curve.points
    assert (small.budget, small.ms, small.why[:12]) == (
        "64MiB",
        None,
        "does not fit",
    )
    assert (middle.budget_mib, middle.why) == (96, "")
    assert middle.ms is not None
    assert 90 <= middle.ms < 90.1
    assert (middle.read_mib, middle.faults) == (50, 700)
    assert (large.read_mib, large.faults) == (0, 0)
    assert curve.words == "the least that fits: 96MiB"
    html = render(report)
    assert '<div id="chart-budgets-0" class="plot">' in html
    assert '<a href="#budgets">' in html
    assert "no: does not fit into 64.0 MiB (held to by cgroup v2): killed" in html
    assert "read from storage a token (MiB)" in pictures.svg(report)


def test_one_budget_is_no_curve() -> None:
    plain = record(replicates=[replicate(0), replicate(1)])
    report = build_report([plain, held_to("1GiB", 20_000_000, 0, 0)], ["a.jsonl"])
    assert report.budget_curves == []
    assert re.search(r'<details[^>]*id="budgets"', render(report)) is None


def test_a_failure_of_another_kind_tells_nothing_of_the_budget() -> None:
    late = failed(
        {**VARIANT, "memory_budget": "64MiB"}, "timeout", "no answer in 60 s",
        scenario="generate", backend="llama_cpp",
    )  # fmt: skip
    report = build_report([held_to("1GiB", 20_000_000, 0, 0), late, misfit("32MiB")], ["a.jsonl"])
    [curve] = report.budget_curves
    assert [point.fits for point in curve.points] == [False, None, True]
    assert "unknown: no answer in 60 s" in render(report)
    assert "no: no answer" not in render(report)
    drawn = pictures.picture(report)
    [names] = [
        each
        for each in _datasets(drawn)
        if each and "budget_mib" in each[0] and not each[0]["fits"]
    ]
    assert [point["budget"] for point in names] == ["32MiB"]
    [alone] = build_report([late, misfit("32MiB")], ["a.jsonl"]).budget_curves
    assert alone.words == "none is known to fit"


def _datasets(spec: Any) -> Iterator[list[dict[str, Any]]]:
    """All values that are drawn."""
    if isinstance(spec, dict):
        values = spec.get("data", {}).get("values") if isinstance(spec.get("data"), dict) else None
        yield from [values] if isinstance(values, list) else []
        spec = list(spec.values())
    for each in spec if isinstance(spec, list) else []:
        yield from _datasets(each)
