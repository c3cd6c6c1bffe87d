"""llama-bench of llama.cpp: `-o json`, `jsonl`, `csv` or `md`.

A row is one test: pp512 (process a prompt of 512 random tokens), tg128 (generate 128), or both in
one lump. The time is that of the whole test; tokens are random, nothing is sampled from the
logits, and no answer is judged.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from edgebench.backend import Scalar
from edgebench.importers._source import UNKNOWN, Imports, SourceFile, make_record, slug
from edgebench.record import Record

TOOL = "llama-bench"
SUMMARY = "llama-bench of llama.cpp: -o json, jsonl, csv or md"

_NEEDS = ("model_type", "n_prompt", "n_gen", "avg_ts")
_QUANT = re.compile(r"\s+(?:mostly |all )?((?:I?Q\d|TQ\d|BF16|F16|F32|MXFP4).*)$")
_TEST = re.compile(r"(pp|tg) ?(\d+)(?:\+tg ?(\d+))?(?: @ d(\d+))?")
#: Settings of a test -> axis of the variant.
_AXES = {
    "n_threads": "threads",
    "n_gpu_layers": "gpu_layers",
    "n_batch": "n_batch",
    "n_ubatch": "n_ubatch",
    "type_k": "type_k",
    "type_v": "type_v",
    "flash_attn": "flash_attn",
}
_MD_AXES = {"threads": "n_threads", "ngl": "n_gpu_layers", "fa": "flash_attn"}
_NOTES = ("random tokens, no sampler: a real prompt may take longer",)


def read(source: SourceFile) -> Imports:
    """The records of one output. Raises StoreError with file and line where it is malformed."""
    return Imports([_record(source, line, test) for line, test in _tests(source)])


def _tests(source: SourceFile) -> Iterator[tuple[int | None, dict[str, Any]]]:
    start = source.text.lstrip()
    if start.startswith("["):
        whole = source.json()
        yield from ((None, _checked(source, None, test)) for test in whole)
    elif start.startswith("{"):
        for line, text in enumerate(source.text.splitlines(), start=1):
            if text.strip():
                yield line, _checked(source, line, source.json(text, line))
    elif "|" in start.split("\n", 1)[0]:
        yield from _markdown(source)
    else:
        yield from source.csv_rows(_NEEDS)


def _checked(source: SourceFile, line: int | None, test: Any) -> dict[str, Any]:
    if not isinstance(test, dict):
        source.bad("a test is not an object", line)
    missing = [name for name in _NEEDS if name not in test]
    if missing:
        source.bad(f"a test without {missing[0]!r}", line, "give the output of `-o json`")
    return test


def _markdown(source: SourceFile) -> Iterator[tuple[int | None, dict[str, Any]]]:
    head: list[str] = []
    for line, text in enumerate(source.text.splitlines(), start=1):
        if not text.lstrip().startswith("|"):
            continue
        cells = [cell.strip() for cell in text.strip().strip("|").split("|")]
        if not head:
            head = cells
            missing = [name for name in ("model", "test", "t/s") if name not in head]
            if missing:
                source.bad(f"no column {missing[0]!r}", line)
        elif not set(text) <= set("|-: "):
            if len(cells) != len(head):
                source.bad(f"{len(cells)} cells under {len(head)} columns", line)
            yield line, _of_markdown(source, line, dict(zip(head, cells, strict=True)))


def _of_markdown(source: SourceFile, line: int, cells: dict[str, str]) -> dict[str, Any]:
    """A row of the table in the names of the JSON form; the cells stay beside them."""
    test = _TEST.fullmatch(cells["test"])
    if test is None:
        source.bad(f"no test {cells['test']!r}", line, "it looks like pp512 or tg128")
    kind, count, lump, depth = test.groups()
    rate, _, spread = cells["t/s"].partition("±")
    named = {_MD_AXES.get(name, name): value for name, value in cells.items()}
    return {
        **named,
        "model_type": cells["model"],
        "backends": cells.get("backend", ""),
        "n_prompt": count if kind == "pp" else "0",
        "n_gen": count if kind == "tg" else lump or "0",
        "n_depth": depth or "0",
        "avg_ts": rate.strip(),
        **({"stddev_ts": spread.strip()} if spread else {}),
    }


def _record(source: SourceFile, line: int | None, test: Mapping[str, Any]) -> Record:
    prompt, generated = _count(source, line, test, "n_prompt"), _count(source, line, test, "n_gen")
    depth = _count(source, line, test, "n_depth") if "n_depth" in test else 0
    if not prompt and not generated:
        source.bad("a test of no tokens", line)
    name = "+".join(([f"pp{prompt}"] if prompt else []) + ([f"tg{generated}"] if generated else []))
    name += f"-d{depth}" if depth else ""
    kind = str(test["model_type"])
    quant = _QUANT.search(kind)
    network = kind[: quant.start()] if quant else kind
    if "?" in network:  # llama.cpp knows no name for this size: its parameters tell it from others
        size = str(test.get("model_n_params") or test.get("params") or UNKNOWN)
        network = network.replace("?B", f"{size} params")
    variant: dict[str, Scalar] = {"precision": quant[1]} if quant else {}
    variant |= {axis: _scalar(test[key]) for key, axis in _AXES.items() if key in test}
    rate = source.number(test["avg_ts"], "avg_ts", line)
    samples = test.get("samples_ts")
    repetitions = len(samples) if isinstance(samples, list) else 0
    what = "tokens per second, mean" + (f" of {repetitions} repetitions" if repetitions else "")
    if test.get("stddev_ts") not in (None, ""):
        what += f", standard deviation {test['stddev_ts']}"
    notes = list(_NOTES)
    if prompt and generated:
        notes.append("prompt and generation in one lump: neither rate is told")
    gpu, cpu = str(test.get("gpu_info", "")), str(test.get("cpu_info", ""))
    started = str(test.get("test_time") or UNKNOWN)
    return make_record(
        source,
        tool=TOOL,
        line=line,
        row=dict(test),
        workload=f"llm-{slug(network)}-{name}",
        version=1,
        title=f"{network}, {name}",
        task="text_generation" if generated else "prompt_processing",
        backend=f"llama.cpp {test.get('backends') or UNKNOWN}",
        variant=variant,
        scenario="offline",  # a rate over one lump of tokens, not a request of the scenario generate
        device=gpu or cpu or UNKNOWN,
        facts={"cpu_model": cpu, "accelerator": gpu, "os": None, "memory_bytes": None},
        run=f"llama-bench-{test.get('build_commit') or UNKNOWN}-{source.sha256[:8]}",
        started_utc=started,
        reported={"throughput": rate},
        statistic={"throughput": what},
        unknown={
            "latency_ns": "llama-bench times the whole test, not each token or query",
            "quality": "llama-bench does not look at the answers",
            "effective": "llama-bench states settings, not what ran",
        },
        notes=notes,
    )


def _count(source: SourceFile, line: int | None, test: Mapping[str, Any], key: str) -> int:
    try:
        count = int(str(test[key]))
    except ValueError:
        source.bad(f"{key} is no count: {str(test[key])[:40]!r}", line)
    if count < 0:
        source.bad(f"{key} is below 0", line)
    return count


def _scalar(value: Any) -> Scalar:
    """Numbers as numbers, whatever the form they came in."""
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"-?\d{1,18}", value) else value
    return value if isinstance(value, bool | int | float) else str(value)
