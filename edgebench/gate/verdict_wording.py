"""The wording that all forms of a gate's report share."""

from __future__ import annotations

from edgebench.ab_test.ab_report import cell_verdicts
from edgebench.ab_test.ab_report_types import LATENCIES, QUALITY, GateReport, GateRow
from edgebench.render.number_format import UNKNOWN, quantity
from edgebench.text.plain_text import plain

MEANING = {
    "pass": "no change beyond the tolerance",
    "improve": "head is better",
    "regress": "head is worse",
    "inconclusive": "not enough evidence",
    "invalid": "no valid comparison",
}


def change(share: float | None, metric: str = "") -> str:
    """ "+2.9%", of a quality "-0.015"; "-" where it is unknown."""
    if share is None:
        return "-"
    if metric == QUALITY:
        return f"{share:+.4f}"
    return f"{share:+.2%}" if abs(share) < 0.0995 else f"{share:+.1%}"


def interval(row: GateRow) -> str:
    """ "+2.1% to +3.7%" """
    if row.low is None or row.high is None:
        return "-"
    if row.low == row.high:
        return "exact"
    return f"{change(row.low, row.metric)} to {change(row.high, row.metric)}"


def value(amount: float | None, row: GateRow) -> str:
    """The median of an arm with its unit."""
    return UNKNOWN if amount is None else quantity_of(amount, row.unit)


def quantity_of(amount: float, unit: str) -> str:
    """Formats a value as tables do, but a quality with all digits that its change has."""
    return f"{amount:.4g}" if unit == "1" else quantity(amount, unit)


def verdict(row: GateRow) -> str:
    return row.verdict.upper() if row.judged else f"({row.verdict})"


def cells(row: GateRow) -> list[str]:
    """The cells of a row that its table has in every form: base, head, change, interval, and what it could show."""
    return [
        value(row.base, row),
        value(row.head, row),
        change(row.change, row.metric),
        interval(row),
        "-" if row.mde is None or row.metric == QUALITY else f"{row.mde:.1%}",
    ]


def sides(report: GateReport) -> list[str]:
    """Makes one line per side: what was requested, and what ran. Stored results have none."""
    lines: list[str] = []
    if not report.tests:
        return lines
    for side, asked in (("base", report.base), ("head", report.head)):
        ran = ", ".join(report.runtimes.get(side, []))  # type: ignore[call-overload]
        lines.append(plain(f"{side}: {asked}" + (f" ({ran})" if ran else "")))
    return lines


def verdict_sentence(report: GateReport) -> str:
    """The verdict in one sentence, with what to do where the run itself has a reason."""
    fixes = dict.fromkeys(plain(reason.fix) for reason in report.reasons if reason.fix)
    return summary(report) + "".join(f"; fix: {fix}" for fix in fixes)


def summary(report: GateReport) -> str:
    """The verdict in one sentence: what, where, how much, how sure."""
    word = report.verdict.upper()
    cells = [cell for cell, verdict in cell_verdicts(report).items() if verdict == report.verdict]
    rows = [row for row in report.cells if row.judged and row.verdict == report.verdict]
    total = len({row.cell for row in report.cells})
    of = f"{len(cells)} of {total} cells" if total > 1 else "the cell"
    if report.reasons and report.verdict == "invalid" and not rows:
        return plain(f"{word}: {report.reasons[0].message}")
    if report.verdict == "pass":
        return plain(f"{word}: no regression in {of}{_reach(report)}")
    if not rows:
        why = report.reasons[0].message if report.reasons else MEANING[report.verdict]
        return plain(f"{word}: {why}")
    top = max(rows, key=lambda row: (row.metric in LATENCIES, abs(row.change or 0.0)))
    if report.verdict in ("inconclusive", "invalid"):
        return plain(f"{word}: {of}: {top.cell}: {top.metric}: {top.reason or 'no evidence'}")
    if top.change is None:
        return plain(f"{word}: {of}: {top.cell}: {top.metric}: {top.reason}")
    how = change(top.change, top.metric)
    sure = "" if interval(top) in ("-", "exact") else f" (95%: {interval(top)})"
    why = f": {top.reason}" if top.reason else ""
    return plain(f"{word}: {of}, {top.metric} {how}{sure} in {top.cell}{why}")


def _reach(report: GateReport) -> str:
    """Returns what a PASS speaks for: in how many cells latency was judged, and what it would have shown there."""
    timed = [row for row in report.cells if row.metric in LATENCIES]
    judged = [row for row in timed if row.judged]
    part = f", latency judged in {len({row.cell for row in judged})}"
    worst = [row.mde for row in judged if row.mde is not None]
    reach = f"; changes from {max(worst):.1%} on would have shown" if worst else ""
    return (part if len(judged) < len(timed) else "") + reach


def facts(report: GateReport) -> str:
    """The basis of the numbers: pairs, time, load, error rate."""
    if not report.tests:
        return "stored results: nothing was measured"
    pairs = max((row.pairs for row in report.cells if row.metric in LATENCIES), default=0)
    load = ""
    if len(report.load_1m) == 2:
        load = f"; load {report.load_1m[0]:.1f} to {report.load_1m[1]:.1f}"
    canary = ""
    known = [row for row in report.canary if row.change is not None]
    if known:
        canary = "; canary " + ", ".join(f"{row.change:+.2%}" for row in known)
    beside, rate = "", f"{100 * report.alpha:.4g}%"
    if report.cells_tested:
        beside = f", in {rate} each by memory and by energy ({report.cells_tested} cells)"
    return (
        f"up to {pairs} pairs of processes a cell in {report.seconds:.0f} s{load}{canary}; a false "
        f"REGRESS in at most {rate} of runs by latency ({report.tests} tests){beside}"
    )
