"""Raw pairs on disk: one CSV a truth, a line per sample, gzipped; whole pairs only."""

from __future__ import annotations

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from edgebench.ab_test.pair_record import Pair
from edgebench.ab_test.pair_statistics import Block, Round

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "results" / "gate"
FIELDS = (
    "cell", "pair", "core", "first", "load_1m", "seconds", "calls", "round", "arm",
    "wall_ns", "cpu_ns", "switches", "waited_ns",
)  # fmt: skip


@dataclass
class Stored:
    """One independent pair of processes."""

    cell: str
    pair: int
    load_1m: float
    seconds: float
    calls: int
    blocks: dict[str, list[list[tuple[int, int, int, int]]]] = field(default_factory=dict)

    def rounds(self) -> list[Round]:
        return list(zip(self._blocks("A"), self._blocks("B"), strict=True))

    def _blocks(self, arm: str) -> list[Block]:
        return [
            Block(
                [sample[0] for sample in block],
                [sample[1] for sample in block],
                [sample[2] for sample in block],
                [sample[3] for sample in block],
            )
            for block in self.blocks[arm]
        ]

    def samples_ns(self, arm: str, *, cpu: bool = False) -> list[float]:
        """Times of single calls, in order: what a tool that knows no pairs would be given."""
        return [
            sample[1 if cpu else 0] / self.calls for block in self.blocks[arm] for sample in block
        ]


def append(path: Path, pair: Pair) -> None:
    """Adds a pair; gzip members may follow each other."""
    text = StringIO()
    writer = csv.writer(text)
    if not path.exists():
        writer.writerow(FIELDS)
    core = "+".join(map(str, pair.cores))
    for arm, measured in (("A", pair.base), ("B", pair.head)):
        for number, block in enumerate(measured.blocks):
            waited = block.waited_ns or [0] * len(block.wall_ns)
            for sample in zip(block.wall_ns, block.cpu_ns, block.switches, waited, strict=True):
                writer.writerow(
                    [
                        pair.cell, pair.index, core, pair.first, pair.load_1m, pair.seconds,
                        pair.begin.calls, number, arm, *sample,
                    ]
                )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(gzip.compress(text.getvalue().encode(), compresslevel=9))


def read(path: Path) -> list[Stored]:
    """All pairs of a file, in the order they were measured."""
    return list(_pairs(path)) if path.exists() else []


def _pairs(path: Path) -> Iterator[Stored]:
    found: dict[tuple[str, str], Stored] = {}
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            key = row["cell"], row["pair"]
            if key not in found:
                found[key] = Stored(
                    cell=row["cell"],
                    pair=int(row["pair"]),
                    load_1m=float(row["load_1m"]),
                    seconds=float(row["seconds"]),
                    calls=int(row["calls"]),
                    blocks=defaultdict(list),
                )
            blocks, number = found[key].blocks[row["arm"]], int(row["round"])
            if number == len(blocks):
                blocks.append([])
            blocks[number].append(
                (
                    int(row["wall_ns"]),
                    int(row["cpu_ns"]),
                    int(row["switches"]),
                    int(row["waited_ns"]),
                )
            )
    yield from found.values()


def compact(path: Path) -> None:
    """Rewrites a file as one gzip member: small enough to be committed."""
    if path.exists():
        text = gzip.decompress(path.read_bytes())
        path.write_bytes(gzip.compress(text, compresslevel=9, mtime=0))
