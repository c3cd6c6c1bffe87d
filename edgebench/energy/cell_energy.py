"""Combines the energy of several processes, and decides which energies may be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

import msgspec

from edgebench import stats
from edgebench.energy.error_budget import total
from edgebench.record import Energy, EnergyUncertainty


def incomparable(energies: Sequence[Energy]) -> str:
    """The reason why energies cannot be ranked against each other, or "" if they can.

    All must be measured, with a stated uncertainty, by the same kind of meter, of the same scope.
    """
    for energy in energies:
        if energy.status != "ok" or energy.j_per_inference is None:
            return energy.reason or "unknown for some rows"
        if energy.kind == "modelled":
            return "modelled, not measured"
        if energy.uncertainty_j is None:
            return "its uncertainty is unknown for some rows"
    origins = {(energy.kind, energy.scope): None for energy in energies}
    if len(origins) > 1:
        words = ", ".join(f"{kind} of {scope or 'unknown scope'}" for kind, scope in origins)
        return f"kind or scope differ between rows ({words})"
    return ""


def spread_j(energy: Energy) -> float | None:
    """Half-width between processes, a part of the uncertainty; None where there are no two of them,
    and the uncertainty is that of the meter alone."""
    return None if energy.uncertainty is None else energy.uncertainty.spread_j


def notes(energies: Sequence[Energy]) -> list[str]:
    """Notes on the energies of a table: where they come from, or why there are
    none, and that an estimate is one."""
    lines: dict[str, None] = {}  # an ordered set
    reasons: dict[str, str] = {}
    for energy in energies:
        if energy.j_per_inference is None:
            reasons.setdefault(energy.reason or "no reason", energy.detail)
        else:
            rails = f": {energy.total_rail}" if energy.total_rail else ""
            words = f"{energy.kind} of {energy.scope or 'unknown scope'} ({energy.source}{rails})"
            lines[f"energy per inference: {words}"] = None
            lines.update(dict.fromkeys(f"{energy.source}: {text}" for text in energy.caveats))
    if len({(e.kind, e.scope) for e in energies if e.j_per_inference is not None}) > 1:
        lines["energies of different kind or scope are different quantities: not compared"] = None
    if reasons:
        words = ", ".join(f"{code} ({text})" if text else code for code, text in reasons.items())
        lines[f"energy unavailable: {words}"] = None
    if estimates := [energy.modelled for energy in energies if energy.modelled is not None]:
        low, high = (f(e.average_w for e in estimates) for f in (min, max))
        lines[
            f"modelled, not measured, not ranked: {estimates[0].model} at "
            f"{estimates[0].w_per_core:g} W per core gives {low:.3g} to {high:.3g} W"
        ] = None
    return list(lines)


def combine(energies: Iterable[Energy | None]) -> Energy | None:
    """Combines the energies of a cell's processes: means, with the spread between processes.

    What is random within a window shrinks with the number of windows; what all windows of a meter
    share (quantum, gain, offset) does not; the spread between processes is a t interval. Without a
    single measured window: the first reason. None where there is nothing at all.
    """
    known = [energy for energy in energies if energy is not None]
    good = [energy for energy in known if energy.status == "ok"]
    if not good:
        return msgspec.structs.replace(known[0], trace=None) if known else None
    gross = [value for energy in good if (value := energy.j_per_inference) is not None]
    parts = _parts([energy.uncertainty or EnergyUncertainty() for energy in good], _spread(gross))
    joules = fmean(gross)
    net, net_uncertainty, net_reason = _net(good)
    return msgspec.structs.replace(
        good[0],
        j_per_inference=joules,
        uncertainty=parts,
        uncertainty_j=total(parts),
        average_w=_mean(good, "average_w"),
        net_j_per_inference=net,
        net_uncertainty_j=net_uncertainty,
        net_reason=net_reason,
        idle_before_w=_mean(good, "idle_before_w"),
        idle_after_w=_mean(good, "idle_after_w"),
        edp_j_s=_mean(good, "edp_j_s"),
        inferences_per_j=1 / joules if joules > 0 else None,
        energy_j=math.fsum(energy.energy_j or 0.0 for energy in good),
        inferences=math.fsum(energy.inferences or 0.0 for energy in good),
        window_s=math.fsum(energy.window_s or 0.0 for energy in good),
        updates=sum(energy.updates or 0 for energy in good),
        gaps=sum(energy.gaps or 0 for energy in good),
        caveats=tuple(dict.fromkeys(text for energy in good for text in energy.caveats)),
        modelled=good[0].modelled,
        trace=None,
    )


def _parts(each: Sequence[EnergyUncertainty], spread_j: float | None) -> EnergyUncertainty:
    count = len(each)
    return EnergyUncertainty(
        edge_j=math.hypot(*(part.edge_j for part in each)) / count,
        sampling_j=math.hypot(*(part.sampling_j for part in each)) / count,
        gap_j=math.hypot(*(part.gap_j for part in each)) / count,
        quantum_j=fmean(part.quantum_j for part in each),
        gain_j=fmean(part.gain_j for part in each),
        offset_j=fmean(part.offset_j for part in each),
        spread_j=spread_j,
    )


def _spread(values: Sequence[float]) -> float | None:
    """Half of the t interval of a mean over processes."""
    if len(values) < 2:
        return None
    factor = stats.t_quantile(0.5 + stats.CONFIDENCE / 2, len(values) - 1)
    return factor * stdev(values) / math.sqrt(len(values))


def _net(good: Sequence[Energy]) -> tuple[float | None, float | None, str]:
    """The mean net energy, or why one of the processes has none."""
    values = [energy.net_j_per_inference for energy in good]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return None, None, next(energy.net_reason for energy in good if energy.net_reason)
    own = math.hypot(*(energy.net_uncertainty_j or 0.0 for energy in good)) / math.sqrt(len(good))
    return fmean(known), math.hypot(own, _spread(known) or 0.0), ""


def _mean(energies: Sequence[Energy], name: str) -> float | None:
    values = [value for energy in energies if (value := getattr(energy, name)) is not None]
    return fmean(values) if values else None
