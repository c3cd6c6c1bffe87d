"""Turns the cells of an A/B into its report: rows, the canary and one verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgebench.ab_test.ab_report_types import LATENCIES, CellCase, GateReport, GateRow
from edgebench.ab_test.cell_verdict import mismatch, percentiles, rows
from edgebench.ab_test.pair_record import SIDES, Pair, Side
from edgebench.ab_test.verdict import PRECEDENCE, Rules, Verdict, overall
from edgebench.words.reason_words import reason

if TYPE_CHECKING:
    from edgebench.ab_test.ab_runner import ABCell


def rules_of(cases: Sequence[CellCase], alpha: float) -> Rules:
    """The rules for these cells: two clocks of every one whose latency is judged share the error rate,
    and memory of all, since that of no cell is only shown."""
    cells = [case for case in cases if not case.canary]
    timed = [case for case in cells if not case.report_only]
    return Rules(tests=max(1, len(timed) * len(LATENCIES)), cells=max(1, len(cells)), alpha=alpha)


def build_report(ab_cells: Sequence[ABCell], rules: Rules, **facts: Any) -> GateReport:
    """The report; `facts` are further fields of `GateReport`."""
    measured: list[GateRow] = []
    canary: list[GateRow] = []
    broken = False  # the canary did not come to its pairs, or they cannot be compared
    for cell in ab_cells:
        cell_rows = rows(cell.case, cell.pairs, rules, cell.seconds, cell.failure)
        if cell.case.canary and not any(other.measured for other in ab_cells):
            continue  # nothing was measured that it could speak for
        if cell.case.canary:
            canary += [row for row in cell_rows if row.metric in LATENCIES]
            broken = (cell.failure or mismatch(cell.case, cell.pairs)) is not None
        else:
            measured += cell_rows
    judged = [row.verdict for row in measured if row.judged]
    reasons = list(facts.pop("reasons", []))
    if bad := [row for row in canary if row.verdict == "invalid"]:
        few = bad[0].pairs < rules.least
        key = "canary" if broken else "canary.few_pairs" if few else "canary.noise"
        reasons.insert(0, reason(key, metric=bad[0].metric, why=bad[0].reason))
    verdict = overall(judged, [row.verdict for row in canary])
    shown_only = {row.cell for row in measured if not row.judged and row.metric in LATENCIES}
    if shown_only:
        reasons.append(reason("report_only", cells=len(shown_only)))
    if verdict in ("pass", "improve") and not any(
        row.judged and row.metric in LATENCIES for row in measured
    ):
        verdict = "inconclusive"  # sizes alone are no answer to whether it got slower
    pairs = [pair for cell in ab_cells for pair in cell.pairs]
    loads = [pair.load_1m for pair in pairs]
    return GateReport(
        verdict=verdict,
        cells=measured,
        canary=canary,
        percentiles=[
            part
            for cell in ab_cells
            if not cell.case.canary
            for part in percentiles(cell.case, cell.pairs)
        ],
        reasons=reasons,
        alpha=rules.alpha,
        tests=rules.tests,
        cells_tested=rules.cells,
        load_1m=[min(loads), max(loads)] if loads else [],
        runtimes={side: _runtimes(pairs, side) for side in SIDES} if pairs else {},
        **facts,
    )


def cell_verdicts(report: GateReport) -> dict[str, Verdict]:
    """The worst judged verdict of each cell that has one, in the order of the report."""
    found: dict[str, list[Verdict]] = {}
    for row in report.cells:
        if row.judged:
            found.setdefault(row.cell, []).append(row.verdict)
    return {cell: next(v for v in PRECEDENCE if v in verdicts) for cell, verdicts in found.items()}


def _runtimes(pairs: Sequence[Pair], side: Side) -> list[str]:
    names: dict[str, None] = {}
    for pair in pairs:
        arm = pair.arm(side)
        if arm.effective is not None:
            names[arm.effective.runtime or arm.runtime] = None
    return list(names)
