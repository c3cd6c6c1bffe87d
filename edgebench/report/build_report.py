"""Builds the model of a report in one pass over the records; samples are condensed at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from edgebench import __version__
from edgebench.analysis import ties
from edgebench.analysis.per_row.environment_differences import RunEnvironments
from edgebench.analysis.per_row.row_labels import labels
from edgebench.analysis.table import build_table, placed
from edgebench.analysis.table_types import Row, Run, Table
from edgebench.calibration import Calibration
from edgebench.explain.explanation import Explanation
from edgebench.explain.stored_rows import profiled_rows
from edgebench.record import OperatorProfile, Record
from edgebench.render import table_wording
from edgebench.report import reproduce_command, row_facts
from edgebench.report.budget_curves import budget_curves_of
from edgebench.report.chart_samples import PROBABILITIES, Trace, detail_of, traces
from edgebench.report.decoder_rows import decoders_of
from edgebench.report.environments import compared
from edgebench.report.rate_curves import curves_of
from edgebench.report.report_groups import Block, group_of, grouped, speed_of
from edgebench.report.report_model import Because, Detail, Device, Report, ReportRow, SearchSummary
from edgebench.roofline.roofline_rows import roofs_of
from edgebench.scaling.scaling_rows import SCALING_NAMES, Answers, scalings_of
from edgebench.text.plain_text import plain

Calibrations = Callable[[Sequence[str]], Sequence[Calibration]]

#: Rows whose samples a report holds: some 2 kB each. Picks and fronts come first.
MAX_DETAILS = 400


def build_report(
    records: Iterable[Record],
    sources: Sequence[str],
    calibrations: Calibrations = lambda devices: (),
    max_details: int = MAX_DETAILS,
    prefer: Sequence[str] = ties.DEFAULT,
    explanations: Sequence[Explanation] = (),
    searches: Sequence[SearchSummary] = (),
) -> Report:
    """The report of all records; `sources` are the names of their files.

    `prefer` is the rule that decides between deployments that are not told apart; `explanations` say why some
    of them take their time, as records do that keep times of operators. `searches` are those that made the maps
    of mixed precision among the rows: they tell how many groups each has in int8.

    `calibrations` finds the ceilings of devices by their names, for the roofline.
    """
    kept: dict[int, list[Trace]] = {}
    profiles: dict[tuple[str, str], OperatorProfile] = {}
    answers = Answers()
    places = RunEnvironments()
    table = build_table(places.noting(answers.noting(_watched(records, kept, profiles))), prefer)
    blocks = grouped(table)
    place = {
        row: number
        for number, each in enumerate(blocks.values())
        for _, _, members in each
        for row in members
    }
    names = _names(table, blocks.values(), searches)
    picked = {pick.row for pick in table.picks if pick.row is not None}
    runs = {run.id: run for run in table.runs}
    speeds = [
        speed_of([table.rows[index] for _, _, members in each for index in members])
        for each in blocks.values()
    ]
    roofs, roof_points, roof_unknown = roofs_of(
        table.rows, calibrations([device.name for device in table.devices])
    )
    names_of_places, differences, further = compared(places)
    details = _details(table, picked, kept, max_details)
    rows = [
        ReportRow(
            group=place[index],
            label=names[index],
            pick=index in picked,
            on_front=row.pareto is True,
            numbers=row_facts.numbers(row, speeds[place[index]]),
            figures=row_facts.figures(row),
            detail=details.get(index),
            **_front(row),
            **_remarks_of(row, runs[row.run]),
        )
        for index, row in enumerate(table.rows)
    ]
    groups = [group_of(table, each, names) for each in blocks.values()]
    return Report(
        title=_title(table),
        edgebench=__version__,
        sources=[plain(source) for source in sources],
        measured=_measured(table.runs),
        devices=[_device(table, device.name) for device in table.devices],
        groups=groups,
        fact_names=row_facts.NAMES,
        figure_names=row_facts.FIGURE_NAMES,
        rows=rows,
        probabilities=PROBABILITIES,
        places=names_of_places,
        differences=differences,
        roofs=roofs,
        roof_points=roof_points,
        roof_unknown=roof_unknown,
        decoders=decoders_of(table, [index for group in groups for index in group.rows]),
        scalings=scalings_of(table, answers),
        rate_curves=curves_of(table.rows, names),
        budget_curves=budget_curves_of(table.rows),
        explanations=[*explanations, *profiled_rows(table.rows, profiles)],
        searches=list(searches),
        scaling_names=SCALING_NAMES,
        notes=[plain(note) for note in (*table.notes, further) if note],
        details_left_out=_left_out(table, details),
    )


def _watched(
    records: Iterable[Record],
    kept: dict[int, list[Trace]],
    profiles: dict[tuple[str, str], OperatorProfile],
) -> Iterator[Record]:
    """The records as they pass by; of each row's its samples are kept, and its operators."""
    for place, record in placed(records):
        kept[place] = traces(record)
        if record.profile is not None:
            profiles[record.run.id, record.cell.id] = record.profile
        yield record


