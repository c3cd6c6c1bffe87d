"""`edgebench import`: results of other tools as records."""

from __future__ import annotations

from pathlib import Path

import click

from edgebench.errors import StoreError, UsageError
from edgebench.files.atomic_write import whole_file
from edgebench.importers import reader, tools
from edgebench.importers._source import UNKNOWN, open_source
from edgebench.record import Record, encode
from edgebench.store import check_readable
from edgebench.text.number_parsing import MARKS
from edgebench.text.plain_text import plain, say


class _ImportCommand(click.Command):
    """The command, whose help lists the formats that there are."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("TOOL is one of"):
            formatter.write_dl(list(tools().items()))


@click.command("import", cls=_ImportCommand)
@click.argument("tool", metavar="TOOL")
@click.argument("file", type=Path)
@click.option("--out", "-o", required=True, type=Path, help="Result file to write.")
@click.option("--device", help="Name of the device that FILE was measured on.")
@click.option("--model", help="Name of the model in FILE, if FILE does not name one.")
@click.option(
    "--decimal",
    type=click.Choice(list(MARKS)),
    help="Decimal mark of FILE, if its numbers leave it open.",
)
@click.option("--force", is_flag=True, help="Replace the result file if it exists.")
def command(
    tool: str,
    file: Path,
    out: Path,
    device: str | None,
    model: str | None,
    decimal: str | None,
    force: bool,
) -> None:
    """Convert FILE, a result file of another tool, to edgebench records.

    The records can be shown, compared and reported together with edgebench's own. Their numbers are
    those of the other tool: they have an interval only if the file holds samples, and what the file
    does not say is unknown, with the reason.

    \b
    Example:
      edgebench import llama-bench bench.json -o results/llama-bench.jsonl
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
        raise UsageError(f"--model {model}: {file} already names its model", "leave --model out")
    if device is not None:
        told = sorted({record.device.name for record in records})
        if len(told) > 1:
            raise UsageError(
                f"--device {device}: {file} has rows of {len(told)} devices, such as {told[0]} and {told[1]}",
                "leave --device out: under one name, rows of several devices would compete",
            )
        records = [_on(record, device) for record in records]
    if not records:
        raise StoreError(f"{file}: the file holds no results", f"give a file that {tool} wrote")
    for record in records:
        line = record.imported.line if record.imported else None
        place = f"{file}:{line}" if line is not None else str(file)
        check_readable(record, place, "correct the number, or leave its row out")
    _write(records, out, force)
    notes = list(imports.notes)
    if any(record.device.name == UNKNOWN for record in records):
        notes.append(
            "the file does not name its device, so its rows compete with those of every other file of an "
            "unknown device; give --device NAME"
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
        raise StoreError(
            f"{out}: the file exists already", "give --force to replace it, or another name"
        )
    with whole_file(out) as partial:
        partial.write_bytes(b"".join(map(encode, records)))
