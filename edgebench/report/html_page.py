"""The report as one HTML file that needs nothing else and loads nothing.

Values of result files reach the page in two ways, and can act in neither: as text through `esc`, and
as JSON in a data block, whose `<` are escaped and which scripts show through `textContent`. The
policy of the page runs the two scripts written here, by their hashes, and forbids every request.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources
from typing import Any

import msgspec

from edgebench.render.deploy_line import tie_words
from edgebench.report import (
    budget_curves,
    charts,
    decoder_html,
    explain_html,
    rate_curves,
    search_html,
    theme,
    vegalite,
)
from edgebench.report.decision_matrix import matrix
from edgebench.report.html_escape import esc, list_html, table_html
from edgebench.report.page_rows import (
    because,
    demanded,
    figure_html,
    figures_by_name,
    scenario_name,
    unsupported,
)
from edgebench.report.report_model import Decision, Difference, Figure, Group, Report, ReportRow
from edgebench.units import format_probability

_SCRIPTS = (
    "data.js", "charts.js", "labels.js", "scalings.js", "rates.js", "budgets.js", "table.js", "record.js", "main.js"
)  # fmt: skip
_CARDS = 12  # decisions shown as cards, about
_MATRIX_FROM = 5  # decisions that stand in a matrix as well
_FIGURES = ("items/s", "memory", "quality", "energy")  # beside the latency
_MANY = ("settings", "packages")
_NAMED = 8  # rows named with a reason


def render(report: Report) -> str:
    """The page."""
    vega = _in_script(vegalite.scripts())
    script = _in_script('(() => {\n"use strict";\n' + "\n".join(map(_file, _SCRIPTS)) + "\n})();")
    parts = {
        "title": esc(report.title),
        "measured": esc(_measured(report)),
        "script_hashes": f"{_hash(vega)} {_hash(script)}",
        "style": theme.css() + _file("page.css"),
        "decisions": _decisions(report),
        "further_links": _further_links(report),
        "decoders": decoder_html.sections(report)
        + rate_curves.section(report)
        + budget_curves.section(report),
        "searched": search_html.section(report),
        "explained": explain_html.section(report),
        "environment": _environment(report),
        "environment_gist": esc(_environment_gist(report)),
        "failures": _failures(report),
        "failures_gist": esc(_failures_gist(report)),
        "notes": list_html([*report.notes, report.details_left_out]),
        "notes_hidden": "" if report.notes or report.details_left_out else "hidden",
        "report": _data(report),
        "vega": vega,
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _file("page.html"))


def _further_links(report: Report) -> str:
    """Links of the table of contents to the sections that not every report has."""
    sections: tuple[tuple[str, str, Sequence[object]], ...] = (
        ("decoders", "Language models", report.decoders),
        ("scaling", "Tokens and votes", report.scalings),
        ("rates", "Latency against rate", report.rate_curves),
        ("budgets", "Speed against memory", report.budget_curves),
        ("search-precision", "Search", report.searches),
        ("why", "Why", report.explanations),
    )
    return "".join(f'<a href="#{anchor}">{words}</a>' for anchor, words, has in sections if has)


def _file(name: str) -> str:
    return resources.files("edgebench.report").joinpath("html", name).read_text(encoding="utf-8")


def _in_script(code: str) -> str:
    """Our own code, which must not end its element."""
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    """Returns a hash as the policy names it. The browser hashes the text of the element, newlines normalised."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(report: Report) -> str:
    """JSON without any character that HTML or JavaScript could take for an end."""
    page = {
        "report": msgspec.structs.replace(
            report, explanations=[], searches=[]
        ),  # they are text already
        "templates": charts.templates(),
        "words": [_words(report, group) for group in report.groups],
        "themes": _themes(),
    }
    text = msgspec.json.encode(page).decode()
    for letter in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _words(report: Report, group: Group) -> dict[str, Any]:
    """Returns what stands above the chart and the rows of a group."""
    return {
        "demands": demanded(group),
        "floors": charts.floors(group.demands, group.quality_metric),
        "decisions": [
            {"device": each.device, "headline": _headline(each), "doubt": _doubt(report, group, each),
             "verdict": each.verdict}
            for each in group.decisions
        ],
    }  # fmt: skip


