"""A gate's report as JUnit XML: a test case per cell and metric, for any CI that shows tests."""

from __future__ import annotations

from typing import TextIO
from xml.etree import ElementTree

from edgebench.ab_test.ab_report_types import GateReport, GateRow
from edgebench.gate import verdict_wording as words
from edgebench.text.plain_text import plain


def render(report: GateReport, out: TextIO) -> None:
    """REGRESS is a failure, INVALID an error, INCONCLUSIVE skipped: none of the three is green."""
    cases = list(report.cells)
    suite = ElementTree.Element(
        "testsuite",
        name="edgebench gate",
        tests=str(len(cases) + 1),
        failures=str(_count(cases, "regress")),
        errors=str(_count(cases, "invalid") + (report.verdict == "invalid")),
        skipped=str(sum(_skipped(row) for row in cases) + (report.verdict == "inconclusive")),
        time=f"{report.seconds:.2f}",
    )
    if report.started_utc:  # of stored results nobody knows: an empty one is no XML of JUnit
        suite.set("timestamp", report.started_utc.partition("+")[0])
    overall = ElementTree.SubElement(
        suite, "testcase", classname="edgebench", name="verdict", time=f"{report.seconds:.2f}"
    )
    if report.verdict == "invalid":
        ElementTree.SubElement(
            overall, "error", message=words.verdict_sentence(report), type="invalid"
        )
    elif report.verdict == "inconclusive":
        ElementTree.SubElement(overall, "skipped", message=words.verdict_sentence(report))
    seen = set()
    for row in cases:
        first = row.cell not in seen
        seen.add(row.cell)
        _case(suite, row, row.seconds if first else 0.0)
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    out.write('<?xml version="1.0" encoding="utf-8"?>\n')
    out.write(ElementTree.tostring(root, encoding="unicode") + "\n")


def _case(suite: ElementTree.Element, row: GateRow, seconds: float) -> None:
    case = ElementTree.SubElement(
        suite, "testcase", classname=plain(row.cell), name=row.metric, time=f"{seconds:.2f}"
    )
    text = plain(
        f"{words.change(row.change, row.metric)}, 95 % interval {words.interval(row)}, "
        f"{row.pairs} pairs" + (f": {row.reason}" if row.reason else "")
    )
    if _skipped(row):
        ElementTree.SubElement(case, "skipped", message=f"{row.verdict}: {text}")
    elif row.verdict == "regress":
        ElementTree.SubElement(case, "failure", message=text, type="regress")
    elif row.verdict == "invalid":
        ElementTree.SubElement(case, "error", message=text, type="invalid")
    else:
        ElementTree.SubElement(case, "system-out").text = text


def _skipped(row: GateRow) -> bool:
    return not row.judged or row.verdict == "inconclusive"


def _count(rows: list[GateRow], verdict: str) -> int:
    return sum(row.judged and row.verdict == verdict for row in rows)
