"""Reports the energy source that a run would use, or why there is none (`edgebench doctor`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from edgebench.api.energy_source import find_preferred, not_alive
from edgebench.definitions.device_inventory import Device
from edgebench.energy.choose_source import find_all
from edgebench.energy.source import EnergySource, NoEnergy
from edgebench.probes.machine import Runner
from edgebench.probes.proc_files import LIVE
from edgebench.record import Part

_SLOW_S = 0.5  # a meter that updates more slowly is not tried: it would take seconds


class OtherSource(Part, frozen=True, kw_only=True):
    """A usable source that a run would not choose."""

    source: str
    scope: str


class EnergyState(Part, frozen=True, kw_only=True):
    """The source of energy: `status` is "ok" where there is one. Values are null: none is measured."""

    status: Literal["ok", "unavailable"]
    reason: str = ""
    detail: str = ""
    fix: str = ""
    j_per_inference: float | None = None
    uncertainty_j: float | None = None
    average_w: float | None = None
    kind: str = ""
    scope: str = ""
    source: str = ""
    quantity: str = ""  # "power" or "energy": what one reading is
    total_rail: str = ""  # rails that are summed
    rate_hz: float | None = None  # of the meter's own updates
    period_s: float | None = None
    resolution: float | None = None  # smallest step, in `resolution_unit`
    resolution_unit: str = ""
    averages: bool | None = None  # readings are means of the meter's last period
    gain_error: float | None = None  # bound of the error as a share of the value
    offset_w: float | None = None  # bound of the constant error
    tried: bool | None = None  # whether it was seen to answer to a load
    caveats: tuple[str, ...] = ()
    others: tuple[OtherSource, ...] = ()  # usable, and not used


def energy_state(
    root: Path, run: Runner | None, platform: str | None, devices: Sequence[Device]
) -> EnergyState:
    """Looks for a source; on the live machine it is also tried under a short load."""
    source = find_preferred(root, run, platform, devices)
    usable = [each for each in find_all(root, run, platform) if isinstance(each, EnergySource)]
    others = tuple(
        OtherSource(source=each.name, scope=each.scope)
        for each in usable
        if not isinstance(source, EnergySource) or each.name != source.name
    )
    tried = None
    if isinstance(source, EnergySource) and root == LIVE and source.period_s <= _SLOW_S:
        dead = not_alive(source)
        tried = dead is None
        source = dead or source
    if isinstance(source, NoEnergy):
        return EnergyState(
            status="unavailable",
            reason=source.reason,
            detail=source.detail,
            fix=source.fix,
            tried=tried,
            others=others,
        )
    return EnergyState(
        status="ok",
        kind=source.kind,
        scope=source.scope,
        source=source.name,
        quantity=source.quantity,
        total_rail=source.total_rail,
        rate_hz=1 / source.period_s,
        period_s=source.period_s,
        resolution=source.resolution,
        resolution_unit="W" if source.quantity == "power" else "J",
        averages=source.averages,
        gain_error=source.gain_error,
        offset_w=source.offset_w,
        tried=tried,
        caveats=source.caveats,
        others=others,
    )


def render_energy(energy: EnergyState) -> Iterator[tuple[str, str]]:
    """Lines for people: a label, "" for a line of its own, and a text."""
    if energy.status != "ok":
        yield "", f"unavailable ({energy.reason}): {energy.detail}"
        if energy.fix:
            yield "", f"fix: {energy.fix}"
    else:
        yield "source", f"{energy.source} ({energy.kind})"
        yield "scope", energy.scope
        yield "total", energy.total_rail
        yield "rate", f"{energy.rate_hz:.4g} Hz" + (", means" if energy.averages else "")
        yield "resolution", _resolution(energy)
        for caveat in energy.caveats:
            yield "note", caveat
    for other in energy.others:
        yield "also there", f"{other.source} ({other.scope})"


def _resolution(energy: EnergyState) -> str:
    step = f"{energy.resolution:.3g} {energy.resolution_unit}"
    bounds = [
        f"{energy.gain_error:.3g} of the value" if energy.gain_error else "",
        f"{energy.offset_w:.2g} W" if energy.offset_w else "",
    ]
    within = " + ".join(filter(None, bounds))
    return f"{step}; off by at most {within}" if within else step