def _names(
    table: Table, blocks: Iterable[Sequence[Block]], searches: Sequence[SearchSummary]
) -> list[str]:
    """Labels as the table gives them: within the rows of a device that compete. A map's tells its groups."""
    names = [""] * len(table.rows)
    groups = {precision: told for each in searches for precision, told in each.groups.items()}
    for each in blocks:
        for _, _, members in each:
            words = labels([table.rows[index] for index in members])
            for index, name in zip(members, words, strict=True):
                told = groups.get(str(table.rows[index].variant.get("precision")))
                names[index] = plain(name if told is None else f"{name} ({told})")
    return names


def _details(
    table: Table, picked: set[int], kept: Mapping[int, Sequence[Trace]], limit: int
) -> dict[int, Detail]:
    """Returns details of picks first, then of fronts, then of other ranked rows, then of the rest."""

    def priority(index: int) -> tuple[bool, bool, bool]:
        row = table.rows[index]
        return index not in picked, not row.pareto, not row.ranked

    order = sorted((index for index, each in kept.items() if each), key=priority)
    details = {index: detail_of(kept[index]) for index in order[:limit]}
    return {index: detail for index, detail in details.items() if detail is not None}


def _left_out(table: Table, details: dict[int, Detail]) -> str:
    sampled = sum(bool(row.latency_ns.samples) for row in table.rows)
    if sampled <= len(details):
        return ""
    return (
        f"samples are shown for {len(details)} of {sampled} rows (picks and fronts first), to keep "
        "this page small; report fewer files to see those of the others"
    )


def _remarks_of(row: Row, run: Run) -> dict[str, Any]:
    """Returns what a row says of itself."""
    command, note = reproduce_command.command(row, run)
    return {
        "id": plain(row.id),
        "device": plain(row.device),
        "backend": plain(row.backend),
        "precision": plain(str(row.variant.get("precision", "as-is"))),
        "status": row.status,
        "facts": row_facts.values(row),
        "why": "" if row.ranked else table_wording.reasons(row),
        "because": [] if row.ranked else _because(row),
        "fix": plain("; ".join(filter(None, (reason.fix for reason in row.reasons)))),
        "command": plain(command),
        "command_note": note,
        "energy_kind": plain(row.energy.kind),
    }


def _because(row: Row) -> list[Because]:
    return [
        Because(code=plain(reason.code), words=plain(reason.message), fix=plain(reason.fix))
        for reason in row.reasons
    ] or [Because(code=row.status, words="no reason was recorded")]


def _front(row: Row) -> dict[str, Any]:
    """Whether the row is on the front, how probably, and why it does not compete."""
    if not row.ranked:
        return {"front": "struck"}
    if row.front is None:
        return {"front": "undecided", "front_note": plain(row.unknown["front"])}
    return {"front": row.front, "probability": row.front_probability}


def _device(table: Table, name: str) -> Device:
    return Device(
        name=plain(name),
        line=table_wording.device_line(table, name),
        warnings=table_wording.state_lines(table, name),
    )


def _title(table: Table) -> str:
    workloads = sorted({row.workload for row in table.rows})
    if len(workloads) > 3:
        return f"{len(workloads)} workloads on {_devices(table)}"
    return plain(f"{', '.join(workloads) or 'No records'} on {_devices(table)}")


def _devices(table: Table) -> str:
    names = [device.name for device in table.devices]
    return names[0] if len(names) == 1 else f"{len(names)} devices"


def _measured(runs: Sequence[Run]) -> str:
    """When, in how many runs, and by which versions."""
    if not runs:
        return ""
    days = sorted(run.started_utc[:10] for run in runs if run.started_utc[:1].isdigit())
    if not days:
        return "results of another tool" if len(runs) == 1 else f"{len(runs)} files of other tools"
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    versions = ", ".join(sorted({run.edgebench for run in runs if run.edgebench}))
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    return plain(f"measured {when} in {count}" + (f" by edgebench {versions}" * bool(versions)))