def _themes() -> dict[str, Any]:
    """Colours by their names, and for canvases, which know no names, as they are."""
    named, series = theme.named()
    themes = {"named": (named, series)}
    themes |= {name: (colors, theme.SERIES[name]) for name, colors in theme.THEMES.items()}
    return {
        name: {"colors": colors, "series": row, "config": theme.configured(colors, row)}
        for name, (colors, row) in themes.items()
    }


def _measured(report: Report) -> str:
    files = ", ".join(report.sources[:4])
    more = f" and {len(report.sources) - 4} more" if len(report.sources) > 4 else ""
    return " · ".join(filter(None, (report.measured, f"from {files}{more}" if files else "")))


# --- the decision


def _decisions(report: Report) -> str:
    count = sum(len(group.decisions) for group in report.groups)
    if not count:
        return "<p>There are no records.</p>"
    table = matrix(report) if count >= _MATRIX_FROM else ""
    cards, shown = "", 0
    for members in _workloads(report).values():
        if shown < _CARDS:
            cards += _card(report, members)
            shown += sum(len(group.decisions) for _, group in members)
    left_out = (
        f'<p class="soft">Cards of the first {shown} decisions; the matrix holds all {count}.</p>'
        if shown < count
        else ""
    )
    return f'{table}<div class="decisions">{cards}</div>{left_out}'


def _workloads(report: Report) -> dict[str, list[tuple[int, Group]]]:
    """The groups of each workload with their numbers."""
    workloads: dict[str, list[tuple[int, Group]]] = {}
    for number, group in enumerate(report.groups):
        workloads.setdefault(group.name, []).append((number, group))
    return workloads


def _card(report: Report, members: Sequence[tuple[int, Group]]) -> str:
    """A workload: what is demanded, and the decision under each scenario and on each device."""
    number, first = members[0]
    demands = f'<p class="soft">{esc(demanded(first))}</p>' if first.demands else ""
    blocks = "".join(
        _block(report, number, group, decision)
        for number, group in members
        for decision in group.decisions
    )
    return (
        f'<article class="card decided"><p class="where"><a href="#tradeoff" data-group="{number}">'
        f"{esc(first.name)}</a></p>{demands}{blocks}</article>"
    )


def _block(report: Report, number: int, group: Group, decision: Decision) -> str:
    """The line to act on, its figures, one line of doubt, and the rest folded."""
    device = decision.device if len(report.devices) > 1 else ""
    where = " · ".join(filter(None, (scenario_name(group), device)))
    link = f'<p class="device"><a href="#tradeoff" data-group="{number}">{esc(where)}</a></p>'
    row = None if decision.row is None else report.rows[decision.row]
    more = [decision.text, *decision.warnings, *filter(None, [decision.around])]
    return (
        f'<div class="decision {decision.verdict}">{link if where else ""}'
        f'<h3 class="deploy">{esc(_headline(decision))}</h3>'
        f"{_figures(report, group, row, decision)}"
        f'<details><summary class="doubt"><span>{esc(_doubt(report, group, decision))}</span></summary>'
        f"{list_html(more, 'warnings')}</details></div>"
    )


def _headline(decision: Decision) -> str:
    return "Nothing to deploy" if decision.row is None else f"Deploy {decision.headline}"


