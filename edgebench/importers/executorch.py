"""ExecuTorch: the events of an ETDump as the Inspector gives them, `to_dataframe().to_csv(...)` or `print_data_tabular`.

A row is the method's execution (`Method::execute`) of an event block. The CSV holds the raw times of every run, the
printed table their percentiles. An ETDump file itself is binary: the Inspector reads it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgebench import stats
from edgebench.importers import _source
from edgebench.record import Record

TOOL = "executorch"
SUMMARY = "ExecuTorch: the Inspector's events of an ETDump, as CSV or as it prints them"

_NEEDS = ("event_block_name", "event_name")
_WHOLE = "Method::execute"
_UNITS_NS = {"ns": 1.0, "us": 1e3, "ms": 1e6, "s": 1e9}
_TIME = re.compile(r"(p10|p50|p90|avg|min|max) \((\w{1,2})\)")
_FIX = "inspector.to_dataframe(include_units=True).to_csv(FILE)"


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each execution of a method. Raises StoreError where the file is malformed."""
    printed = source.csv_head(_NEEDS) is None
    rows = list(_printed(source) if printed else source.csv_rows(_NEEDS))
    times = (
        value for _, row in rows for name, value in row.items() if _TIME.fullmatch(name.strip())
    )
    source = source.with_mark_of(times, () if printed else _NEEDS)
    wholes = [(line, row) for line, row in rows if row["event_name"].strip() == _WHOLE]
    if not wholes:
        source.bad(f"no event {_WHOLE} in it", 1, f"give the file of {_FIX}")
    records = [
        _record(source, line, number, row, len(rows))
        for number, (line, row) in enumerate(wholes, start=1)
    ]
    return _source.Imports(records, _source.unnamed_note(records))


def _printed(source: _source.SourceFile) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows of a table as tabulate draws it, with bars of any kind between its columns."""
    head: list[str] = []
    for line, text in enumerate(source.lines, start=1):
        cells = [cell.strip() for cell in re.split(r"[│|]", text.strip().strip("│|"))]
        if all(name in cells for name in _NEEDS):
            head = cells
        elif head and len(cells) == len(head):
            yield line, dict(zip(head, cells, strict=True))


def _record(
    source: _source.SourceFile, line: int, number: int, row: Mapping[str, str], events: int
) -> Record:
    times = {found[1]: (name, found[2]) for name in row if (found := _TIME.fullmatch(name.strip()))}
    raw = _source.cell_value(row.get("raw", ""))
    units = {unit for _, unit in times.values()}
    unit = _UNITS_NS.get(next(iter(units))) if len(units) == 1 else None
    if unit is None:
        source.bad("the columns of times name no unit", line, f"give the file of {_FIX}")
    reported = _source.Reported(
        statistic={"latency.p50": "p50 over the runs that the ETDump holds"},
        notes=["profiling was on while it ran"],
    )
    if isinstance(raw, list) and raw:
        reported.samples_ns = source.samples_ns(raw, "raw", line, unit)
    else:
        name = times["p50"][0] if "p50" in times else ""
        if not name:
            source.bad("neither raw times nor p50 in it", line, f"give the file of {_FIX}")
        reported.values["latency.p50"] = source.nanoseconds(row[name], "p50", line, unit)
        needed = stats.min_samples(900)
        reported.unknown["latency_ns.p90"] = (
            f"needs {needed} runs, and the table does not tell how many there were"
        )
    named = _source.model_of(source, None, number)
    content: dict[str, Any] = {
        key: _source.cell_value(value) for key, value in row.items() if key and key != "raw"
    }
    return _source.make_record(
        source,
        source.origin(TOOL, {**content, "events": events}, line),
        named.cell(
            "executorch",
            "ExecuTorch",
            {"event_block": row["event_block_name"].strip() or _source.UNKNOWN},
        ),
        reported,
    )
