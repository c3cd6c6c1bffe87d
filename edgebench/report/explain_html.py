"""The section of the page that says why a deployment takes its time: kept explanations, with a picture of each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from edgebench.explain.explanation import Deployment, Explanation, KindLine
from edgebench.render.explain_text import (
    any_bound,
    further,
    operator_name,
    paragraph,
    predicted,
    remarks,
)
from edgebench.render.number_format import percent
from edgebench.render.operator_names import short_names
from edgebench.report.html_escape import esc, list_html, section_html, table_html
from edgebench.report.report_model import Report
from edgebench.report.theme import named
from edgebench.units import format_ns

_OPERATORS = 12  # of a table
_NAME = 44  # characters of an operator's name
_WIDTH = 100.0  # of a bar, in its own units
_SHOWN = 6  # kinds with a colour of their own; others are one


def section(report: Report) -> str:
    names = ", ".join(dict.fromkeys(each.workload for each in report.explanations))
    return section_html("why", "Why", names, "".join(map(_explanation, report.explanations)))


def _explanation(found: Explanation) -> str:
    subject = found.subject
    title = f"{found.workload} on {found.machine} · {subject.backend} {subject.label}"
    words = " ".join(paragraph(found))
    told = f"<p><b>{esc(predicted(found, found.prediction))}</b></p>" if found.prediction else ""
    deployments = [each for each in (subject, found.against) if each is not None and each.kinds]
    return (
        f'<div class="card why"><h3>{esc(title)}</h3><p>{esc(words)}</p>{told}{_picture(deployments)}'
        f"{list_html(further(found))}{_operators(subject)}{list_html(remarks(found), 'soft')}</div>"
    )


def _picture(deployments: Sequence[Deployment]) -> str:
    """Bars on one scale, of the kinds of operators that take most of the time."""
    if not deployments:
        return ""
    kinds = _names(deployments)
    longest = max(each.operators_ns for each in deployments) or 1.0
    bars = "".join(_bar(each, kinds, longest) for each in deployments)
    return f"<figure>{bars}<figcaption>{_key(kinds)}</figcaption></figure>"


def _names(deployments: Sequence[Deployment]) -> list[str]:
    """The kinds that get a colour, those that take most first."""
    times: dict[str, float] = {}
    for deployment in deployments:
        for kind in deployment.kinds:
            times[_name(kind)] = times.get(_name(kind), 0.0) + kind.time_ns
    return list(islice(sorted(times, key=lambda name: -times[name]), _SHOWN))


def _name(kind: KindLine) -> str:
    return f"{kind.kind} {kind.type}" if kind.type else kind.kind


def _bar(deployment: Deployment, kinds: Sequence[str], longest: float) -> str:
    label = f"{deployment.label}: {format_ns(deployment.operators_ns)}"
    parts, left = [], 0.0
    sizes = dict.fromkeys((*kinds, ""), 0.0)
    for kind in deployment.kinds:
        sizes[_name(kind) if _name(kind) in kinds else ""] += kind.time_ns
    for name, time_ns in sizes.items():
        if not time_ns:
            continue
        width = time_ns / longest * _WIDTH
        title = f"{name or 'others'}: {format_ns(time_ns)}"
        parts.append(
            f'<rect x="{left:.2f}" y="0" width="{width:.2f}" height="1" '
            f'fill="{_color(kinds, name)}"><title>{esc(title)}</title></rect>'
        )
        left += width
    return (
        f'<p class="bar">{esc(label)}</p><svg viewBox="0 0 {_WIDTH:g} 1" preserveAspectRatio="none" role="img" '
        f'aria-label="{esc(f"Time of operators: {label}")}">{"".join(parts)}</svg>'
    )


def _color(kinds: Sequence[str], name: str) -> str:
    colors, series = named()
    return series[kinds.index(name) % len(series)] if name in kinds else colors["line"]


def _key(kinds: Sequence[str]) -> str:
    names = [*kinds, ""]
    return " ".join(
        f'<span><span style="color:{_color(kinds, name)}">&#9632;</span> {esc(name or "others")}</span>'
        for name in names
    )


def _operators(deployment: Deployment) -> str:
    lines = deployment.operators[:_OPERATORS]
    bound = any_bound(lines)
    head = ("operator", "kind", "in", "time", "quartiles", "share", *["bound by"] * bound)
    names = short_names([operator_name(line) for line in lines], _NAME)
    rows = [
        (
            name,
            line.kind,
            line.type or "-",
            format_ns(line.time_ns),
            f"{format_ns(line.low_ns)} - {format_ns(line.high_ns)}",
            percent(line.share),
            *[line.bound or "-"] * bound,
        )
        for name, line in zip(names, lines, strict=True)
    ]
    return table_html(head, rows, numbers=(3, 4, 5)) if rows else ""
