"""The rows of a report that generate text, by runtime, precision and threads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from edgebench.analysis.per_row.row_labels import setting
from edgebench.analysis.table_types import Row, Table
from edgebench.report.report_model import Decoder, DecoderTable, Report, ReportRow
from edgebench.text.plain_text import plain

_HEAD = ("runtime", "precision", "threads", "tokens")
#: What tables call the place of a row.
FRONTS = {"yes": "front", "undecided": "undecided", "no": "dominated", "struck": "struck"}
#: Facts of a row that the table of decoders shows, in its order.
COLUMNS = (
    "TTFT", "TPOT", "decode tokens/s", "prefill tokens/s", "memory", "perplexity", "agreement"
)  # fmt: skip
_SCENARIO = "generate"
_OWN_COLUMN = ("precision", "threads", "prompt_tokens", "new_tokens")


def decoders_of(table: Table, order: Sequence[int]) -> list[DecoderTable]:
    """A table for each workload of the scenario `generate`; rows that could not run are in it.

    `order` is that of the rows in the report: by what was asked for, and within it by merit.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for index in order:
        row = table.rows[index]
        if row.scenario == _SCENARIO:
            members[f"{row.workload}@{row.workload_version}"].append(index)
    return [_table(table, name, indices) for name, indices in sorted(members.items())]


def head_of(table: DecoderTable) -> tuple[str, ...]:
    """Columns that say what ran: the tokens of a request only where they vary."""
    return _HEAD if len({decoder.tokens for decoder in table.decoders}) > 1 else _HEAD[:-1]


def cells_of_head(table: DecoderTable, decoder: Decoder) -> tuple[str, ...]:
    """Parallel to `head_of`."""
    cells = (decoder.runtime, decoder.precision, decoder.threads, decoder.tokens)
    return cells[: len(head_of(table))]


def facts_of(report: Report, row: ReportRow) -> list[str]:
    """Parallel to COLUMNS."""
    facts = dict(zip(report.fact_names, row.facts, strict=True))
    return [facts.get(name) or "-" for name in COLUMNS]


def state_of(row: ReportRow) -> str:
    return "choice" if row.pick else FRONTS[row.front]


def _table(table: Table, name: str, members: Sequence[int]) -> DecoderTable:
    several = len({table.rows[index].device for index in members}) > 1
    axes = _further_axes([table.rows[index] for index in members])
    decoders = [_decoder(index, table.rows[index], axes, several) for index in members]
    tokens = {decoder.tokens for decoder in decoders}
    title = f"{name}, {tokens.pop()} tokens" if len(tokens) == 1 else name
    return DecoderTable(name=plain(title), decoders=decoders)


def _further_axes(rows: Sequence[Row]) -> list[str]:
    """Axes that vary and have no column."""
    axes = sorted({axis for row in rows for axis in row.variant if axis not in _OWN_COLUMN})
    return [axis for axis in axes if len({repr(row.variant.get(axis)) for row in rows}) > 1]


def _decoder(index: int, row: Row, axes: Sequence[str], several: bool) -> Decoder:
    further = [setting(axis, row.variant[axis]) for axis in axes if axis in row.variant]
    precision = ", ".join([str(row.variant.get("precision", "as-is")), *further])
    return Decoder(
        row=index,
        runtime=plain(f"{row.backend} on {row.device}" if several else row.backend),
        precision=plain(precision),
        threads=plain(str(row.variant.get("threads", "-"))),
        tokens=plain(
            f"{row.variant.get('new_tokens', '?')} after {row.variant.get('prompt_tokens', '?')}"
        ),
    )
