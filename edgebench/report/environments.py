"""Finds what differs between the devices of a report, or between the runs of one device."""

from __future__ import annotations

from edgebench.analysis.per_row.environment_differences import RunEnvironments, differences
from edgebench.report.report_model import Difference
from edgebench.text.plain_text import plain

_MAX_COLUMNS = 8  # places side by side


def compared(environments: RunEnvironments) -> tuple[list[str], list[Difference], str]:
    """Names of the places, what differs between them, and what was left out."""
    places = list(environments.of_run)[:_MAX_COLUMNS]
    rest = len(environments.of_run) - len(places)
    topics = differences([environments.of_run[place] for place in places])
    several = len({device for device, _ in places}) > 1
    names = [device if several else f"run {run}" for device, run in places]
    if len(set(names)) < len(names):
        names = [f"{device}, run {run}" for device, run in places]
    rows = [
        Difference(
            topic=each.topic,
            name=plain(each.name),
            values=[plain("; ".join(values)) or "not told" for values in each.values],
        )
        for each in topics
    ]
    note = f"{rest} further runs are not compared here" if rest > 0 else ""
    return [plain(name) for name in names], rows, note
