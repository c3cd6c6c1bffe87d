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
    theme,
    vegalite,
)
from edgebench.report.html_escape import esc, list_html, table_html
from edgebench.report.page_rows import because, demanded, figure_html, unsupported
from edgebench.report.report_model import Decision, Difference, Figure, Group, Report, ReportRow
from edgebench.units import format_probability

_SCRIPTS = (
    "data.js", "charts.js", "labels.js", "scalings.js", "rates.js", "budgets.js", "table.js", "record.js", "main.js"
)  # fmt: skip
_CARDS = 12  # decisions shown as cards, about
_MATRIX_FROM = 5  # decisions that stand in a matrix as well
_SIGNS = {"clear": "sure", "open": "not sure", "nothing": "no row passed"}
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
        "further_links": decoder_html.links(report)
        + rate_curves.links(report)
        + budget_curves.links(report)
        + explain_html.links(report),
        "decoders": decoder_html.sections(report)
        + rate_curves.section(report)
        + budget_curves.section(report),
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
        "report": msgspec.structs.replace(report, explanations=[]),  # they are text already
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
    matrix = _matrix(report) if count >= _MATRIX_FROM else ""
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
    return f'{matrix}<div class="decisions">{cards}</div>{left_out}'


def _workloads(report: Report) -> dict[str, list[tuple[int, Group]]]:
    """The groups of each workload with their numbers."""
    workloads: dict[str, list[tuple[int, Group]]] = {}
    for number, group in enumerate(report.groups):
        workloads.setdefault(group.name, []).append((number, group))
    return workloads


def _scenario(group: Group) -> str:
    return "" if group.scenario == "single_stream" else group.scenario


def _matrix(report: Report) -> str:
    """Workloads by devices: what to deploy, how fast it is, and whether that is sure."""
    devices = [device.name for device in report.devices]
    head = "".join(f'<th scope="col">{esc(device)}</th>' for device in devices)
    lines = "".join(
        f'<tr><th scope="row">{esc(group.name)}{_small(_scenario(group))}</th>'
        + "".join(_square(report, number, group, device) for device in devices)
        + "</tr>"
        for number, group in enumerate(report.groups)
    )
    return (
        '<div class="card matrix"><div class="scroll" tabindex="0"><table><caption class="visually-hidden">'
        "What to deploy of each workload on each device</caption><thead><tr>"
        f'<th scope="col">workload</th>{head}</tr></thead><tbody>{lines}</tbody></table></div>'
        '<p class="soft"><span class="sign clear">the best for sure</span>'
        '<span class="sign open">not sure</span></p></div>'
    )


def _small(words: str) -> str:
    return f" <small>{esc(words)}</small>" if words else ""


def _square(report: Report, number: int, group: Group, device: str) -> str:
    decision = next((each for each in group.decisions if each.device == device), None)
    if decision is None:
        return '<td class="none"><span class="visually-hidden">not measured</span></td>'
    row = None if decision.row is None else report.rows[decision.row]
    speed = "" if row is None else _speed(report, group, row).value
    sign = "the machine was busy" if decision.busy else _SIGNS[decision.verdict]
    return (
        f'<td class="{decision.verdict}"><a href="#tradeoff" data-group="{number}">'
        f'{esc(decision.headline)}</a><small class="sign">{esc(speed)}'
        f'<span class="visually-hidden"> {sign}</span></small></td>'
    )


def _figures_of(report: Report, row: ReportRow) -> dict[str, Figure]:
    return dict(zip(report.figure_names, row.figures, strict=True))


def _speed(report: Report, group: Group, row: ReportRow) -> Figure:
    """The figure of speed by which the group is compared, or what is told in its place."""
    figures = _figures_of(report, row)
    names = ("items/s", "p50", "p90") if group.x == "rate" else ("p50", "p90", "items/s")
    return next((figures[name] for name in names if figures[name].value), Figure())


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
    where = " · ".join(filter(None, (_scenario(group), device)))
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
    figures = _figures_of(report, row)
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
