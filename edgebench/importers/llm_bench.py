"""llm_bench of OpenVINO GenAI: `--report_json` or `--report` (CSV).

A row is one prompt; its requests are the iterations after the warm-up, which llm_bench numbers 0. The peak memory is of all
iterations: by default llm_bench looks at it in the warm-up alone. Of a chat, llm_bench divides the time to first token by
the length of the input, so TTFT is unknown there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from edgebench.importers import _source
from edgebench.record import Record

TOOL = "llm_bench"
SUMMARY = "llm_bench of OpenVINO GenAI: --report_json, or --report as CSV"

_NEEDS = ("iteration", "model", "framework", "device", "generation_time(s)", "prompt_idx")
_MEBIBYTE = 1 << 20
_NOTHING = (None, "", "NA", -1, -1.0, "-1", "-1.0")
_CHAT = "llm_bench divides it by the length of the input in a chat"
#: Columns of the CSV -> names of the JSON.
_CSV_NAMES = {
    "generation_time(s)": "generation_time", "latency(ms)": "latency", "1st_latency(ms)": "first_latency",
    "2nd_avg_latency(ms)": "second_avg_latency", "max_rss_mem(MiB)": "max_rss_mem",
    "pretrain_time(s)": "compile_time",
}  # fmt: skip

_Iteration = tuple[int | None, Mapping[str, Any]]
_Results = dict[tuple[str, str], list[_Iteration]]


def read(source: _source.SourceFile) -> _source.Imports:
    """A record for each prompt of each report. Raises StoreError where the file is malformed."""
    if source.csv_head(_NEEDS) is not None:
        source = source.with_mark_of(_numbers_of_csv(source), _NEEDS)
    records = [
        _record(source, metadata, key, iterations)
        for metadata, results in _reports(source)
        for key, iterations in results.items()
        if _timed(iterations)
    ]
    if not records:
        source.bad(
            "no iteration after the warm-up of llm_bench in it", 1,
            "run llm_bench with -n 1 or more, and give the file of --report_json or --report",
        )  # fmt: skip
    return _source.Imports(records, _source.unnamed_note(records))


def _reports(source: _source.SourceFile) -> Iterator[tuple[Mapping[str, Any], _Results]]:
    if source.csv_head(_NEEDS) is not None:
        yield from _of_csv(source)
        return
    for line, document in source.json_documents():
        data = document.get("perfdata") if isinstance(document, dict) else None
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(data, dict) or not isinstance(metadata, dict):
            continue
        results = data.get("results")
        if not isinstance(results, list) or not all(isinstance(each, dict) for each in results):
            source.bad("`results` is not a list of objects", line)
        yield metadata, _by_prompt((None, each) for each in results)


def _numbers_of_csv(source: _source.SourceFile) -> Iterator[str]:
    for _, fields in source.csv_rows(_NEEDS):
        yield from (value for name, value in fields.items() if name in _CSV_NAMES and value)


def _of_csv(source: _source.SourceFile) -> Iterator[tuple[Mapping[str, Any], _Results]]:
    rows = []
    for line, fields in source.csv_rows(_NEEDS):
        if not re.fullmatch(r"\d{1,9}", fields["iteration"]):
            continue  # averages, and what explains the columns
        named: dict[str, Any] = {
            _CSV_NAMES.get(name, name): value for name, value in fields.items()
        }
        rows.append((line, named))
    if rows:
        yield rows[0][1], _by_prompt(iter(rows))


def _by_prompt(rows: Iterator[_Iteration]) -> _Results:
    """The iterations of each prompt and turn, the warm-up too."""
    results: _Results = {}
    for line, row in rows:
        key = (str(row.get("prompt_idx", "")), str(row.get("chat_idx", "")))
        results.setdefault(key, []).append((line, row))
    return results


def _timed(iterations: list[_Iteration]) -> list[_Iteration]:
    """The iterations without the warm-up."""
    return [(line, row) for line, row in iterations if str(row.get("iteration")) != "0"]


def _record(
    source: _source.SourceFile,
    metadata: Mapping[str, Any],
    key: tuple[str, str],
    with_warmup: list[_Iteration],
) -> Record:
    prompt, chat = key
    iterations = _timed(with_warmup)
    first = _numbers(source, iterations, "first_latency", 1e6)
    later = _numbers(source, iterations, "second_avg_latency", 1e6)
    batch = _count(metadata.get("batch_size")) or 1
    generates = bool(first or later)
    of = f"median of {len(iterations)} requests"
    reported = _source.Reported(
        statistic={
            "generate.ttft": f"{of}, as llm_bench times the first token",
            "generate.tpot": f"{of}; of each, the mean over its tokens after the first",
            "generate.decode": "batch over the median time per token after the first",
            "memory.peak": "largest of polled resident sizes, the warm-up included: short peaks may be missed",
        }
    )
    if chat:
        reported.unknown["generate.ttft_ns"] = _CHAT
    elif first:
        reported.values["generate.ttft"] = median(first)
    if later:
        reported.values["generate.tpot"] = median(later)
        reported.values["generate.decode"] = batch * 1e9 / median(later)
    sizes = _numbers(source, with_warmup, "max_rss_mem", _MEBIBYTE)
    if sizes:
        reported.values["memory.peak"] = max(sizes)
    times_ns = _numbers(source, iterations, "generation_time", 1e9)
    reported.samples_ns = [round(ns) for ns in times_ns]
    if not times_ns:
        source.bad(f"prompt {prompt or 0} has no generation_time", iterations[0][0])
    lengths = {
        axis: min(counts)
        for axis, name in (("prompt_tokens", "input_size"), ("new_tokens", "output_size"))
        if (counts := [n for _, row in iterations if (n := _count(row.get(name))) is not None])
    }
    named = _source.model_of(source, str(metadata.get("model") or "") or None)
    return _source.make_record(
        source,
        source.origin(
            TOOL,
            {"metadata": _plain(metadata), "results": [dict(row) for _, row in with_warmup]},
            iterations[0][0],
        ),
        named.cell(
            "llm",
            f"openvino {metadata.get('framework') or _source.UNKNOWN}",
            {
                **{
                    name: str(metadata[name])
                    for name in ("device", "precision")
                    if metadata.get(name) not in _NOTHING
                },
                "batch": batch,
                "num_beams": _count(metadata.get("num_beams")) or 1,
                "prompt": prompt or "0",
                **({"chat": chat} if chat else {}),
                **lengths,
            },
            "text_generation" if generates else _source.UNKNOWN,
            "generate" if generates else "single_stream",
        ),
        reported,
    )


def _numbers(
    source: _source.SourceFile, iterations: list[_Iteration], name: str, unit: float
) -> list[float]:
    """The values of a column that were measured. Raises StoreError where one is no number."""
    return [
        source.number(value, name, line, unit)
        for line, row in iterations
        if (value := row.get(name)) not in _NOTHING
    ]


def _count(value: object) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch(r"\d{1,9}", text) and int(text) > 0 else None


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    names = ("model", "framework", "device", "precision", "num_beams", "batch_size")
    return {name: metadata.get(name) for name in names}
