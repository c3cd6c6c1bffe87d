"""Gives a search the form in which reports show it."""

from __future__ import annotations

from edgebench.render.number_format import UNKNOWN
from edgebench.report.report_model import SearchSummary
from edgebench.search.search_messages import REFUSED_DAMAGE
from edgebench.search.search_picture import page_pictures
from edgebench.search.search_report import FloatGroup, SearchReport, SearchRow
from edgebench.search.search_text import (
    decision,
    doubts,
    explain_command,
    front_words,
    group_words,
    limit_words,
    row_cells,
    searched,
    table_head,
    told_groups,
    verdict_words,
    why,
)
from edgebench.units import format_ns
from edgebench.words.search_words import STANDING_LEGEND, groups_split, output_error

_KEPT, _TOLD = 200, 5  # groups of the table, and in words


def summary_of(report: SearchReport) -> SearchSummary:
    tested = [
        "; ".join([verdict_words(verdict), *map(limit_words, verdict.limits)])
        for verdict in report.verdicts
    ]
    rows = [row for row in report.rows if row.p50_ns is not None]
    return SearchSummary(
        workload=report.workload,
        title=report.title,
        decision=decision(report),
        doubts=list(doubts(report)),
        safe=report.chosen is not None,
        head=["deployment", *table_head(report)],
        rows=[_row(row, report) for row in rows],
        choice=next((n for n, row in enumerate(rows) if row.id == report.chosen), None),
        pictures=page_pictures(report),
        tested=tested,
        why=why(report),
        kept_head=["group in fp32", "fp32", "int8", "int8 gains", "output error"],
        kept=[_kept(group) for group in told_groups(report, _KEPT)],
        kept_words=list(map(group_words, told_groups(report, _TOLD))),
        explain=explain_command(report),
        notes=[
            searched(report),
            *filter(None, [front_words(report)]),
            *report.notes,
            f"limits: {STANDING_LEGEND}",
        ],
        groups={
            str(row.precision): groups_split(row.split) for row in rows if row.groups is not None
        },
    )


def _row(row: SearchRow, report: SearchReport) -> list[str]:
    groups, p50, speed, *others = row_cells(row, report)
    if row.speedup_low is not None and row.speedup_high is not None and row.standing != "base":
        speed += f" ({row.speedup_low:.2f}-{row.speedup_high:.2f})"
    label = f"{row.backend} {row.label}"
    return [f"* {label}" if row.front else label, groups, p50, speed, *others]


def _kept(group: FloatGroup) -> list[str]:
    """What int8 would have saved, and what it would have cost."""
    gain = f"{'-' if group.gain_us < 0 else ''}{format_ns(abs(group.gain_us) * 1e3)}"
    damage = output_error(group.damage, REFUSED_DAMAGE)
    times = (format_ns(group.fp32_us * 1e3), format_ns(group.int8_us * 1e3))
    if not group.timed:
        return [f"{group.op} {group.name}", UNKNOWN, UNKNOWN, UNKNOWN, damage]
    return [f"{group.op} {group.name}", *times, gain, damage]
