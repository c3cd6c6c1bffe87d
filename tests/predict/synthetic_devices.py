"""Devices whose latencies follow a known law: a mix of arithmetic, bandwidth and overhead, with noise."""

from __future__ import annotations

import numpy as np

from edgebench.predict.low_rank_model import Numbers


def devices(count: int, cells: int, seed: int, noise: float = 0.03) -> tuple[Numbers, Numbers]:
    """Log latencies, devices x cells, and features of cells."""
    draw = np.random.default_rng(seed)
    work = draw.lognormal(0, 1.0, (3, cells)) * np.array([[1.0], [0.6], [0.3]])
    rates = draw.lognormal(0, 0.6, (count, 3))
    latencies = rates @ work * draw.lognormal(0, 0.5, (count, 1))
    features = np.log(work[:2]).T
    return np.log(latencies) + noise * draw.standard_normal((count, cells)), features
