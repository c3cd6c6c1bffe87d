"""Computes the reward of MnasNet (Tan et al., 2019): quality x (latency / target)^w."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from edgebench.analysis.table_types import Row
from edgebench.definitions.workload import PARITY_METRIC
from edgebench.errors import UsageError
from edgebench.units import parse_duration_s

_FORM = re.compile(r"\s*reward\(\s*([^,()]+?)\s*,\s*([^,()]+?)\s*\)\s*")
_FIX = "write it like reward(80ms,-0.07)"


@dataclass(frozen=True)
class Reward:
    """What is to be most: the paper's soft limit has w = -0.07."""

    target_s: float
    exponent: float
    text: str = ""  # as it was asked for

    def of(self, quality: float, latency_ns: float) -> float:
        return float(quality * (latency_ns / 1e9 / self.target_s) ** self.exponent)


def reward_of(row: Row, reward: Reward) -> float:
    """That of a measured row by its main metric; -inf where either is unknown."""
    quality = row.quality.value if row.quality is not None else None
    if quality is None or row.latency_ns.p50 is None:
        return float("-inf")
    return reward.of(quality, row.latency_ns.p50)


def check_rewarded(metric: str, better: str) -> None:
    """Raises UsageError for a metric that the reward makes no sense of."""
    if metric == PARITY_METRIC:
        raise UsageError(
            "--maximize multiplies a quality, and without labels there is none",
            "give a --task with labels",
        )
    if better != "higher":
        raise UsageError(
            f"--maximize multiplies a quality of which more is better, and of {metric} less is",
            "leave it out, and limit the quality by --require",
        )


def parse_reward(text: str) -> Reward:
    """Raises UsageError for what is no reward."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise UsageError(f"--maximize {text!r} is no reward", _FIX)
    target_s = parse_duration_s(found[1])
    try:
        exponent = float(found[2])
    except ValueError:
        raise UsageError(f"--maximize {text!r}: {found[2]!r} is not a number", _FIX) from None
    if target_s <= 0 or not math.isfinite(exponent) or exponent > 0:
        raise UsageError(
            f"--maximize {text!r}: the target is above 0, and the exponent at most 0", _FIX
        )
    return Reward(target_s, exponent, text.strip())
