"""Decoding SmolLM2 through edgebench against onnxruntime-genai's own generator, in fp32, on one thread.

    python -m tests.perf.llm_genai FOLDER [ROUNDS]

FOLDER is one that `edgebench run --backend ort_genai --set precision=fp32` has built: the same weights. Each
of the two holds a copy of them, 540 MB read for every token, and how fast they can be read depends on
the memory that the system gave: the copy that a process makes first is mostly the slower one. So no process is
believed alone. A round is three fresh ones: edgebench opened first, onnxruntime-genai opened first, and,
for what the order does by itself, edgebench opened twice. Its ratio is the geometric mean of the first
two, in which the order cancels. A ratio is the other's time per token over ours.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from math import sqrt
from statistics import geometric_mean, median
from typing import Any

import numpy as np

from edgebench.stats import log_interval
from tests.perf.llm_runtimes import (
    GENAI_TARGET,
    PROMPT,
    SHARE,
    Timed,
    opened,
    ours,
    raw_generator,
)
from tests.perf.llm_speed import outside_share

ROUNDS, PAIRS, TOKENS = 6, 4, 33
ORDERS = ("ours,other", "other,ours", "ours,again")


def child(folder: str, order: str) -> dict[str, Any]:
    """Opens the two of `order`, that one first, and times requests in turns."""
    sessions: dict[str, Any] = {}
    runs: dict[str, Callable[[], Timed]] = {}
    for name in order.split(","):
        if name == "other":
            runs[name] = raw_generator(folder, TOKENS)
        else:
            sessions[name] = session = opened("ort", TOKENS, "fp32")
            runs[name] = partial(ours, session, TOKENS)
    tokens = [run()[1] for run in runs.values()]  # a warm-up
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(PAIRS):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            times[name].append(runs[name]()[0])
    mine, other = (times[name] for name in sorted(runs, key="ours".__ne__))
    return {
        "ratio": median(theirs / its for its, theirs in zip(mine, other, strict=True)),
        "ms": median(mine) / 1e6,
        "same": tokens[0] == tokens[1],
        "share": median(outside_share(sessions["ours"], PROMPT) for _ in range(2)),
    }


def in_a_process(folder: str, order: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.perf.llm_genai", folder, order]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def within(ratios: list[float]) -> str:
    interval = log_interval(ratios)
    return f", 95 % {interval.low:.3f} to {interval.high:.3f}" if interval else ""


def main(folder: str, rounds: int = ROUNDS) -> None:
    found: dict[str, list[dict[str, Any]]] = {order: [] for order in ORDERS}
    for number in range(1, rounds + 1):
        for order in ORDERS:
            found[order].append(in_a_process(folder, order))
        first, second, twice = (found[order][-1]["ratio"] for order in ORDERS)
        print(
            f"  round {number}: {sqrt(first * second):.3f} (edgebench opened first {first:.3f}, "
            f"last {second:.3f}; edgebench twice, last / first {twice:.3f}), "
            f"load average {os.getloadavg()[0]:.1f}",
            flush=True,
        )
    first, second, twice = ([one["ratio"] for one in found[order]] for order in ORDERS)
    ratios = [sqrt(a * b) for a, b in zip(first, second, strict=True)]
    both = [*found[ORDERS[0]], *found[ORDERS[1]]]
    verdict = "ok" if median(ratios) >= GENAI_TARGET else "too slow"
    answers = "same answers" if all(one["same"] for one in both) else "OTHER ANSWERS"
    print(
        f"ort, onnxruntime-genai / edgebench: {median(ratios):.3f} (at least {GENAI_TARGET}: {verdict}; "
        f"mean {geometric_mean(ratios):.3f}{within(ratios)}, {rounds} rounds, "
        f"{np.median([one['ms'] for one in both]):.1f} ms a token, {answers})"
    )
    print(
        f"  by order: edgebench opened first {geometric_mean(first):.3f}{within(first)}; "
        f"opened last {geometric_mean(second):.3f}{within(second)}"
    )
    print(
        f"  the order alone, edgebench twice, last / first: {geometric_mean(twice):.3f}{within(twice)}"
    )
    share = median(one["share"] for one in both)
    verdict = "ok" if share <= SHARE else "too much"
    print(
        f"  share of a step outside the runtime's call: {share:.2%} (at most {SHARE:.0%}: {verdict})"
    )


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2] in ORDERS:
        print(json.dumps(child(sys.argv[1], sys.argv[2])))
    else:
        main(sys.argv[1], *map(int, sys.argv[2:3]))