def _doubt(report: Report, group: Group, decision: Decision) -> str:
    """How sure the choice is, in one line."""
    if decision.busy:
        return "The machine was busy: measure again before you believe it"
    other = "" if decision.runner_up is None else report.rows[decision.runner_up].label
    times = "" if decision.ratio is None else f"{decision.ratio:.2f}x as fast as {other}"
    if decision.certainty == "likely" and decision.runs > 1:
        return f"{times}, in {decision.runs} runs"  # whose drift is in no interval
    chance = decision.faster_probability
    alone = sum(report.rows[index].device == decision.device for index in group.rows) > 1
    return {
        "nothing": "No row passed",
        "only": "The only row that passed" if alone else "The only row",
        "no interval": "Not sure: some rows have no interval",
        "tied": f"Not told apart from {other}; {tie_words(decision.decided_by) or 'first by value'}",
        "sure": f"For sure: {times}",
        "likely": f"{times}, {'' if chance is None else format_probability(chance)} sure",
    }[decision.certainty]


def _figures(report: Report, group: Group, row: ReportRow | None, decision: Decision) -> str:
    if row is None:
        return ""
    figures = figures_by_name(report, row)
    latency = "p50" if figures["p50"].value else "p90"  # what another tool may state in its place
    shown = [(name, figures[name]) for name in (latency, *_FIGURES)]
    shown.insert(1, ("to fp32", Figure(decision.gain)))
    names = {"quality": group.quality_metric or "quality"}
    cells = "".join(
        f"<div><dt>{esc(names.get(name, name))}</dt><dd>{figure_html(figure)}</dd></div>"
        for name, figure in shown
        if figure.value
    )
    return f'<dl class="figures">{cells}</dl>'


# --- environment and failures


def _environment(report: Report) -> str:
    devices = "".join(
        f"<p><strong>{esc(device.line)}</strong></p>{list_html(device.warnings, 'warnings')}"
        for device in report.devices
    )
    return f"{devices}{_differences(report)}"


def _differences(report: Report) -> str:
    """Returns what differs, by topic; settings and packages, of which there are many, folded."""
    if not report.differences:
        return '<p class="soft">Nothing that was recorded differs between the runs.</p>'
    topics: dict[str, list[Difference]] = {}
    for difference in report.differences:
        topics.setdefault(difference.topic, []).append(difference)
    return "<h3>What differs between the runs</h3>" + "".join(
        f'<details class="topic"{"" if topic in _MANY else " open"}>'
        f'<summary>{esc(topic)} <span class="soft">{len(values)}</span></summary>'
        + table_html(("", *report.places), ((each.name, *each.values) for each in values))
        + "</details>"
        for topic, values in topics.items()
    )


def _environment_gist(report: Report) -> str:
    count, differ = len(report.devices), len(report.differences)
    devices = f"{count} device{'s' * (count != 1)}"
    return f"{devices}, {differ} facts differ between the runs" if differ else devices


def _failures(report: Report) -> str:
    """Reasons and the rows of each; what a backend does not support in a line of its own."""
    reasons: dict[tuple[str, str], list[ReportRow]] = {}
    for row in report.rows:
        if row.because and row.status != "unsupported":
            reasons.setdefault((because(row), row.fix), []).append(row)
    items = "".join(_reason(report, *key, rows) for key, rows in reasons.items())
    unable = unsupported((row, _named(report, row)) for row in report.rows)
    return items + unable or '<p class="soft">Every row was measured and is good enough.</p>'


def _failures_gist(report: Report) -> str:
    rows = [row for row in report.rows if row.because]
    unable = sum(row.status == "unsupported" for row in rows)
    parts = [f"{len(rows) - unable} rows" if len(rows) > unable else ""]
    parts.append(f"{unable} variants unsupported" if unable else "")
    return ", ".join(filter(None, parts)) or "none"


def _reason(report: Report, words: str, fix: str, rows: Sequence[ReportRow]) -> str:
    names = [_named(report, row) for row in rows[:_NAMED]]
    if len(rows) > _NAMED:
        names.append(f"and {len(rows) - _NAMED} more")
    mend = f'<br><span class="soft">fix: {esc(fix)}</span>' if fix else ""
    return f'<div class="reason">{esc(words)}{mend}{list_html(names)}</div>'


def _named(report: Report, row: ReportRow) -> str:
    device = f" on {row.device}" if len(report.devices) > 1 else ""
    return f"{report.groups[row.group].name}: {row.label}{device}"
