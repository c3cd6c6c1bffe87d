"""The sections of the page on language models: the table of decoders, and test-time scaling.

Both are left out where no row generates text. html/scalings.js draws the charts into their places.
"""

from __future__ import annotations

from collections.abc import Sequence

from edgebench.report.decoder_rows import COLUMNS, cells_of_head, facts_of, head_of, state_of
from edgebench.report.html_escape import esc, list_html, section_html, table_html
from edgebench.report.page_rows import because_in_short, figure_html, unsupported
from edgebench.report.report_model import Decoder, DecoderTable, Report
from edgebench.scaling.scaling_rows import CostFit, ScalingCell, ScalingGroup

_LEGEND = (
    '<p class="soft">TTFT: to the first token, prompt included; TPOT: for each token after it; '
    "±: half the 95 % interval over processes; agreement: share of tokens that the fp32 reference "
    "chooses as well; as-is: the blocks of the file as they are.</p>"
)


def sections(report: Report) -> str:
    tables = "".join(_decoders(report, table) for table in report.decoders)
    names = ", ".join(table.name for table in report.decoders)
    decoders = section_html("decoders", "Language models", names, tables and tables + _LEGEND)
    groups = "".join(_scaling(report, n, group) for n, group in enumerate(report.scalings))
    names = ", ".join(dict.fromkeys(group.name for group in report.scalings))
    return decoders + section_html("scaling", "What more tokens and votes bring", names, groups)


# --- runtimes, precisions, threads


def _decoders(report: Report, table: DecoderTable) -> str:
    """Rows by merit with their figures; unsupported variants below, a line for each backend."""
    head = (*head_of(table), *COLUMNS, "state")
    heads = "".join(f'<th scope="col"{_class(words)}>{esc(words)}</th>' for words in head)
    able = [each for each in table.decoders if report.rows[each.row].status != "unsupported"]
    lines = "".join(_decoder(report, head, cells_of_head(table, each), each) for each in able)
    folded = unsupported(
        (report.rows[each.row], ", ".join(cells_of_head(table, each)[1:]))
        for each in table.decoders
    )
    return (
        f'<div class="card decoders"><h3>{esc(table.name)}</h3>'
        f'<div class="scroll" tabindex="0"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>{folded}</div>"
    )


def _class(column: str) -> str:
    return ' class="number"' if column in (*COLUMNS, "threads") else ""


def _decoder(report: Report, head: Sequence[str], names: Sequence[str], decoder: Decoder) -> str:
    """Its line, and below it why it is struck."""
    row = report.rows[decoder.row]
    figures = dict(zip(report.figure_names, row.figures, strict=True))
    facts = dict(zip(COLUMNS, facts_of(report, row), strict=True))
    values = [
        *map(esc, names),
        *(figure_html(figures[n]) if n in figures else esc(facts[n]) for n in COLUMNS),
        esc(state_of(row)),
    ]
    cells = "".join(
        f"<td{_class(name)}>{words}</td>" for name, words in zip(head, values, strict=True)
    )
    line = f'<tr class="{row.front}{" choice" if row.pick else ""}">{cells}</tr>'
    if not row.because:
        return line
    why = esc(because_in_short(row))
    return f'{line}<tr class="because"><td colspan="{len(head)}"><p>{why}</p></td></tr>'


# --- token budgets and votes


def _scaling(report: Report, number: int, group: ScalingGroup) -> str:
    where = f" on {group.device}" if len(report.devices) > 1 else ""
    picks = table_html(
        ("within", "most accurate"), ((pick.within, pick.text) for pick in group.picks)
    )
    cells = "".join(_cell(report, number, n, cell) for n, cell in enumerate(group.cells))
    return (
        f'<figure class="chart"><h3>{esc(group.name + where)}</h3>'
        f'<div id="chart-scaling-{number}" class="plot"></div>'
        '<figcaption class="soft">Labels of the front: tokens of a budget &times; votes. Bars are 95 % '
        "intervals with the problem as their unit; pale points are off the front.</figcaption></figure>"
        f'<div class="card"><h3>The most accurate within a time</h3>{picks}</div>{cells}'
    )


def _cell(report: Report, number: int, place: int, cell: ScalingCell) -> str:
    head = ("", *report.scaling_names)
    points = table_html(
        head,
        (("*" if point.front else "", *point.cells) for point in cell.points),
        range(1, len(head)),
    )
    fits = "".join(_fit(f"fit-{number}-{place}-{n}", fit) for n, fit in enumerate(cell.fits))
    agreement = f'<p class="soft">{esc(cell.agreement)}</p>' if cell.agreement else ""
    return (
        f'<div class="chart"><h3>{esc(cell.label)}</h3><p class="soft">{esc(cell.asked)}</p>'
        f'{list_html(cell.doubts, "warnings")}<details class="numbers"><summary>Numbers of every budget'
        f"</summary>{points}</details>{agreement}"
        f'<details class="fits"><summary>What a prompt and a step cost</summary>'
        f'<div class="pair">{fits}</div></details></div>'
    )


def _fit(name: str, fit: CostFit) -> str:
    rows = (
        (
            f"{point.tokens:g}",
            f"{point.measured_ms:.4g}",
            f"{point.fitted_ms:.4g}",
            f"{point.measured_ms - point.fitted_ms:+.3g}",
        )
        for point in fit.points
    )
    head = ("tokens", "measured (ms)", "fitted (ms)", "left over (ms)")
    numbers = (
        f'<details class="numbers"><summary>Numbers</summary>{table_html(head, rows, range(4))}</details>'
        if fit.points
        else ""
    )
    return (
        f'<figure><h4>{esc(fit.name)}</h4><div id="chart-{name}" class="plot"></div>'
        f'<figcaption class="soft">{esc(fit.words)}</figcaption>{numbers}</figure>'
    )
