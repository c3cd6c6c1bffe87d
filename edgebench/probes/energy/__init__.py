"""Energy: which source a machine has (`find_source`), or why there is none.

The seam is `source.EnergySource`; one file beside this one holds one source.
"""

from __future__ import annotations

from pathlib import Path

from edgebench.probes.energy.choose import find_source
from edgebench.probes.energy.source import EnergySource, NoEnergy
from edgebench.probes.files import LIVE
from edgebench.probes.machine import Runner
from edgebench.record import Energy

__all__ = ["EnergySource", "NoEnergy", "find_source", "measure_unavailable"]


def measure_unavailable(
    root: Path = LIVE, run: Runner | None = None, platform: str | None = None
) -> Energy:
    """The energy part of a record where nothing was measured: the reason, never a number."""
    found = find_source(root, run, platform)
    if isinstance(found, EnergySource):
        return Energy(status="unavailable", reason="no_sensor", detail=found.name)
    detail = f"{found.detail}; fix: {found.fix}" if found.fix else found.detail
    return Energy(status="unavailable", reason=found.reason, detail=detail)
