"""The parts of README.md that are printed by edgebench itself: `python -m tests.readme` renews them.

The tables are those of results/reference/; the benchmarks' output is taken from standard input, where
something is piped in: `make perf | python -m tests.readme`.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from edgebench.analysis.table import build_table
from edgebench.render.table_formats import render
from edgebench.scaling import scaling_text
from edgebench.scaling.accuracy_curves import scaling
from edgebench.store import iter_records

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
REFERENCE = ROOT / "results" / "reference"
#: Part of README.md -> reference results whose table it is.
TABLES = {
    "table": REFERENCE / "quick-linux-amd-2c.jsonl",
    "runtimes": REFERENCE / "runtimes-linux-amd-2c.jsonl",
    "llm": REFERENCE / "smollm2-linux-x86-2c.jsonl",
}
#: The same of what `edgebench scaling --within 2s` prints.
SCALINGS = {"scaling": REFERENCE / "smollm2-reasoning-linux-x86-2c.jsonl"}
_WITHIN_NS = 2e9


def table_text(results: Path) -> str:
    """What `edgebench show` prints of a result file."""
    out = io.StringIO()
    render(build_table(iter_records(results)), "table", out)
    return out.getvalue()


def scalings_text(results: Path) -> str:
    """What `edgebench scaling --within 2s` prints of a result file."""
    records = list(iter_records(results))
    table = build_table(records)
    out = io.StringIO()
    scaling_text.render(scaling(table, records, _WITHIN_NS), table.rows, out)
    return out.getvalue()


def with_tables(text: str) -> str:
    """README's text with every table as it is printed now."""
    for name, results in TABLES.items():
        text = with_part(text, name, table_text(results))
    for name, results in SCALINGS.items():
        text = with_part(text, name, scalings_text(results))
    return text


def with_part(text: str, name: str, content: str) -> str:
    """README's text with what stands between the marks of `name` replaced."""
    pattern = re.compile(rf"(<!-- {name}: begin -->\n).*?(<!-- {name}: end -->)", re.DOTALL)
    return pattern.sub(lambda found: f"{found[1]}```\n{content.strip()}\n```\n{found[2]}", text)


def main() -> None:
    text = with_tables(README.read_text(encoding="utf-8"))
    if not sys.stdin.isatty() and (measured := sys.stdin.read().strip()):
        text = with_part(text, "perf", measured)
    README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
