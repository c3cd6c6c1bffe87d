"""Latency against rate in the report: the curve of a search, its knee, and its picture."""

from __future__ import annotations

import re

from edgebench.report import pictures
from edgebench.report.build_report import build_report
from edgebench.report.html_page import render
from tests.analysis.test_rate_search import row_of, sought
from tests.records import record, replicate


def test_a_search_is_drawn_with_its_bound_and_its_knee() -> None:
    search, made = sought(25_000_000)
    report = build_report([row_of(search, made)], ["a.jsonl"])
    (curve,) = report.rate_curves
    assert curve.knee_per_s == search.rate_per_s
    assert curve.bound_ms == 25
    rates = [point.rate_per_s for point in curve.points]
    assert rates == sorted(rates)
    assert {point.verdict for point in curve.points} >= {"kept", "over"}
    assert curve.words.startswith("highest rate within p99 25")
    drawn = pictures.svg(report)
    assert "queries per second" in drawn
    assert "highest within the bound" in drawn
    html = render(report)
    assert '<div id="chart-rates-0" class="plot">' in html
    assert '<a href="#rates">' in html


def test_a_report_without_a_search_has_no_such_section() -> None:
    report = build_report([record(replicates=[replicate(0), replicate(1)])], ["a.jsonl"])
    assert report.rate_curves == []
    assert re.search(r'<details[^>]*id="rates"', render(report)) is None
