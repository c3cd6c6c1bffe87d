"""The report as GitHub Markdown, for a pull request: the same model as the page, without samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from edgebench.render.table_markdown import escape
from edgebench.report import decoder_markdown
from edgebench.report.decoder_rows import FRONTS
from edgebench.report.page_rows import demanded, markdown_table
from edgebench.report.report_model import Decision, Group, Report, ReportRow, SearchSummary
from edgebench.roofline.roofline_rows import RoofPoint

_COLUMNS = ("p50", "p90", "items/s", "memory", "quality", "energy")
_MAX_ROWS = 40  # rows and commands of a group: GitHub takes 65,536 characters


def render(report: Report) -> str:
    """The decision first, then a table for each group, and what the page says besides."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    yield f"## {escape(report.title)}"
    yield ""
    for group in report.groups:
        for decision in group.decisions:
            yield from _decision(report, group, decision)
    for group in report.groups:
        yield from _group(report, group)
    yield from decoder_markdown.sections(report)
    for search in report.searches:
        yield from _search(search)
    yield "### Environment"
    yield ""
    yield from _environment(report)
    yield from _failures(report)
    yield from _reproduce(report)
    yield from _roofline(report)
    for note in report.notes:
        yield escape(note)
        yield ""
    yield escape("; from ".join(filter(None, (report.measured, ", ".join(report.sources)))))


def _search(found: SearchSummary) -> Iterator[str]:
    yield f"### Search: {escape(found.title)}"
    yield ""
    yield f"**{escape(found.decision)}**"
    yield ""
    for text in found.doubts:
        yield f"- {escape(text)}"
    yield ""
    yield from markdown_table(found.head, found.rows)
    for text in found.tested:
        yield f"- {escape(text)}"
    if found.why:
        yield ""
        yield escape(found.why)
        yield ""
        for text in found.kept_words:
            yield f"- {escape(text)}"
    yield ""


def _decision(report: Report, group: Group, decision: Decision) -> Iterator[str]:
    device = f" on {decision.device}" if len(report.devices) > 1 else ""
    yield f"- {escape(group.name)}, {escape(group.scenario + device)}: **{escape(decision.text)}**"
    for warning in decision.warnings:
        yield f"  - {escape(warning)}"
    if decision.around:
        yield f"  - {escape(decision.around)}"


def _group(report: Report, group: Group) -> Iterator[str]:
    yield ""
    yield f"### {escape(f'{group.name}, {group.scenario}')}"
    yield ""
    front = f"front of {', '.join(group.objectives)}" if group.objectives else "no front"
    demands = demanded(group)
    yield escape(
        " · ".join(filter(None, (group.title, group.shared, demands, front, *group.left_out)))
    )
    yield ""
    several = len(report.devices) > 1
    yield f"| | row |{' device |' if several else ''} {' | '.join(_COLUMNS)} | front | remarks |"
    yield f"|---|---|{'---|' if several else ''}{'--:|' * len(_COLUMNS)}---|---|"
    able = [report.rows[i] for i in group.rows if report.rows[i].status != "unsupported"]
    for row in able[:_MAX_ROWS]:
        yield _row(report, row, several)
    if len(able) > _MAX_ROWS:
        yield ""
        yield f"{len(able) - _MAX_ROWS} further rows are left out here."
    unable = Counter(
        report.rows[i].backend for i in group.rows if report.rows[i].status == "unsupported"
    )
    if unable:
        yield ""
        yield escape(
            "Unsupported: " + ", ".join(f"{n}x {backend}" for backend, n in unable.items())
        )
    yield ""


def _row(report: Report, row: ReportRow, several: bool) -> str:
    facts = dict(zip(report.fact_names, row.facts, strict=True))
    mark = {"yes": "`*`", "struck": "`x`"}.get(row.front, "")
    label = escape(row.label)
    front = FRONTS[row.front]
    if row.probability is not None:
        front += f" ({row.probability:.2f})"
    cells = [
        mark,
        f"**{label}**" if row.pick else label,
        *([escape(row.device)] if several else []),
        *(escape(facts.get(name, "")) for name in _COLUMNS),
        front,
        escape("; ".join(filter(None, (row.why, facts["remarks"])))),
    ]
    return f"| {' | '.join(cells)} |"


def _environment(report: Report) -> Iterator[str]:
    for device in report.devices:
        yield f"- {escape(device.line)}"
        for warning in device.warnings:
            yield f"  - {escape(warning)}"
    yield ""
    if report.differences:
        yield "What differs between the runs:"
        yield ""
        rows = [(f"{each.topic}: {each.name}", *each.values) for each in report.differences]
        yield from markdown_table(("fact", *report.places), rows)


def _roofline(report: Report) -> Iterator[str]:
    yield "### Roofline"
    yield ""
    if report.roof_unknown:
        yield f"Unknown: {escape(report.roof_unknown)}."
        yield ""
        return
    for roof in report.roofs:
        yield (
            f"- {escape(roof.device)}, {escape(roof.name)}: {roof.peak_gops_per_s:.4g} GOP/s, "
            f"{roof.peak_gbytes_per_s:.4g} GB/s"
        )
    yield ""
    head = ("row", "operations per byte", "GOP/s", "of the peak", "bound by")
    points = report.roof_points[:_MAX_ROWS]
    yield from markdown_table(head, (_roof_cells(report, point) for point in points), (1, 2, 3))
    if len(report.roof_points) > _MAX_ROWS:
        yield f"{len(report.roof_points) - _MAX_ROWS} further rows are left out here."
        yield ""


def _roof_cells(report: Report, point: RoofPoint) -> Sequence[str]:
    row = report.rows[point.row]
    return (
        f"{report.groups[row.group].name}: {row.label}",
        f"{point.ops_per_byte:.3g}",
        f"{point.gops_per_s:.4g}",
        "-" if point.efficiency is None else f"{point.efficiency:.1%}",
        point.bound or "-",
    )


def _failures(report: Report) -> Iterator[str]:
    struck = [row for row in report.rows if row.why]
    if not struck:
        return
    yield "### Failures and struck rows"
    yield ""
    for row in struck[:_MAX_ROWS]:
        mend = f" Fix: {escape(row.fix)}" if row.fix else ""
        yield f"- {escape(f'{report.groups[row.group].name}: {row.label}')}: {escape(row.why)}{mend}"
    if len(struck) > _MAX_ROWS:
        yield f"- and {len(struck) - _MAX_ROWS} more"
    yield ""


def _reproduce(report: Report) -> Iterator[str]:
    yield "<details><summary>Reproduce each row</summary>"
    yield ""
    commands = list(dict.fromkeys(row.command for row in report.rows if row.command))
    yield from _fenced(commands[:_MAX_ROWS])
    if len(commands) > _MAX_ROWS:
        yield ""
        yield f"{len(commands) - _MAX_ROWS} further commands are left out here."
    yield ""
    yield "</details>"
    yield ""


def _fenced(lines: Sequence[str]) -> list[str]:
    """A code block that no line of it can end."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}sh", *lines, fence]
