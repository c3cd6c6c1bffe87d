"""Holds what several sections of the page, and the Markdown, say of rows and groups in the same form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from edgebench.render.table_markdown import escape
from edgebench.report.html_escape import esc
from edgebench.report.report_model import Figure, Group, Report, ReportRow

_BOUNDS = {"higher": "at least", "lower": "at most"}


def demanded(group: Group) -> str:
    """ "top1_10crop at least 0.85, accuracy_whole at least 0.98"."""
    return ", ".join(
        f"{demand.metric} {_BOUNDS[demand.better]} {demand.bound:g}" for demand in group.demands
    )


def scenario_name(group: Group) -> str:
    """The scenario; "" of the usual one."""
    return "" if group.scenario == "single_stream" else group.scenario


def figures_by_name(report: Report, row: ReportRow) -> dict[str, Figure]:
    return dict(zip(report.figure_names, row.figures, strict=True))


def figure_html(figure: Figure) -> str:
    """The spread or the change smaller than the value it belongs to."""
    beside = f" <small>{esc(figure.beside)}</small>" if figure.beside else ""
    return f"{esc(figure.value or '-')}{beside}"


def because(row: ReportRow) -> str:
    """Says why a row does not compete."""
    return "; ".join(each.words for each in row.because)


def because_in_short(row: ReportRow) -> str:
    """The first reason, and how many there are besides; the record and the list of struck rows hold all."""
    rest = len(row.because) - 1
    more = f", and {rest} more reason{'s' * (rest != 1)}" if rest > 0 else ""
    return row.because[0].words + more


def unsupported(rows: Iterable[tuple[ReportRow, str]]) -> str:
    """Rows that could not run and their names: one line of each backend, which and why folded."""
    backends: dict[str, dict[str, list[str]]] = {}
    for row, name in rows:
        if row.status == "unsupported":
            names = backends.setdefault(row.backend, {}).setdefault(because(row), [])
            names.append(name)
    return "".join(_unable(backend, names) for backend, names in backends.items())


def _unable(backend: str, names: Mapping[str, Sequence[str]]) -> str:
    items = "".join(
        f'<li>{esc(why)} <span class="soft">{esc(", ".join(same))}</span></li>'
        for why, same in names.items()
    )
    count = sum(map(len, names.values()))
    words = f"{backend}: {count} variant{'s' * (count != 1)} unsupported"
    return f'<details class="unable"><summary>{esc(words)}</summary><ul>{items}</ul></details>'


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Sequence[int] = ()
) -> Iterator[str]:
    """The lines of a table with an empty one behind it; `numbers` are the columns set right."""
    yield f"| {' | '.join(map(escape, head))} |"
    yield "|" + "".join("--:|" if n in numbers else "---|" for n in range(len(head)))
    for row in rows:
        yield f"| {' | '.join(map(escape, row))} |"
    yield ""
