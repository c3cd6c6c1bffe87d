"""`edgebench import`: results of other tools as records."""

from __future__ import annotations

from pathlib import Path

import click

from edgebench.errors import StoreError, UsageError
from edgebench.files.atomic_write import whole_file
from edgebench.importers import reader
from edgebench.importers._source import UNKNOWN, open_source
from edgebench.record import Record, encode
from edgebench.store import check_readable
from edgebench.text.number_parsing import MARKS
from edgebench.text.plain_text import plain, say


@click.command("import")
@click.argument("tool", metavar="TOOL")
@click.argument("file", type=Path)
@click.option("--out", "-o", required=True, type=Path, help="The result file to write.")
@click.option("--device", help="Name of the device that the file is of.")
@click.option("--model", help="Name of the model that the file is of, where it names none.")
@click.option(
    "--decimal",
    type=click.Choice(list(MARKS)),
    help="The decimal mark, where the file proves none.",
)
@click.option("--force", is_flag=True, help="Replace the result file if there is one.")
def command(
    tool: str,
    file: Path,
    out: Path,
    device: str | None,
    model: str | None,
    decimal: str | None,
    force: bool,
) -> None:
    """Turn a result file of another tool into records that stand in the same tables.

    Numbers stay that tool's word: they have no interval unless the file holds samples, and what it
    does not tell is unknown, with the reason.

    \b
    mlperf             tables of MLPerf Inference or MLPerf Tiny (.csv, .csv.gz)
    llama-bench        -o json, jsonl, csv, sql or md
    trtexec            the log, --exportTimes or --exportProfile
    benchmark_app      the console log, or its report as CSV or JSON
    optimum-benchmark  benchmark_report or benchmark, as .json or .csv
    """
    read = reader(tool)
    device, model = (plain(name) if name else None for name in (device, model))
    arguments = ["edgebench", "import", tool, file.name, "-o", out.name]
    if device:
        arguments += ["--device", device]
    if model:
        arguments += ["--model", model]
    if decimal:
        arguments += ["--decimal", decimal]
    imports = read(open_source(file, arguments, model or "", MARKS.get(decimal or "", "")))
    records = imports.records
    if model and not any(model in _names(record) for record in records):
        raise UsageError(f"--model {model}: {file} names its model itself", "leave it out")
    if device is not None:
        told = sorted({record.device.name for record in records})
        if len(told) > 1:
            raise UsageError(
                f"--device {device}: {file} is of {len(told)} devices, as {told[0]} and {told[1]}",
                "leave it out: rows of one device compete with each other",
            )
        records = [_on(record, device) for record in records]
    if not records:
        raise StoreError(f"{file}: no results in it", f"give a file that {tool} wrote")
    for record in records:
        line = record.imported.line if record.imported else None
        place = f"{file}:{line}" if line is not None else str(file)
        check_readable(record, place, "correct the number, or leave its row out")
    _write(records, out, force)
    notes = list(imports.notes)
    if any(record.device.name == UNKNOWN for record in records):
        notes.append(
            "the file does not tell its device: as `unknown` its rows compete with those of any other "
            "such file; --device NAME tells them apart"
        )
    for note in notes:
        say(f"note: {note}")
    number = len(records)
    say(f"{number} record{'s' if number != 1 else ''} written to {out}")


def _names(record: Record) -> str:
    """The text in which a model's name stands, be it the file's or the user's."""
    return f"{record.cell.title} {record.cell.variant.get('model', '')}"


def _on(record: Record, device: str) -> Record:
    import msgspec

    return msgspec.structs.replace(
        record, device=msgspec.structs.replace(record.device, name=device)
    )


def _write(records: list[Record], out: Path, force: bool) -> None:
    if out.exists() and not force:
        raise StoreError(f"{out}: is there already", "--force, or another name")
    with whole_file(out) as partial:
        partial.write_bytes(b"".join(map(encode, records)))
