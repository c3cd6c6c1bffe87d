"""Latency against the rate of a server's queries, of rows whose highest rate was sought: every rate that was tried, the
bound, and the knee. html/rates.js draws them into their places."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.analysis.table_types import Row
from edgebench.record import RateTrial
from edgebench.report.html_escape import esc, section_html
from edgebench.report.report_model import RateCurve, RatePoint, Report
from edgebench.text.plain_text import plain
from edgebench.units import format_ns, format_rate


def curves_of(rows: Sequence[Row], labels: Sequence[str]) -> list[RateCurve]:
    """A curve of every row that has a search with two rates or more."""
    return [
        _curve(row, label)
        for row, label in zip(rows, labels, strict=True)
        if row.rate_search is not None and len(row.rate_search.trials) > 1
    ]


def _curve(row: Row, label: str) -> RateCurve:
    search = row.rate_search
    assert search is not None
    trials = sorted(search.trials, key=lambda trial: trial.rate_per_s)
    bound = format_ns(search.bound_p99_ns)
    found = (
        "no rate keeps it" if search.rate_per_s is None else f"{format_rate(search.rate_per_s)}/s"
    )
    return RateCurve(
        name=plain(f"{row.workload}@{row.workload_version} · {row.backend} · {label}"),
        bound_ms=search.bound_p99_ns / 1e6,
        knee_per_s=search.rate_per_s,
        words=plain(f"highest rate within p99 {bound}: {found}"),
        points=[_point(trial) for trial in trials],
    )


def _point(trial: RateTrial) -> RatePoint:
    return RatePoint(
        rate_per_s=trial.rate_per_s,
        p50_ms=trial.p50_ns / 1e6,
        p99_ms=trial.p99_ns / 1e6,
        upper_ms=None if trial.upper_ns is None else trial.upper_ns / 1e6,
        verdict=trial.verdict,
    )


def section(report: Report) -> str:
    curves = "".join(
        f'<figure class="chart"><h3>{esc(curve.name)}</h3><div id="chart-rates-{number}" class="plot"></div>'
        f'<figcaption class="soft">{esc(curve.words)}. Points: p99 of a rate, in fresh processes; bars end at its upper '
        "confidence bound; dashed: the bound; the pale line is p50.</figcaption></figure>"
        for number, curve in enumerate(report.rate_curves)
    )
    gist = f"{len(report.rate_curves)} searches"
    return section_html("rates", "Latency against rate", gist, curves)
