"""How well `edgebench predict` does on published latency tables: HELP's NAS-Bench-201 devices.

    python -m tests.perf.predict.published_tables [FOLDER] [--draws 20] [--suggested] [--known]

FOLDER holds HELP's data/nasbench201 (github.com/HayeonLee/HELP, MIT): `latency/*.pt` and `str_arch2idx.pt`, which are
read here without torch; without it, the excerpt in tests/data/help is read, which is all of it that is used. The protocol
is the paper's: 13 known devices, six unseen ones, 10 random cells of the first 900, judged on the next 1,000; of both the
fastest and slowest tenth are left out. Known devices tell of all those cells. With --suggested, the cells are those that
`edgebench predict --suggest` chooses of a random half of the 900. --known predicts each of the 13 from the other 12: whether
intervals hold what they state beyond the six.
Targets: mean Spearman >= 0.93, mean MAPE <= 8 %, 85 to 95 % of values within the stated 90 % intervals.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import pickle
import re
import time
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from edgebench.predict.conformal_interval import calibrate_intervals
from edgebench.predict.low_rank_model import (
    Indices,
    Numbers,
    Prior,
    condition,
    make_prior,
    most_representative,
)

KNOWN = [
    "1080ti_1",
    "1080ti_32",
    "1080ti_256",
    "silver_4114",
    "silver_4210r",
    "samsung_a50",
    "pixel3",
    "essential_ph_1",
    "samsung_s7",
    "titanx_1",
    "titanx_32",
    "titanx_256",
    "gold_6240",
]
UNSEEN = ["titan_rtx_256", "gold_6226", "fpga", "pixel2", "raspi4", "eyeriss"]
OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
ANCHOR_POOL, CELLS = 900, 1900
ANCHORS = 10
EXCERPT = Path(__file__).resolve().parents[2] / "data" / "help" / "nasbench201-latency.csv.gz"


class Plain(pickle.Unpickler):
    """Lists, texts and numbers only: no class of a foreign file is ever made."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


