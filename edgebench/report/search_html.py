"""The section of the page on precision searches: the choice, the front, the groups, and why some stay in fp32."""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.report.html_escape import esc, list_html, section_html, table_html
from edgebench.report.report_model import Report, SearchSummary

_NUMBERS = (2, 3, 4, 5)
_UNFOLDED = 6  # groups in fp32 whose table is not folded


def section(report: Report) -> str:
    names = ", ".join(dict.fromkeys(each.workload for each in report.searches))
    explained = {each.workload for each in report.explanations}
    content = "".join(_search(each, each.workload in explained) for each in report.searches)
    return section_html("search-precision", "Search", names, content)


def _search(found: SearchSummary, explained: bool) -> str:
    front, *others = [_picture(each) for each in found.pictures] or [""]
    return (
        f'<div class="card searched"><p class="where">{esc(found.title)}</p>'
        f'<h3 class="deploy{"" if found.safe else " nothing"}">{esc(found.decision[:1].upper() + found.decision[1:])}</h3>'
        f"{list_html(found.doubts, 'warnings')}{front}"
        f"{table_html(found.head, found.rows, _NUMBERS, found.choice)}"
        f"{list_html(found.tested, 'soft')}"
        f"{_why(found, ''.join(others), explained)}"
        f"{list_html(found.notes, 'soft')}</div>"
    )


def _picture(forms: Sequence[str]) -> str:
    """The same drawing twice: the page shows the one that fits. Drawings are made here and hold no foreign markup."""
    wide, narrow = forms
    return f'<figure><div class="wide">{wide}</div><div class="narrow">{narrow}</div></figure>'


def _why(found: SearchSummary, groups: str, explained: bool) -> str:
    if not (found.why or groups):
        return ""
    told = f"<p>{esc(found.why[:1].upper() + found.why[1:])}.</p>" if found.why else ""
    table = table_html(found.kept_head, found.kept, (1, 2, 3, 4)) if found.kept else ""
    if len(found.kept) > _UNFOLDED:
        told = f"{told}{list_html(found.kept_words)}"
        table = (
            f'<details class="numbers"><summary>All of them</summary><div>{table}</div></details>'
        )
    link = '<p><a href="#why">Why it takes its time, operator by operator</a></p>' * explained
    asked = f"<p>Where the time of this map goes:</p><pre>{esc(found.explain)}</pre>"
    return f"<h4>Groups of the network</h4>{groups}{told}{table}{link}{asked * bool(found.explain)}"
