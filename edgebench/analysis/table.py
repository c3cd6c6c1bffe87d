"""Builds the trade-off table from records. It needs no runtime, so any machine can read old results."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from edgebench.analysis import ties
from edgebench.analysis.defaults import SURE
from edgebench.analysis.fp32_baseline import with_baselines
from edgebench.analysis.per_row.device_limits import limit_words
from edgebench.analysis.per_row.row_from_record import row_of
from edgebench.analysis.per_row.validity import flag_flat_scaling, judge
from edgebench.analysis.precision_pairs import not_faster
from edgebench.analysis.round_blocks import with_blocks
from edgebench.analysis.table_decisions import with_decisions
from edgebench.analysis.table_types import Device, Row, Run, Table
from edgebench.energy.cell_energy import notes as energy_notes
from edgebench.record import Record
from edgebench.words import note_words


def build_table(
    records: Iterable[Record], prefer: Sequence[str] = ties.DEFAULT, confidence: float = SURE
) -> Table:
    """The table of all records, rows in their order; records may stream by, one at a time.

    `prefer` is the rule that decides between deployments that are not told apart, `confidence` that of
    what is called sure.
    """
    devices: dict[str, Device] = {}
    runs: dict[str, Run] = {}
    rows: list[Row] = []
    notes: dict[str, None] = {}  # an ordered set
    for place, record in placed(records):
        rows[place : place + 1] = [judge(row_of(record), record)]
        _note_device(devices, record, notes)
        _note_limits(record, notes)
        _note_reference(record, notes)
        if record.run.id not in runs:
            runs[record.run.id] = _run_of(record)
    rows = with_baselines(with_blocks(flag_flat_scaling(rows)))
    states = {run.id: run.state for run in runs.values()}
    rows, fronts, picks = with_decisions(rows, states, prefer, confidence)
    return Table(
        device=next(iter(devices.values())) if len(devices) == 1 else None,
        devices=list(devices.values()),
        runs=list(runs.values()),
        rows=rows,
        fronts=fronts,
        picks=picks,
        notes=[*notes, *_notes(rows, list(runs.values()))],
    )


def placed(records: Iterable[Record]) -> Iterator[tuple[int, Record]]:
    """Records with the place of their row in the table. One with the energy of an external meter takes
    the place of the same cell without it: `energy attach` writes it beside its run."""
    places: dict[tuple[str, str, str], int] = {}  # the first of each run's cell
    external: list[bool] = []  # of each place
    for record in records:
        metered = record.energy.kind == "measured_external"
        place = places.setdefault(
            (record.device.name, record.run.id, record.cell.id), len(external)
        )
        if place == len(external) or metered == external[place]:
            external.append(metered)
            yield len(external) - 1, record
        elif metered:
            external[place] = True
            yield place, record


def _note_device(devices: dict[str, Device], record: Record, notes: dict[str, None]) -> None:
    device = record.device
    known = devices.get(device.name)
    if known is None:
        devices[device.name] = msgspec.convert(device, Device, from_attributes=True)
    elif known.facts != device.facts:
        names = known.facts.keys() | device.facts.keys()
        changed = sorted(n for n in names if known.facts.get(n) != device.facts.get(n))
        notes[note_words.facts_differ(device=device.name, names=", ".join(changed))] = None


def _note_reference(record: Record, notes: dict[str, None]) -> None:
    """Quality that passed and has a reason was held against another reference than usual."""
    quality = record.quality
    if quality is not None and quality.passed and quality.reason:
        notes[f"{record.cell.title}: {quality.reason}"] = None


def _note_limits(record: Record, notes: dict[str, None]) -> None:
    declared = record.device.declared
    if declared is not None and declared.limits:
        limits = ", ".join(limit_words(name, value) for name, value in declared.limits.items())
        device = record.device.name
        notes[note_words.device_limits(device=device, entry=declared.entry, limits=limits)] = None


def _run_of(record: Record) -> Run:
    run = record.run
    return Run(
        id=run.id,
        device=record.device.name,
        started_utc=run.started_utc,
        edgebench=run.edgebench,
        python=run.python,
        settings=run.settings,
        command=run.command,
        seed=run.seed,
        packages_sha256=run.packages_sha256,
        state=record.state_before,
    )


def _imported_notes(rows: Sequence[Row]) -> list[str]:
    """Yields notes that rows come from other tools, and what holds for all rows of one tool."""
    by_tool: dict[str, list[Row]] = {}
    for row in rows:
        if row.imported is not None:
            by_tool.setdefault(row.imported.tool, []).append(row)
    notes = []
    for tool, members in by_tool.items():
        shared = set.intersection(*(set(row.imported.notes) for row in members if row.imported))
        notes.append(note_words.reported_rows(len(members), tool))
        notes += [f"{tool}: {note}" for note in sorted(shared)]
        notes += [
            f"{finding.device}, {finding.workload}, {finding.scenario}: {finding.text}"
            for finding in not_faster(members)
        ]
    return notes


def _notes(rows: Sequence[Row], runs: Sequence[Run]) -> list[str]:
    notes = _imported_notes(rows)
    if len(runs) > len({run.device for run in runs}):
        notes.append(note_words.RUNS_OF_ONE_DEVICE)
    if any(
        row.imported is None and row.latency_ns.replicates > 1 and not row.rounds for row in rows
    ):
        notes.append(note_words.NO_ROUNDS)
    return [*notes, *energy_notes([row.energy for row in rows])]