def plain_data(path: Path) -> Any:
    """What torch.save wrote of plain lists and dicts."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return Plain(io.BytesIO(archive.read(name))).load()


def whole_tables(folder: Path) -> tuple[Indices, dict[str, Numbers]]:
    """The operations of each architecture, and the log latency of all on each device."""
    places = plain_data(folder / "str_arch2idx.pt")
    found = re.compile(r"\|?([a-z_0-9]+)~\d")
    architectures = sorted(places, key=places.__getitem__)[:CELLS]
    kinds = [[OPERATIONS.index(op) for op in found.findall(text)] for text in architectures]
    latencies = {
        name: np.log(np.array(plain_data(folder / f"latency/{name}.pt")[:CELLS], float))
        for name in (*KNOWN, *UNSEEN)
    }
    return np.array(kinds), latencies


def excerpt() -> tuple[Indices, dict[str, Numbers]]:
    """The same, from the file in tests/data/help."""
    with gzip.open(EXCERPT, "rt") as file:
        rows = list(csv.DictReader(file))
    kinds = np.array([list(map(int, row["architecture"])) for row in rows])
    names = (*KNOWN, *UNSEEN)
    return kinds, {name: np.log([float(row[name]) for row in rows]) for name in names}


def features_of(kinds: Indices) -> Numbers:
    """What edgebench counts of a model: operators by class, those that compute nothing, operations, depth."""
    live = _live(kinds)
    used = [((kinds == kind) & live).sum(axis=1) for kind in (1, 2, 3, 4)]
    dead = [((kinds == kind) & ~live).sum(axis=1) for kind in (2, 3, 4)]
    operations = np.log(used[1] * 1e6 + used[2] * 9e6 + 2e7)
    return np.column_stack([*used, *dead, _depth(kinds), operations]).astype(np.float64)


def _live(kinds: Indices) -> Any:
    """Edges on a way from the input to the output."""
    reached = np.zeros((len(kinds), 4), dtype=bool)
    leads = reached.copy()
    reached[:, 0] = leads[:, 3] = True
    for edge, (start, end) in enumerate(EDGES):
        reached[:, end] |= reached[:, start] & (kinds[:, edge] != 0)
    for edge, (start, end) in reversed(list(enumerate(EDGES))):
        leads[:, start] |= leads[:, end] & (kinds[:, edge] != 0)
    return np.column_stack(
        [
            reached[:, start] & leads[:, end] & (kinds[:, edge] != 0)
            for edge, (start, end) in enumerate(EDGES)
        ]
    )


def _depth(kinds: Indices) -> Numbers:
    cost = np.array([0.0, 0.0, 1.0, 1.0, 0.5])
    depth = np.zeros((len(kinds), 4))
    for edge, (start, end) in enumerate(EDGES):
        longer = depth[:, start] + cost[kinds[:, edge]]
        depth[:, end] = np.where(
            kinds[:, edge] != 0, np.maximum(depth[:, end], longer), depth[:, end]
        )
    return np.asarray(depth[:, 3])


def trimmed(values: Numbers, cells: Indices) -> Indices:
    """Without the fastest and the slowest tenth, as the paper does."""
    ordered = cells[np.argsort(values[cells], kind="stable")]
    return ordered[len(ordered) // 10 : len(ordered) * 9 // 10]


@dataclass(frozen=True)
class Figures:
    """How well a device was predicted, on the mean of all draws."""

    spearman: float
    mape: float
    covered: float  # by the 90 % interval
    half_width: float  # median


@dataclass(frozen=True)
class Shelf:
    """The known devices, and one that is not."""

    known: Numbers
    prior: Prior
    features: Numbers
    truth: Numbers

    def figures(self, cells: Indices, asked: Indices) -> Figures:
        """From these measured cells, on those."""
        found = condition(self.prior, cells, self.truth[cells], asked)
        factor = calibrate_intervals(
            self.known, self.features, cells, self.truth[cells], asked
        ).factor
        assert factor is not None
        error = found.mean - self.truth[asked]
        return Figures(
            spearman=float(spearmanr(found.mean, self.truth[asked])[0]),
            mape=float(np.mean(np.abs(np.expm1(error)))),
            covered=float(np.mean(np.abs(error) <= factor * found.deviation)),
            half_width=float(np.median(factor * found.deviation)),
        )

    def suggested(self, pool: Indices) -> Indices:
        nothing = np.array([], dtype=np.intp)
        return np.array(most_representative(self.prior, nothing, pool, ANCHORS))


def proof(
    kinds: Indices,
    latencies: dict[str, Numbers],
    draws: int,
    suggested: bool = False,
    names: Sequence[str] = UNSEEN,
) -> Iterator[tuple[str, Figures]]:
    """Each of these devices, by random anchors, or by those that `--suggest` chooses of half of the pool."""
    features = features_of(kinds)
    draw = np.random.default_rng(0)
    for name in names:
        known = np.array([latencies[each] for each in KNOWN if each != name])
        shelf = Shelf(known, make_prior(known, features), features, latencies[name])
        pool = trimmed(shelf.truth, np.arange(ANCHOR_POOL))
        asked = trimmed(shelf.truth, np.arange(ANCHOR_POOL, CELLS))
        found = []
        for _ in range(draws):
            drawn = draw.choice(pool, len(pool) // 2 if suggested else ANCHORS, replace=False)
            cells = shelf.suggested(drawn) if suggested else drawn
            found.append(shelf.figures(cells, asked))
        yield name, mean(found)


def mean(each: Sequence[Figures]) -> Figures:
    return Figures(*np.mean([astuple(figures) for figures in each], axis=0))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--suggested", action="store_true", help="chosen anchors, not random ones")
    parser.add_argument(
        "--known", action="store_true", help="the known devices, each from the others"
    )
    arguments = parser.parse_args()
    tables = excerpt() if arguments.folder is None else whole_tables(arguments.folder)
    start = time.perf_counter()
    found = []
    names = KNOWN if arguments.known else UNSEEN
    for name, figures in proof(*tables, arguments.draws, arguments.suggested, names):
        print(f"{name:14}", _words(figures), flush=True)
        found.append(figures)
    print(f"{'mean':14}", _words(mean(found)))
    print(f"{time.perf_counter() - start:.0f} s")


def _words(figures: Figures) -> str:
    return (
        f"Spearman {figures.spearman:.4f}  MAPE {figures.mape:.2%}  in the 90 % interval {figures.covered:.1%}"
        f"  (median half-width {figures.half_width:.1%})"
    )


if __name__ == "__main__":
    main()
