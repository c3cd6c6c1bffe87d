"""hyperfine: `--export-json`. A row is one command with its parameters; a sample is one run of the process.

The time is that of the whole process, start and end included, less the shell that hyperfine has measured. A run whose
exit code is not 0 (`--ignore-failure`) is left out and counted. A command that is about as short as the shell comes out
at 0 in some runs: its time is unknown then.
"""

from __future__ import annotations

from typing import Any

from edgebench.importers import _source
from edgebench.record import Record

TOOL = "hyperfine"
SUMMARY = "hyperfine: --export-json"

_MAX_NAME = 60


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each command. Raises StoreError where the file is malformed."""
    records: list[Record] = []
    notes: list[str] = []
    for line, document in source.json_documents():
        results = document.get("results") if isinstance(document, dict) else None
        for result in results if isinstance(results, list) else []:
            if not isinstance(result, dict) or not isinstance(result.get("command"), str):
                source.bad("a result without a command", line, "give the file of --export-json")
            _add(source, line, result, records, notes)
    if not records and not notes:
        source.bad("no result of hyperfine in it", 1, "give the file of --export-json")
    return _source.Imports(records, _source.first_few(notes))


def _add(
    source: _source.SourceFile,
    line: int,
    result: dict[str, Any],
    records: list[Record],
    notes: list[str],
) -> None:
    command = result["command"]
    times, codes = result.get("times"), result.get("exit_codes")
    if not isinstance(times, list) or not times:
        source.bad(f"no times of {command[:40]!r}", line, "give the file of --export-json")
    if not isinstance(codes, list) or len(codes) != len(times):
        codes = [0] * len(times)
    good = [time for time, code in zip(times, codes, strict=True) if code == 0]
    failed = len(times) - len(good)
    if failed:
        notes.append(f"{command[:40]!r}: left out {failed} of {len(times)} runs, which failed")
    if good:
        records.append(_record(source, line, result, good))


def _record(
    source: _source.SourceFile, line: int, result: dict[str, Any], times: list[Any]
) -> Record:
    command = result["command"]
    reported = _source.Reported(
        statistic={"memory.peak": "largest resident size of a run"},
        notes=["the time of a whole process, its start and end included"],
    )
    if lost := sum(time == 0 for time in times):
        reported.unknown["latency_ns"] = (
            f"{lost} of {len(times)} runs came out at 0, the time of the shell taken off: hyperfine --shell=none measures them"
        )
    else:
        reported.samples_ns = source.samples_ns(times, "a time", line, 1e9)
    sizes = result.get("memory_usage_byte")
    if isinstance(sizes, list) and sizes:
        peak = max(source.number(size, "memory", line) for size in sizes)
        reported.values["memory.peak"] = peak
    return _source.make_record(
        source,
        source.origin(TOOL, _without_samples(result), line),
        _source.named_cell(
            workload=f"command-{_source.slug(command)[:_MAX_NAME]}",
            title=command,
            task="process",
            backend="process",
            variant={
                "command": command,
                **{
                    _source.slug(str(name)): value if isinstance(value, int | float) else str(value)
                    for name, value in _source.part(result, "parameters").items()
                },
            },
        ),
        reported,
    )


def _without_samples(result: dict[str, Any]) -> dict[str, Any]:
    lists = ("times", "exit_codes", "memory_usage_byte")
    return {name: value for name, value in result.items() if name not in lists}
