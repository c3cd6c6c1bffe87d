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

import msgspec

from edgebench.report import charts, decoder_html, theme, vegalite
from edgebench.report.html_escape import esc, listed
from edgebench.report.report_model import Decision, Group, Report, ReportRow

_SCRIPTS = ("data.js", "charts.js", "scalings.js", "table.js", "main.js")
_CARDS = 12  # decisions shown as cards; the others stand in a list below
_VERDICTS = {"clear": "clear", "open": "not clear", "nothing": "nothing to deploy"}
_FIGURES = ("p50", "items/s", "memory", "quality", "energy")
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
        "further_links": decoder_html.links(report),
        "decoders": decoder_html.sections(report),
        "environment": _environment(report),
        "failures": _failures(report),
        "notes": listed(report.notes) or '<p class="soft">None.</p>',
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
    """As the policy names it. The browser hashes the text of the element, newlines normalised."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _data(report: Report) -> str:
    """JSON without any character that HTML or JavaScript could take for an end."""
    page = {
        "report": report,
        "templates": charts.templates(),
        "themes": {
            name: {"colors": colors, "series": theme.SERIES[name], "config": theme.config(name)}
            for name, colors in theme.THEMES.items()
        },
    }
    text = msgspec.json.encode(page).decode()
    for letter in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text


def _measured(report: Report) -> str:
    files = ", ".join(report.sources[:4])
    more = f" and {len(report.sources) - 4} more" if len(report.sources) > 4 else ""
    return " · ".join(filter(None, (report.measured, f"from {files}{more}" if files else "")))


# --- the decision


def _decisions(report: Report) -> str:
    pairs = [
        (number, group, decision)
        for number, group in enumerate(report.groups)
        for decision in group.decisions
    ]
    if not pairs:
        return "<p>There are no records.</p>"
    cards = "".join(_card(report, *pair) for pair in pairs[:_CARDS])
    return f'<div class="decisions">{cards}</div>{_further(report, pairs[_CARDS:])}'


def _where(report: Report, group: Group, decision: Decision) -> str:
    device = f" · {decision.device}" if len(report.devices) > 1 else ""
    return f"{group.name} · {group.scenario}{device}"


def _card(report: Report, number: int, group: Group, decision: Decision) -> str:
    row = None if decision.row is None else report.rows[decision.row]
    link = f'<a href="#tradeoff" data-group="{number}">See the trade-off</a>'
    around = f'<p class="soft">{esc(decision.around)}</p>' if decision.around else ""
    return (
        f'<article class="decision {decision.verdict}">'
        f'<p class="where">{esc(_where(report, group, decision))}</p>'
        f"<h3>{esc(_headline(decision))}</h3>"
        f'<p class="verdict">{esc(_verdict(decision))}</p>'
        f"{_figures(report, group, row, decision)}{around}"
        f"{listed(decision.warnings, 'warnings')}<p>{link}</p></article>"
    )


def _headline(decision: Decision) -> str:
    return decision.headline if decision.row is None else f"Deploy {decision.headline}"


def _verdict(decision: Decision) -> str:
    """How sure the choice is; why there is none."""
    words = decision.doubt or decision.text
    return words[:1].upper() + words[1:]


def _figures(report: Report, group: Group, row: ReportRow | None, decision: Decision) -> str:
    if row is None:
        return ""
    words = dict(zip(report.fact_names, row.facts, strict=True))
    figures = [(name, words.get(name, "-")) for name in _FIGURES]
    figures.insert(1, ("to fp32", decision.gain))
    if words["p50"] == "-":  # what another tool reports in its place
        figures[0] = ("p90", words["p90"])
    unknown = ("", "-") if row.numbers.energy_mj is not None else ("", "-", words.get("energy", ""))
    names = {"quality": group.quality_metric or "quality"}
    cells = "".join(
        f"<div><dt>{esc(names.get(name, name))}</dt><dd>{_figure(value)}</dd></div>"
        for name, value in figures
        if value not in unknown
    )
    return f'<dl class="figures">{cells}</dl>'


def _figure(value: str) -> str:
    """The spread or the change smaller than the value it belongs to."""
    main, _, rest = value.partition(" ±")
    if rest:
        return f"{esc(main)} <small>±{esc(rest)}</small>"
    main, _, rest = value.partition(" ")
    return f"{esc(main)} <small>{esc(rest)}</small>" if rest else esc(main)


def _further(report: Report, pairs: Sequence[tuple[int, Group, Decision]]) -> str:
    if not pairs:
        return ""
    rows = "".join(
        f'<tr><th scope="row"><a href="#tradeoff" data-group="{number}">'
        f"{esc(_where(report, group, decision))}</a></th>"
        f"<td>{esc(_headline(decision))}</td><td>{_VERDICTS[decision.verdict]}</td></tr>"
        for number, group, decision in pairs
    )
    return (
        f'<details class="more card"><summary>{len(pairs)} further decisions</summary>'
        f'<div class="scroll"><table><thead><tr><th scope="col">where</th><th scope="col">what</th>'
        f'<th scope="col">how sure</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
    )


# --- environment and failures


def _environment(report: Report) -> str:
    devices = "".join(
        f"<p><strong>{esc(device.line)}</strong></p>{listed(device.warnings, 'warnings')}"
        for device in report.devices
    )
    return f'<div class="card">{devices}</div>{_differences(report)}'


def _differences(report: Report) -> str:
    if not report.differences:
        return '<p class="soft">Nothing that was recorded differs between the runs.</p>'
    head = "".join(f'<th scope="col">{esc(place)}</th>' for place in report.places)
    rows = "".join(
        f'<tr><th scope="row">{esc(difference.fact)}</th>'
        + "".join(f"<td>{esc(value)}</td>" for value in difference.values)
        + "</tr>"
        for difference in report.differences
    )
    return (
        '<div class="card"><h3>What differs between the runs</h3><div class="scroll"><table><thead>'
        f'<tr><th scope="col">fact</th>{head}</tr></thead><tbody>{rows}</tbody></table></div></div>'
    )


def _failures(report: Report) -> str:
    """Reasons, and the rows of each."""
    reasons: dict[tuple[str, str], list[ReportRow]] = {}
    for row in report.rows:
        if row.why:
            reasons.setdefault((row.why, row.fix), []).append(row)
    if not reasons:
        return '<p class="soft">None: every row was measured and is good enough.</p>'
    items = "".join(_reason(report, why, fix, rows) for (why, fix), rows in reasons.items())
    return f'<div class="card">{items}</div>'


def _reason(report: Report, why: str, fix: str, rows: Sequence[ReportRow]) -> str:
    names = [
        f"{report.groups[row.group].name}: {row.label}"
        + (f" on {row.device}" if len(report.devices) > 1 else "")
        for row in rows[:_NAMED]
    ]
    if len(rows) > _NAMED:
        names.append(f"and {len(rows) - _NAMED} more")
    mend = f'<br><span class="soft">fix: {esc(fix)}</span>' if fix else ""
    return f'<div class="reason">{esc(why)}{mend}{listed(names)}</div>'
