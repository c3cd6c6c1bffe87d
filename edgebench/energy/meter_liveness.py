"""Checks that a meter is alive: its reading must react to a known load.

A counter that can be opened and stands still looks like a machine that uses nothing: the performance
counter that some hypervisors show, the CPU's energy under macOS 27.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from edgebench.energy.energy_window import WRONG_WAY, flows_back
from edgebench.energy.source import EnergySource, NoEnergy

_MIN_S = 0.2
_PERIODS = 3  # a counter in order advances at least twice in so many of its periods


def busy(seconds: float) -> None:
    """A load on one CPU, for so long."""
    end = time.monotonic() + seconds
    block = bytes(1 << 16)
    while time.monotonic() < end:
        hashlib.sha256(block)


def check_alive(
    source: EnergySource, load: Callable[[float], None] = busy, seconds: float | None = None
) -> NoEnergy | None:
    """None where an opened source answers to `load(seconds)`, else why it is not to be trusted.

    `seconds`: by default long enough for the meter to update. Energy must advance, in sum and on the
    source's `load_rails`; power must be more than nothing.
    """
    seconds = max(_MIN_S, _PERIODS * source.period_s) if seconds is None else seconds
    before = _values(source)
    load(seconds)
    after = _values(source)
    if source.problem:
        return NoEnergy("read_failed", source.problem)
    for name in ("", *source.load_rails):
        first, last = before.get(name), after.get(name)
        if last is None:
            if name and name not in after:
                continue  # this machine does not have that part
            return NoEnergy("read_failed", f"{source.name}: {name or 'the meter'} gave no value")
        moved = last - (first or 0.0) if source.quantity == "energy" else last
        if moved <= 0:
            return NoEnergy(
                "counter_dead",
                f"{source.name}: {name or source.total_rail} {_still(source, moved)} "
                f"in {seconds:.3g} s under load",
            )
    counted = {rail.name: rail.value for rail in source.rails() if rail.counted}
    reversed_ = flows_back(source, counted)
    return NoEnergy(reversed_.reason, f"{source.name}: {reversed_.detail}") if reversed_ else None


def _still(source: EnergySource, moved: float) -> str:
    if source.quantity == "energy":
        return "did not advance"
    return "stayed at 0 W" if moved == 0 else f"showed {moved:.3g} W ({WRONG_WAY})"


def _values(source: EnergySource) -> dict[str, float | None]:
    """The total as "" and every rail by name."""
    values = {rail.name: rail.value for rail in source.rails()}
    values[""] = source.sample().value
    return values
