"""Derives energy per inference, energy net of idle and the energy-delay product from a window."""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgebench.energy.energy_window import WindowEnergy
from edgebench.energy.error_budget import combined

#: Net energy is not told where idle power moved by more than this share of it.
MAX_DRIFT = 0.1


@dataclass(frozen=True)
class Net:
    """Energy beyond idle. `energy_j` is None where idle was not steady enough, and `reason` says so."""

    energy_j: float | None
    uncertainty_j: float | None
    reason: str = ""


def energy_delay(j_per_inference: float, s_per_inference: float) -> float:
    """Energy-delay product in J*s (Horowitz, Indermaur, Gonzalez 1994): joules times seconds, each
    of one inference."""
    return j_per_inference * s_per_inference


def net_energy(window: WindowEnergy, before: WindowEnergy, after: WindowEnergy) -> Net:
    """Net = gross - idle power * T, idle being the mean of before and after.

    Suppressed where idle drifted by more than a tenth of net, which has to be positive. The meter's
    offset is the same in all three windows and falls out; the rest combines as independent, and half
    of the drift is a bound.
    """
    seconds = window.window_s
    idle_w = (before.average_w + after.average_w) / 2
    net_j = window.energy_j - idle_w * seconds
    drift_j = abs(before.average_w - after.average_w) * seconds
    if net_j <= 0:
        return Net(None, None, f"idle ({idle_w:.3g} W) took as much as the load")
    if drift_j > MAX_DRIFT * net_j:
        return Net(
            None,
            None,
            f"idle moved from {before.average_w:.3g} to {after.average_w:.3g} W: more than a tenth "
            "of what lies between idle and load",
        )
    idle_w_within = (
        math.hypot(
            _without_offset(before) / before.window_s, _without_offset(after) / after.window_s
        )
        / 2
    )
    within_j = combined((drift_j / 2,), (_without_offset(window), idle_w_within * seconds))
    return Net(net_j, within_j)


def _without_offset(window: WindowEnergy) -> float:
    parts = window.uncertainty
    return combined((parts.quantum_j, parts.gain_j), (parts.edge_j, parts.sampling_j, parts.gap_j))
