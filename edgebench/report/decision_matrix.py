"""The page's matrix of workloads by devices: which deployment is chosen, how fast it is, and whether that is sure."""

from __future__ import annotations

from edgebench.report.html_escape import esc
from edgebench.report.page_rows import figures_by_name, scenario_name
from edgebench.report.report_model import Figure, Group, Report, ReportRow

_SIGNS = {"clear": "sure", "open": "not sure", "nothing": "no row passed"}


def matrix(report: Report) -> str:
    devices = [device.name for device in report.devices]
    head = "".join(f'<th scope="col">{esc(device)}</th>' for device in devices)
    lines = "".join(
        f'<tr><th scope="row">{esc(group.name)}{_small(scenario_name(group))}</th>'
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


def _speed(report: Report, group: Group, row: ReportRow) -> Figure:
    """The figure of speed by which the group is compared, or what is told in its place."""
    figures = figures_by_name(report, row)
    names = ("items/s", "p50", "p90") if group.x == "rate" else ("p50", "p90", "items/s")
    return next((figures[name] for name in names if figures[name].value), Figure())
