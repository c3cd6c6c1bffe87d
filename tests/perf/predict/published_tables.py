"""How well `edgebench predict` does on published latency tables: HELP's NAS-Bench-201 devices.

    python -m tests.perf.predict.published_tables FOLDER [--draws 20]

FOLDER holds HELP's data/nasbench201 (github.com/HayeonLee/HELP, MIT): `latency/*.pt` and `str_arch2idx.pt`, which are
read here without torch. The protocol is the paper's: 13 known devices, six unseen ones, 10 random cells of the first
900, judged on the next 1,000; of both the fastest and slowest tenth are left out. Known devices tell of all those cells.
Targets: mean Spearman >= 0.93, mean MAPE <= 8 %, 85 to 95 % of values within the stated 90 % intervals.
"""

from __future__ import annotations

import argparse
import io
import pickle
import re
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from edgebench.predict.conformal_interval import calibrate_intervals
from edgebench.predict.low_rank_model import (
    Indices,
    Numbers,
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


class Plain(pickle.Unpickler):
    """Lists, texts and numbers only: no class of a foreign file is ever made."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no plain data")


def plain_data(path: Path) -> Any:
    """What torch.save wrote of plain lists and dicts."""
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        return Plain(io.BytesIO(archive.read(name))).load()


def features_of(architectures: list[str]) -> Numbers:
    """What edgebench counts of a model: operators by class, those that compute nothing, operations, depth."""
    found = re.compile(r"\|?([a-z_0-9]+)~\d")
    kinds = np.array(
        [[OPERATIONS.index(op) for op in found.findall(text)] for text in architectures]
    )
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--suggested", action="store_true", help="chosen anchors, not random ones")
    arguments = parser.parse_args()
    places = plain_data(arguments.folder / "str_arch2idx.pt")
    architectures = sorted(places, key=places.__getitem__)[:CELLS]
    features = features_of(architectures)
    latencies = {
        name: np.log(np.array(plain_data(arguments.folder / f"latency/{name}.pt")[:CELLS], float))
        for name in (*KNOWN, *UNSEEN)
    }
    known = np.array([latencies[name] for name in KNOWN])
    prior = make_prior(known, features)
    draw = np.random.default_rng(0)
    start = time.perf_counter()
    means = []
    for name in UNSEEN:
        truth = latencies[name]
        pool = trimmed(truth, np.arange(ANCHOR_POOL))
        asked = trimmed(truth, np.arange(ANCHOR_POOL, CELLS))
        results = []
        for _ in range(1 if arguments.suggested else arguments.draws):
            cells = draw.choice(pool, ANCHORS, replace=False)
            if arguments.suggested:
                cells = np.array(
                    most_representative(prior, np.array([], dtype=np.intp), pool, ANCHORS)
                )
            found = condition(prior, cells, truth[cells], asked)
            factor = calibrate_intervals(known, features, cells, asked).factor
            assert factor is not None
            error = found.mean - truth[asked]
            results.append(
                (
                    spearmanr(found.mean, truth[asked])[0],
                    np.mean(np.abs(np.expm1(error))),
                    np.mean(np.abs(error) <= factor * found.deviation),
                    np.median(factor * found.deviation),
                )
            )
        means.append(np.mean(results, axis=0))
        print(f"{name:14}", _figures(means[-1]), flush=True)
    print(f"{'mean':14}", _figures(np.mean(means, axis=0)))
    print(f"{time.perf_counter() - start:.0f} s")


def _figures(values: Numbers) -> str:
    spearman, mape, covered, half = values
    return (
        f"Spearman {spearman:.4f}  MAPE {mape:.2%}  in the 90 % interval {covered:.1%}"
        f"  (median half-width {half:.1%})"
    )


if __name__ == "__main__":
    main()
