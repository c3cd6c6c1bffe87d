"""llama-bench of llama.cpp: `-o json`, `jsonl`, `csv`, `sql` or `md`.

A row is one test: pp512 (process a prompt of 512 random tokens), tg128 (generate 128), or both in
one lump. The time is that of the whole test; tokens are random, nothing is sampled from the
logits, and no answer is judged. Every setting that a row states is part of its identity, and so is
the model file; of Markdown, which does not name it, the command that was echoed before the table.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers import _source
from edgebench.importers._commands import Echo, echoes, one_model
from edgebench.record import Record

TOOL = "llama-bench"
SUMMARY = "llama-bench of llama.cpp: -o json, jsonl, csv, sql or md"

_NEEDS = ("model_type", "n_prompt", "n_gen", "avg_ts")
_QUANT = re.compile(r"\s+(?:mostly |all )?((?:I?Q\d|TQ\d|BF16|F16|F32|MXFP4).*)$")
_TEST = re.compile(r"(pp|tg) ?(\d{1,9})(?:\+tg ?(\d{1,9}))?(?: @ d(\d{1,9}))?")
_MAX_COUNT = 10**9
#: What a row states that is no setting: the rest of it is.
_NO_SETTINGS = frozenset(
    ("build_commit", "build_number", "cpu_info", "gpu_info", "backends", "model_type", "n_prompt",
     "n_gen", "n_depth", "test_time")
)  # fmt: skip
_RESULTS = ("avg_", "stddev_", "samples_")
#: Settings whose axis has another name.
_AXES = {"n_threads": "threads", "n_gpu_layers": "gpu_layers", "model_filename": "model"}
#: Columns of Markdown -> names of the JSON form.
_MD_NAMES = {
    "threads": "n_threads", "ngl": "n_gpu_layers", "fa": "flash_attn", "sm": "split_mode",
    "nkvo": "no_kv_offload", "mmap": "use_mmap", "dio": "use_direct_io", "lm": "load_mode",
    "embd": "embeddings", "nopo": "no_op_offload", "noh": "no_host", "dev": "devices",
    "ts": "tensor_split", "ot": "tensor_buft_overrides", "fitt": "fit_target", "fitc": "fit_min_ctx",
}  # fmt: skip
_MD_NEEDS = ("model", "test", "t/s")
_MD_RATE = re.compile(r"\**([\d.,'\u2019]{1,40}?)(?:\s*[^\d.,\s]{1,5}\s*([\d.,'\u2019]{1,40}))?\**")
_RULE = re.compile(r":?-+:?")
_MD_BUILD = re.compile(r"build: (\w{1,40}) \((\d{1,9})\)")
_SQL_ROW = re.compile(r"INSERT INTO \w+ ?(?:\(([^()]*)\))? ?VALUES ?\((.*)\);?\s*$")
_NOTES = ("random tokens, no sampler: a real prompt may take longer",)

_Tests = Iterator[tuple[int | None, dict[str, Any]]]


def read(source: _source.SourceFile) -> _source.Imports:
    """The records of one output. Raises StoreError with file and line where it is malformed."""
    forms = {
        "JSON": _json(source),
        "SQL": _sql(source),
        "CSV": _csv(source),
        "Markdown": _md(source),
    }
    tests_of = {form: tests for form, rows in forms.items() if (tests := list(rows))}
    if not tests_of:
        source.bad("no test of llama-bench in it", 1, "give the output of -o json, csv, sql or md")
    form, tests = next(iter(tests_of.items()))
    notes = [
        f"{len(others)} rows in {other} are left out: those in {form} tell more"
        for other, others in tests_of.items()
        if other != form
    ]
    needs = _NEEDS if form == "CSV" else ()
    rows = [test for _, test in tests]
    # What spreads prove is asked where rates prove nothing.
    source = source.with_mark_of(_texts(rows, "avg_ts"), needs)
    source = source.with_mark_of(_texts(rows, "stddev_ts"), needs)
    return _source.Imports([_record(source, line, test) for line, test in tests], notes)


def _texts(tests: Iterable[Mapping[str, Any]], name: str) -> Iterator[str]:
    return (text for test in tests if isinstance(text := test.get(name), str))


def _json(source: _source.SourceFile) -> _Tests:
    """Tests of the forms json and jsonl, also of a list that a crash left open."""
    for line, test in source.json_objects():
        missing = [name for name in _NEEDS if name not in test]
        if missing and len(missing) < len(_NEEDS):
            source.bad(f"a test without {missing[0]!r}", line, "give the output of `-o json`")
        if not missing:
            yield line, test


def _csv(source: _source.SourceFile) -> _Tests:
    if source.csv_head(_NEEDS) is not None:
        yield from source.csv_rows(_NEEDS, of_log=True)


def _sql(source: _source.SourceFile) -> _Tests:
    """Rows of INSERT statements, whose names stand in them or in the table before."""
    _, _, table = source.text.partition("CREATE TABLE")
    described = table.partition("(")[2].partition(");")[0]
    columns = [part.split()[0] for part in described.split(",") if part.split()]
    for line, text in enumerate(source.lines, start=1):
        match = _SQL_ROW.match(text.strip()) if "INSERT INTO" in text else None
        if match is None:
            continue
        names = [name.strip() for name in match[1].split(",")] if match[1] else columns
        values = _sql_values(match[2], len(names))
        if len(values) != len(names):
            source.bad(f"{len(values)} values for {len(names)} columns", line)
        if all(name in names for name in _NEEDS):
            yield line, dict(zip(names, values, strict=True))


def _sql_values(text: str, count: int) -> list[str]:
    """The values as llama-bench writes them, each quoted and a quote in it not doubled; else as SQL has it."""
    values = text.strip().removeprefix("'").removesuffix("'").split("', '")
    if len(values) == count:
        return values
    return next(csv.reader([text], quotechar="'", skipinitialspace=True), [])


@dataclass
class _MarkdownTable:
    head: list[str]
    model: str | None  # by the command that was echoed before
    rows: list[tuple[int, dict[str, Any]]] = field(default_factory=list)


def _md(source: _source.SourceFile) -> _Tests:
    for table in _md_tables(source):
        yield from table.rows


def _md_tables(source: _source.SourceFile) -> list[_MarkdownTable]:
    tables: list[_MarkdownTable] = []
    table: _MarkdownTable | None = None
    commands = echoes(source.lines, "llama-bench")
    shown: list[Echo] = []
    for line, (text, following) in enumerate(_with_next(source.lines), start=1):
        cells = _cells(text)
        if line - 1 in commands:
            shown.append(commands[line - 1])
        elif "t/s" in cells and all(name in cells for name in _MD_NEEDS):
            start = cells.index("model")  # what stands before it was put there by another program
            table = _MarkdownTable(cells[start:], one_model(shown, "m", "model"))
            tables.append(table)
            shown = []
        elif _is_rule(following):
            if "t/s" in cells:
                missing = next(name for name in _MD_NEEDS if name not in cells)
                source.bad(f"no column {missing!r}", line)
            table = None  # the head of a table of something else
        elif table is not None and cells and not _is_rule(text):
            table.rows += _md_row(source, line, text, cells, table)
        elif tables and (build := _MD_BUILD.match(text)):
            for _, test in tables[-1].rows:
                test.update(build_commit=build[1], build_number=build[2])
    return tables


def _with_next(lines: Sequence[str]) -> Iterable[tuple[str, str]]:
    return zip(lines, [*lines[1:], ""], strict=True)


def _cells(text: str) -> list[str]:
    stripped = text.strip()
    if "|" not in stripped:
        return []
    return [cell.strip() for cell in stripped.removeprefix("|").removesuffix("|").split("|")]


def _is_rule(text: str) -> bool:
    """Whether it is the line between the head and the rows of a table."""
    cells = _cells(text) if "--" in text else []
    return bool(cells) and cells[0].endswith("-") and all(map(_RULE.fullmatch, cells[1:]))


def _md_row(
    source: _source.SourceFile, line: int, text: str, cells: list[str], table: _MarkdownTable
) -> list[tuple[int, dict[str, Any]]]:
    count = len(table.head)
    whole = text.lstrip().startswith("|")
    if len(cells) < count and not whole:
        return []
    if len(cells) != count and whole:
        source.bad(f"{len(cells)} cells under {count} columns", line)
    named = dict(zip(table.head, cells[-count:], strict=True))
    return [(line, _of_markdown(source, line, named, table.model))]


def _of_markdown(
    source: _source.SourceFile, line: int, cells: dict[str, str], model: str | None
) -> dict[str, Any]:
    """A row of the table in the names of the JSON form; the cells stay beside them."""
    test = _TEST.fullmatch(cells["test"])
    if test is None:
        source.bad(f"no test {cells['test'][:40]!r}", line, "it looks like pp512 or tg128")
    rate = _MD_RATE.fullmatch(cells["t/s"])
    if rate is None:
        source.bad(f"t/s is not a rate: {cells['t/s'][:40]!r}", line, "it looks like 128.00 ± 0.30")
    kind, count, lump, depth = test.groups()
    return {
        **{_MD_NAMES.get(name, name): value for name, value in cells.items()},
        **({"model_filename": model} if model else {}),
        "model_type": cells["model"],
        "backends": cells.get("backend", ""),
        "n_prompt": count if kind == "pp" else "0",
        "n_gen": count if kind == "tg" else lump or "0",
        "n_depth": depth or "0",
        "avg_ts": rate[1],
        **({"stddev_ts": rate[2]} if rate[2] else {}),
    }


#: Cells of Markdown whose content stands under a name of the JSON form too.
_MD_TWICE = frozenset(("model", "backend", "test", "t/s"))


def _record(source: _source.SourceFile, line: int | None, test: Mapping[str, Any]) -> Record:
    prompt, generated = _count(source, line, test, "n_prompt"), _count(source, line, test, "n_gen")
    depth = _count(source, line, test, "n_depth") if "n_depth" in test else 0
    if not prompt and not generated:
        source.bad("a test of no tokens", line)
    name = "+".join(([f"pp{prompt}"] if prompt else []) + ([f"tg{generated}"] if generated else []))
    name += f"-d{depth}" if depth else ""
    kind = str(test["model_type"])
    quant = _QUANT.search(kind[-200:])
    network = kind.removesuffix(quant[0]) if quant else kind
    if "?" in network:  # llama.cpp knows no name for this size: its parameters tell it from others
        size = str(test.get("model_n_params") or test.get("params") or _source.UNKNOWN)
        network = network.replace("?B", f"{size} params")
    rate = source.number(test["avg_ts"], "avg_ts", line)
    samples = test.get("samples_ts")
    repetitions = len(samples) if isinstance(samples, list) else 0
    what = "tokens per second, mean" + (f" of {repetitions} repetitions" if repetitions else "")
    if test.get("stddev_ts") not in (None, ""):
        what += f", standard deviation {test['stddev_ts']}"
    notes = list(_NOTES)
    if prompt and generated:
        notes.append("prompt and generation were timed together, so neither rate is known")
    gpu, cpu = str(test.get("gpu_info", "")), str(test.get("cpu_info", ""))
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            dict(test),
            line,
            test.get("test_time"),
            f"llama-bench-{test.get('build_commit') or _source.UNKNOWN}-{source.sha256[:8]}",
        ),
        _source.named_cell(
            workload=f"llm-{_source.slug(network)}-{name}",
            title=f"{network}, {name}",
            task="text_generation" if generated else "prompt_processing",
            backend=f"llama.cpp {test.get('backends') or _source.UNKNOWN}",
            variant={**({"precision": quant[1]} if quant else {}), **_settings(source, test)},
            scenario="offline",  # a rate over one lump of tokens, not a request of `generate`
        ),
        _source.Reported(
            values={"throughput": rate},
            statistic={"throughput": what},
            unknown={
                "latency_ns": "llama-bench times the whole test, not each token or query",
                "quality": "llama-bench does not look at the answers",
                "effective": "llama-bench states settings, not what ran",
            },
            notes=notes,
        ),
        _source.Device(
            gpu or cpu or _source.UNKNOWN,
            {"cpu_model": cpu, "accelerator": gpu, "os": None, "memory_bytes": None},
        ),
    )


def _settings(source: _source.SourceFile, test: Mapping[str, Any]) -> dict[str, Scalar]:
    """Every setting of a test, also those of versions to come."""
    markdown = "t/s" in test
    settings = {
        _AXES.get(name, _source.slug(name)): _scalar(value)
        for name, value in test.items()
        if name not in _NO_SETTINGS
        and not name.startswith(_RESULTS)
        and not (markdown and name in _MD_TWICE)
        and value not in (None, "")
    }
    file = test.get("model_filename")
    named = _source.model_of(source, str(file) if file else None)
    return settings if named.title == _source.UNKNOWN_MODEL else {**settings, "model": named.title}


def _count(source: _source.SourceFile, line: int | None, test: Mapping[str, Any], key: str) -> int:
    try:
        count = int(str(test[key]))
    except ValueError:
        source.bad(f"{key} is not a count: {str(test[key])[:40]!r}", line)
    if not 0 <= count <= _MAX_COUNT:
        source.bad(f"{key} is below 0 or beyond any test: {count}", line)
    return count


def _scalar(value: Any) -> Scalar:
    """Numbers as numbers, whatever the form they came in: false of JSON is 0 in CSV."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d{1,18}", value) else value
    return (
        int(value)
        if isinstance(value, bool)
        else value
        if isinstance(value, int | float)
        else str(value)
    )
