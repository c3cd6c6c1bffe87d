"""Computes the energy of a replicate: from samples around its window to joules per inference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TypedDict

import msgspec

from edgebench.energy.energy_window import Refused, SourceFacts, WindowEnergy, refuse_without_power
from edgebench.energy.error_budget import combined
from edgebench.energy.integrate import integrate
from edgebench.energy.sampler import poll_interval_s
from edgebench.energy.source import Sample
from edgebench.record import Energy, EnergyTrace, EnergyUncertainty, Replicate

#: What a reader may keep of a trace: a few hundred readings a window.
_MAX_TRACED = 20_000
#: Net energy is not told where idle power moved by more than this share of it.
MAX_DRIFT = 0.1

Idle = WindowEnergy | Refused | None


def window_energy(
    facts: SourceFacts,
    samples: Sequence[Sample],
    replicate: Replicate,
    batch: int,
    before: Idle = None,
    after: Idle = None,
) -> Energy:
    """The energy part of a replicate from samples around its measured window."""
    start_ns, end_ns = replicate.window_start_ns or 0, replicate.window_end_ns or 0
    window = refuse_without_power(integrate(samples, facts, start_ns, end_ns), facts.total_rail)
    trace = _trace(facts, samples, start_ns)
    if isinstance(window, Refused):
        return Energy(
            status="unavailable",
            reason=window.reason,
            detail=window.detail,
            needed_s=window.needed_s,
            trace=trace,
            **origin(facts),
        )
    count = inferences(replicate, batch, window.start_ns, window.end_ns)
    joules = window.energy_j / count
    parts = msgspec.structs.asdict(window.uncertainty).items()
    energy = Energy(
        status="ok",
        j_per_inference=joules,
        uncertainty_j=window.uncertainty_j / count,
        average_w=window.average_w,
        uncertainty=EnergyUncertainty(
            **{name: part / count for name, part in parts if part is not None}
        ),
        # Energy-delay product (Horowitz, Indermaur, Gonzalez 1994): both of one inference.
        edp_j_s=joules * seconds_per_inference(replicate, batch),
        inferences_per_j=1 / joules if joules > 0 else None,
        energy_j=window.energy_j,
        inferences=count,
        window_s=window.window_s,
        updates=window.updates,
        gaps=window.gaps,
        trace=trace,
        rate_hz=_rate_hz(samples),
        **origin(facts),
    )
    return msgspec.structs.replace(energy, **_net(window, count, before, after))


def blind_spots(facts: SourceFacts) -> tuple[str, ...]:
    """Notes on loads that this sampling cannot see."""
    fixed = facts.period_s > poll_interval_s(facts)
    if facts.quantity == "energy" or facts.averages or not fixed:
        return ()
    text = "a load in step with the meter's own moments is misjudged, beyond the uncertainty"
    return (text,)


class Origin(TypedDict):
    """Identifies where an energy value comes from: its source and scope."""

    kind: str
    scope: str
    source: str
    total_rail: str
    resolution: float


def origin(facts: SourceFacts) -> Origin:
    return Origin(
        kind=facts.kind,
        scope=facts.scope,
        source=facts.name,
        total_rail=facts.total_rail,
        resolution=facts.resolution,
    )


def inferences(replicate: Replicate, batch: int, start_ns: int, end_ns: int) -> float:
    """Items answered between two moments of the measured window; the first and the last in part.

    A power meter speaks for the whole window. A counter speaks for the stretch between two ticks:
    queries are then placed by their latencies, or, where not all were kept, evenly.
    """
    queries = replicate.queries or len(replicate.samples_ns)
    first_ns, last_ns = replicate.window_start_ns or 0, replicate.window_end_ns or 0
    if (start_ns, end_ns) == (first_ns, last_ns):
        return float(queries * batch)
    import numpy as np

    done = np.linspace(0.0, 1.0, queries + 1)
    if replicate.paced is None and queries == len(replicate.samples_ns):
        done = np.concatenate(([0.0], np.cumsum(replicate.samples_ns, dtype=np.float64)))
        done /= done[-1]
    at = (np.array([start_ns, end_ns]) - first_ns) / (last_ns - first_ns)
    low, high = np.interp(at, done, np.arange(queries + 1))
    return float(high - low) * batch


def seconds_per_inference(replicate: Replicate, batch: int) -> float:
    """Time that an item takes: in a closed loop the window over its items, with a rate the latency."""
    if replicate.paced is not None:
        return fmean(replicate.samples_ns) / 1e9 / batch
    queries = replicate.queries or len(replicate.samples_ns)
    return (replicate.window_ns or 0) / 1e9 / (queries * batch)


def _net(gross: WindowEnergy, count: float, before: Idle, after: Idle) -> dict[str, object]:
    """The fields of net energy and idle."""
    fields: dict[str, object] = {
        "idle_before_w": before.average_w if isinstance(before, WindowEnergy) else None,
        "idle_after_w": after.average_w if isinstance(after, WindowEnergy) else None,
    }
    if not isinstance(before, WindowEnergy) or not isinstance(after, WindowEnergy):
        refused = next((each for each in (before, after) if isinstance(each, Refused)), None)
        why = refused.detail if refused else "not measured"
        return fields | {"net_reason": f"idle power is unknown: {why}"}
    net = net_energy(gross, before, after)
    if net.energy_j is None or net.uncertainty_j is None:
        return fields | {"net_reason": net.reason}
    return fields | {
        "net_j_per_inference": net.energy_j / count,
        "net_uncertainty_j": net.uncertainty_j / count,
    }


@dataclass(frozen=True)
class Net:
    """Energy beyond idle. `energy_j` is None where idle was not steady enough, and `reason` says so."""

    energy_j: float | None
    uncertainty_j: float | None
    reason: str = ""


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


def _rate_hz(samples: Sequence[Sample]) -> float | None:
    if len(samples) < 2:
        return None
    return (len(samples) - 1) * 1e9 / (samples[-1].start_ns - samples[0].start_ns)


def _trace(facts: SourceFacts, samples: Sequence[Sample], start_ns: int) -> EnergyTrace:
    samples = samples[:_MAX_TRACED]
    return EnergyTrace(
        quantity=facts.quantity,
        period_s=facts.period_s,
        read_ns=[(sample.start_ns + sample.end_ns) // 2 - start_ns for sample in samples],
        values=[sample.value for sample in samples],
    )
