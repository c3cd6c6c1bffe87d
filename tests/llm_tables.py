"""The tables of docs/llm.md that records of SmolLM2 make: `python -m tests.llm_tables FILE.jsonl...` renews them.

    <!-- begin tables: speculation -->
    (a table in Markdown)
    <!-- end tables -->

`make reference-speculation` measures the rows. Every row is shown, the losing ones and those without a figure too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from edgebench.analysis.table_types import Quality, Row, Speculation
from edgebench.api.loading import load
from edgebench.units import format_bytes, format_ns, parse_bytes

PAGE = Path(__file__).parents[1] / "docs" / "llm.md"
UNKNOWN = "-"
_BLOCK = re.compile(
    r"(?P<head><!-- begin tables: (?P<name>[\w-]+) -->\n)(?P<body>.*?)(?P<tail><!-- end tables -->)",
    re.DOTALL,
)


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def shown(value: object, words: Callable[[object], str] = str) -> str:
    """A value as it is written; what is unknown is a dash."""
    return UNKNOWN if value is None else words(value)


def outcome(row: Row) -> str:
    """What became of a row: why it is no valid figure, or that its answers are those of plain decoding."""
    if row.status == "ok":
        part = row.generate.speculation if row.generate else None
        return "" if part is None else "equal" if part.compared else "not compared"
    return row.reasons[0].message if row.reasons else row.status


def drafts(row: Row) -> str:
    """How the tokens of a row were drafted."""
    variant = row.variant
    if variant.get("lookup"):
        return f"look-up of {variant['lookup']}, {variant.get('draft_tokens', 4)} tokens"
    if variant.get("draft", "none") == "none":
        return "plain"
    sure = variant.get("draft_confidence")
    limit = f", surer than {sure}" if sure else ""
    return f"draft {variant['draft']}, {variant.get('draft_tokens', 4)} tokens{limit}"


def speculation(rows: Sequence[Row]) -> str:
    """Look-ups and drafts against plain decoding, by runtime and kind of content."""
    heads = [
        *("runtime", "content", "drafts", "accepted", "tokens a step", "TPOT", "interval p50, p90"),
        *("speed against plain", "peak", "answers"),
    ]
    chosen = sorted(
        (row for row in rows if "lookup" in row.variant or "draft" in row.variant),
        key=lambda row: (row.backend, str(row.variant.get("content")), drafts(row) != "plain"),
    )
    return grid(heads, map(_speculation_row, chosen))


def _speculation_row(row: Row) -> list[str]:
    made = row.generate
    part = made.speculation if made else None
    accepted = UNKNOWN
    if part is not None:
        share = "" if part.acceptance is None else f" ({part.acceptance:.0%})"
        of = "" if part.drafted is None else f" of {part.drafted}"
        accepted = f"{part.accepted}{of}{share}"
    intervals = UNKNOWN
    if made is not None and made.interval_p50_ns is not None:
        intervals = f"{format_ns(made.interval_p50_ns)}, {shown(made.interval_p90_ns, _ns)}"
    return [
        f"`{row.backend}`",
        shown(row.variant.get("content"), "`{}`".format),
        drafts(row),
        accepted,
        shown(part and part.tokens_per_step, lambda value: f"{value:.2f}"),
        shown(made and made.tpot_ns, _ns),
        intervals,
        UNKNOWN if part is None or part.gain is None else gained(part),
        shown(row.memory_peak_bytes, _bytes),
        outcome(row),
    ]


def gained(part: Speculation) -> str:
    """The speed against plain decoding, and that of each process."""
    each = part.gain_of_replicates
    between = f" ({min(each):.2f} to {max(each):.2f})" if len(each) > 1 else ""
    return f"{part.gain:.2f}{between}"


def budgets(rows: Sequence[Row]) -> str:
    """Speed against the memory that a process was held to."""
    chosen = sorted(
        (row for row in rows if "memory_budget" in row.variant),
        key=lambda row: (row.backend, parse_bytes(str(row.variant["memory_budget"]))),
    )
    heads = [
        "runtime",
        "budget",
        "fits",
        "TPOT",
        "peak",
        "read from storage a token",
        "major faults a token",
    ]
    return grid(heads, map(_budget_row, chosen))


def _budget_row(row: Row) -> list[str]:
    made, memory = row.generate, row.memory
    return [
        f"`{row.backend}`",
        str(row.variant["memory_budget"]),
        "yes" if row.status != "failed" else f"no: {outcome(row)}",
        shown(made and made.tpot_ns, _ns),
        shown(row.memory_peak_bytes, _bytes),
        shown(memory.storage_read_bytes_per_query, _bytes),
        shown(memory.major_faults_per_query, lambda value: f"{value:.3g}"),
    ]


def turns(rows: Sequence[Row]) -> str:
    """The time to the first token of each turn, kept and read anew."""
    body = [
        [
            "kept" if row.variant.get("reuse") else "read anew",
            str(turn.turn),
            str(turn.prompt_tokens),
            str(turn.kept_tokens),
            format_ns(turn.ttft_ns),
            shown(turn.kv_used_bytes, _bytes),
        ]
        for row in rows
        if row.generate
        for turn in row.generate.turns
    ]
    return grid(["turns", "turn", "prompt", "kept", "TTFT", "cache"], body)


def recall(rows: Sequence[Row]) -> str:
    """Lists and needles, as shares of answers that are exact."""
    body = [
        [f"`{row.backend}`", f"`{name}`", f"{value:.3g}"]
        for row in rows
        if row.workload == "smollm2-recall" and row.quality
        for name, value in _values(row.quality)
        if value is not None
    ]
    return grid(["runtime", "metric", "value"], body)


def caches(rows: Sequence[Row]) -> str:
    """What the answers of a cache of each precision are like, and what it takes."""
    names = ("perplexity", "kl_divergence", "greedy_agreement", "exact_match")
    chosen = [row for row in rows if "kv_cache" in row.variant]
    body = [
        [
            f"`{row.backend}`",
            f"`{row.variant['kv_cache']}`",
            shown(row.generate and row.generate.kv_cache_bytes, _bytes),
            *(shown(dict(_values(row.quality)).get(name), "{:.4g}".format) for name in names),
        ]
        for row in chosen
        if row.quality
    ]
    return grid(["runtime", "cache", "bytes", *names], body)


def _values(quality: Quality) -> list[tuple[str, float | None]]:
    return [(quality.metric, quality.value), *((each.metric, each.value) for each in quality.also)]


def _ns(value: Any) -> str:
    return format_ns(int(value))


def _bytes(value: Any) -> str:
    return format_bytes(int(value))


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "speculation": speculation,
    "budgets": budgets,
    "turns": turns,
    "recall": recall,
    "caches": caches,
}


def renewed(text: str, rows: Sequence[Row]) -> str:
    """The page's text with every table as the rows make it; one that they have nothing for stays."""

    def table(found: re.Match[str]) -> str:
        made = TABLES[found["name"]](rows)
        return f"{found['head']}{made}\n{found['tail']}" if made.count("\n") > 1 else found[0]

    return _BLOCK.sub(table, text)


def main() -> None:
    table = load([Path(name) for name in sys.argv[1:]]).table
    assert table is not None
    rows = table.rows
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")


if __name__ == "__main__":
    main()
