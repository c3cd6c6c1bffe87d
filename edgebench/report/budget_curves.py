"""Speed against the memory that a process was held to, of rows that differ in their budget alone, with what was read from
storage meanwhile. html/budgets.js draws the curves into their places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

from edgebench.analysis.competition import group_of
from edgebench.analysis.per_row.row_labels import setting
from edgebench.analysis.table_types import Row
from edgebench.planning.settings import MEMORY_BUDGET
from edgebench.report.html_escape import esc, section_html, table_html
from edgebench.report.report_model import BudgetCurve, BudgetPoint, Report
from edgebench.text.plain_text import plain
from edgebench.units import format_bytes, parse_bytes

_MIB = 2.0**20
_UNKNOWN = "-"
_UNFIT: dict[bool | None, str] = {False: "no", None: "unknown"}


def budget_curves_of(rows: Sequence[Row]) -> list[BudgetCurve]:
    """A curve of every deployment that was held to two budgets or more."""
    members: dict[Hashable, list[Row]] = defaultdict(list)
    for row in rows:
        if MEMORY_BUDGET in row.variant and row.status != "unsupported":
            members[row.run, group_of(row), row.backend, repr(_others(row))].append(row)
    return [_curve(each) for each in members.values() if len(each) > 1]


def _others(row: Row) -> list[tuple[str, object]]:
    return sorted((axis, value) for axis, value in row.variant.items() if axis != MEMORY_BUDGET)


def _curve(rows: Sequence[Row]) -> BudgetCurve:
    first = rows[0]
    points = sorted(map(_point, rows), key=lambda point: point.budget_mib)
    settings = " ".join(
        setting(axis, value) for axis, value in first.variant.items() if axis != MEMORY_BUDGET
    )
    fitting = [point for point in points if point.ms is not None]
    none = "none of them fits" if all(p.fits is False for p in points) else "none is known to fit"
    least = f"the least that fits: {fitting[0].budget}" if fitting else none
    return BudgetCurve(
        name=plain(
            f"{first.workload}@{first.workload_version} · {first.backend} · {settings} · {first.device}"
        ),
        unit="token" if first.scenario == "generate" else "inference",
        y_title="time per token (TPOT, ms)" if first.scenario == "generate" else "p50 (ms)",
        words=plain(least),
        points=points,
    )


def _point(row: Row) -> BudgetPoint:
    memory, made = row.memory, row.generate
    took_ns = row.latency_ns.p50 if made is None else made.tpot_ns
    read = memory.storage_read_bytes_per_query
    text = str(row.variant[MEMORY_BUDGET])
    known = row.status != "failed" and took_ns is not None
    misfit = any(reason.code == "does_not_fit" for reason in row.reasons)
    return BudgetPoint(
        budget=plain(text),
        budget_mib=parse_bytes(text) / _MIB,
        ms=None if took_ns is None or not known else took_ns / 1e6,
        read_mib=None if read is None else read / _MIB,
        faults=memory.major_faults_per_query,
        fits=True if known else False if misfit else None,
        why="" if known else plain(row.reasons[0].message if row.reasons else row.status),
    )


def section(report: Report) -> str:
    curves = "".join(_figure(number, curve) for number, curve in enumerate(report.budget_curves))
    gist = f"{len(report.budget_curves)} deployments"
    return section_html("budgets", "Speed against memory", gist, curves)


def _figure(number: int, curve: BudgetCurve) -> str:
    head = (
        "budget",
        curve.y_title,
        f"read from storage a {curve.unit}",
        f"major faults a {curve.unit}",
        "fits",
    )
    numbers = table_html(head, map(_cells, curve.points), range(4))
    return (
        f'<figure class="chart"><h3>{esc(curve.name)}</h3><div id="chart-budgets-{number}" class="plot"></div>'
        f'<figcaption class="soft">{esc(curve.words)}. Line: {esc(curve.y_title)}; bars: what was read from storage a '
        f"{curve.unit}; dashed: budgets that it does not fit into.</figcaption>{numbers}</figure>"
    )


def _cells(point: BudgetPoint) -> tuple[str, ...]:
    return (
        point.budget,
        _UNKNOWN if point.ms is None else f"{point.ms:.4g}",
        _UNKNOWN if point.read_mib is None else format_bytes(round(point.read_mib * _MIB)),
        _UNKNOWN if point.faults is None else f"{point.faults:.3g}",
        "yes" if point.fits else f"{_UNFIT[point.fits]}: {point.why}",
    )
