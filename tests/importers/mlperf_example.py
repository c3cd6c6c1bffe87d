"""docs/mlperf-example.md: `python -m tests.importers.mlperf_example` renews it from the committed excerpt."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner

from edgebench.analysis.dominance import non_dominated
from edgebench.analysis.precision_pairs import network, not_faster, precision_pairs
from edgebench.analysis.table import build_table
from edgebench.analysis.table_types import Row
from edgebench.cli import cli
from edgebench.store import read_records
from edgebench.units import format_ns

ROOT = Path(__file__).parents[2]
DOC = ROOT / "docs" / "mlperf-example.md"
EXCERPT = ROOT / "tests" / "data" / "imports" / "mlperf" / "inference-excerpt.csv.gz"
DEVICE = "GATE Overflow Intel SPR i9"


def text() -> str:
    """The page, from the excerpt alone."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "mlperf.jsonl"
        said = CliRunner().invoke(cli, ["import", "mlperf", str(EXCERPT), "-o", str(out)])
        rows = build_table(read_records(out)).rows
    desktop = [row for row in rows if row.device == DEVICE]
    notes = said.stderr.replace(str(out), "mlperf.jsonl").strip()
    return _PAGE.format(
        notes=notes,
        rows=len(desktop),
        front="\n".join(_front(desktop)),
        findings="\n".join(f"- {finding.text}" for finding in not_faster(desktop)),
        pairs="\n".join(_pairs(desktop)),
        efficient=_efficient(desktop),
    )


def _front(rows: list[Row]) -> list[str]:
    points = [(row.latency_ns.p90_early_stopping or 0, -_accuracy(row)) for row in rows]
    flags = non_dominated(np.array(points, dtype=np.float64))
    front = sorted(
        (row for row, flag in zip(rows, flags, strict=True) if flag),
        key=lambda row: row.latency_ns.p90_early_stopping or 0,
    )
    lines = ["| network | precision | p90 at most | accuracy |", "|---|---|--:|--:|"]
    for row in front:
        ns = format_ns(row.latency_ns.p90_early_stopping or 0)
        precision = row.variant["precision"]
        lines.append(f"| {network(row)} | {precision} | {ns} | {_accuracy(row):.2%} |")
    precisions = [str(row.variant["precision"]) for row in front]
    counts = f"{precisions.count('fp32')} fp32, {precisions.count('uint8')} uint8"
    return [*lines, "", f"{len(front)} of {len(rows)} rows: {counts}."]


def _pairs(rows: list[Row]) -> list[str]:
    (finding,) = not_faster(rows)
    worst = sorted(finding.pairs, key=lambda pair: -pair.slowdown)
    lines = ["| network | fp32 | uint8 | time | accuracy |", "|---|--:|--:|--:|--:|"]
    for pair in [*worst[:3], worst[-1]]:
        full, reduced = pair.full, pair.reduced
        lines.append(
            f"| {network(reduced)} | {format_ns(full.latency_ns.p90_early_stopping or 0)} "
            f"| {format_ns(reduced.latency_ns.p90_early_stopping or 0)} | {pair.slowdown:.2f}x "
            f"| {100 * (_accuracy(reduced) - _accuracy(full)):+.2f} points |"
        )
    return lines


def _efficient(rows: list[Row]) -> str:
    pairs = [pair for pair in precision_pairs(rows) if network(pair.reduced).startswith("eff")]
    gains = sorted(1 / pair.slowdown for pair in pairs)
    lost = sorted(100 * (_accuracy(pair.full) - _accuracy(pair.reduced)) for pair in pairs)
    return (
        f"{sum(pair.faster for pair in pairs)} of {len(pairs)} EfficientNet-Lite pairs are faster as "
        f"uint8 ({gains[0]:.2f}x to {gains[-1]:.2f}x), and lose {lost[0]:.1f} to {lost[-1]:.1f} points"
    )


def _accuracy(row: Row) -> float:
    assert row.quality is not None
    assert row.quality.value is not None
    return row.quality.value


_PAGE = """# An example: MLPerf's desktop CPU case

Made by `python -m tests.importers.mlperf_example` from 171 rows of MLPerf's published tables
(`tests/data/imports/mlperf/`, Apache-2.0); a test holds this page equal to what that prints.

MLPerf Inference v5.1, open division, edge suite, submitter GATEOverflow, image classification on
ImageNet, TFLite on the CPU of the system "{{device}}" (Intel Core i9-13900K), SingleStream; ids
of the results stand in the records. Retrieved from mlcommons/inference_results_v5.1. The MLPerf name
and logo are trademarks of MLCommons; the analysis below is not theirs.

```
$ edgebench import mlperf inference-excerpt.csv.gz -o mlperf.jsonl
{notes}
```

The submission holds every result twice: under the host's name and under the id of a container, equal
value for value. Counting both would double its weight in any statistic. {rows} rows of it are left.

## The front: accuracy against latency

The latency is MLPerf's early-stopping estimate of p90: an upper bound at 99 % confidence. It is one
number without samples, so rows are compared as points; a difference of a few percent between two
of them decides nothing.

{front}

## What the table does not say by itself

{findings}

On this CPU and this build of TFLite, quantising a MobileNet costs time and accuracy at once. The three
largest losses and the smallest:

{pairs}

It is no law of uint8: {efficient}. Which of both
holds for a network is a matter of measuring it, and the reason to rank by measured time and not by size.

`edgebench.analysis.precision_pairs` finds such pairs in any records, also in measured ones, where the intervals
over replicates decide.
""".replace("{{device}}", DEVICE)


def main() -> None:
    DOC.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
