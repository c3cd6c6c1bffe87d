"""False alarms and found steps of `edgebench trend`, beside asv's step detection and Apache Otava on the same series.

    python -m tests.perf.trend.step_detection [--series 1000] [--found 200]

The references take part where they can be imported: `pip install asv`, and `pip install --no-deps apache-otava` (which
pins numpy 2.2) with scipy. Otava runs with its defaults (window 50, p 0.001), asv with its own.

Noise: "normal", "heavy" (Student's t with 3 degrees) of 1.5 %, and "recorded": a point is the geometric mean of 3
processes drawn from those that `tests/data/gate/recorded_pairs.csv.gz` holds of one quiet pair (both arms alike), which
is what a run of three replicates has. Targets: at most 10 false series in 1,000 at 100 points; +5 % found within 5 points
in at least 95 % at recorded noise; a single outlier of +50 % is no step.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import importlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edgebench.trend.change_points import Numbers, believed, find_steps

RECORDED = Path(__file__).resolve().parents[2] / "data" / "gate" / "recorded_pairs.csv.gz"
POINTS, BEFORE = 100, 60
REPLICATES = 3
Detector = Callable[[list[float]], list[int]]
Noise = Callable[[np.random.Generator, int], Numbers]


def recorded_noise() -> Noise:
    """Log latencies of processes of each pair that was no slower at times than the median pair."""
    of_process: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with gzip.open(RECORDED, "rt") as file:
        for line in csv.DictReader(file):
            if line["injected_pct"] == "0":
                key = line["pair"], line["round"], line["arm"]
                of_process[key].append(float(line["cpu_ns"]))
    of_pair: dict[str, list[float]] = defaultdict(list)
    for (pair, _, _), times in of_process.items():
        of_pair[pair].append(float(np.log(np.median(times))))
    pools = sorted((np.array(each) for each in of_pair.values()), key=lambda each: each.std())
    quiet = pools[: len(pools) // 2 + 1]
    spread = [100 * float(pool.std() / np.sqrt(REPLICATES)) for pool in quiet]
    print(f"recorded noise of a run: {min(spread):.1f} to {max(spread):.1f} %, {len(quiet)} pairs")

    def noise(draw: np.random.Generator, points: int) -> Numbers:
        pool = quiet[draw.integers(len(quiet))]
        return np.asarray(draw.choice(pool - pool.mean(), (points, REPLICATES)).mean(axis=1))

    return noise


def noises() -> dict[str, Noise]:
    return {
        "normal": lambda draw, points: 0.015 * draw.standard_normal(points),
        "heavy": lambda draw, points: 0.015 * draw.standard_t(3, points),
        "recorded": recorded_noise(),
    }


def ours(values: list[float]) -> list[int]:
    found = find_steps(values)
    return [step.at for step in found.steps] if believed([found]) == [True] else []


def detectors() -> Iterator[tuple[str, Detector]]:
    yield "edgebench", ours
    for name, make in (("asv", asv), ("otava", otava)):
        try:
            yield name, make()
        except ImportError as error:
            print(f"{name}: not here ({error})")


def asv() -> Detector:
    module: Any = importlib.import_module("asv.step_detect")
    return lambda values: [step[0] for step in module.detect_steps(values)][1:]


def otava() -> Detector:
    module: Any = importlib.import_module("otava.analysis")

    def find(values: list[float]) -> list[int]:
        found, _ = module.compute_change_points(values, window_len=50, max_pvalue=0.001)
        return [point.index for point in found]

    return find


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--series", type=int, default=1000)
    parser.add_argument("--found", type=int, default=200)
    arguments = parser.parse_args()
    kinds, known = noises(), dict(detectors())
    for kind, noise in kinds.items():
        for name, detect in known.items():
            start = time.perf_counter()
            alarms = [bool(detect(series(noise, at, POINTS))) for at in range(arguments.series)]
            each_ms = 1e3 * (time.perf_counter() - start) / len(alarms)
            share = 1000 * sum(alarms) / len(alarms)
            print(f"{kind:9} {name:9} false series of 1,000: {share:5.1f}  ({each_ms:.1f} ms each)")
    outliers(kinds, known, arguments.found)
    for kind, noise in kinds.items():
        for name, detect in known.items():
            print(f"{kind:9} {name:9} found:", found(noise, detect, arguments.found), flush=True)


def series(noise: Noise, seed: int, points: int) -> list[float]:
    return list(np.exp(noise(np.random.default_rng(seed), points)))


def outliers(kinds: dict[str, Noise], known: dict[str, Detector], count: int) -> None:
    for name, detect in known.items():
        steps = 0
        for at in range(count):
            values = series(kinds["normal"], at, POINTS)
            values[20 + at % 60] *= 1.5
            steps += bool(detect(values))
        print(f"outlier   {name:9} series with a step: {100 * steps / count:.1f} %")


def found(noise: Noise, detect: Detector, count: int) -> str:
    """The share of series in which a step is seen near its place, by its size and the points after it."""
    words = []
    for percent in (3, 5, 10):
        shares = []
        for after in (3, 5, 10):
            hits = 0
            for seed in range(count):
                values = series(noise, 10_000 + seed, BEFORE + after)
                values[BEFORE:] = [value * (1 + percent / 100) for value in values[BEFORE:]]
                hits += any(abs(at - BEFORE) <= 2 for at in detect(values))
            shares.append(f"{100 * hits / count:.0f}")
        words.append(f"+{percent} % after 3/5/10: {'/'.join(shares)} %")
    return "; ".join(words)


if __name__ == "__main__":
    main()
