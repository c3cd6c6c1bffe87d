"""Finds the energy source of this machine or of a copied tree, as devices.yaml directs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from edgebench.definitions.device_inventory import Device, device_of, load_devices
from edgebench.energy import EnergySource, NoEnergy, find_source
from edgebench.probes.machine import Runner, no_command
from edgebench.probes.proc_files import LIVE

if TYPE_CHECKING:
    from edgebench.energy.run_meter import Meter


#: How long an arm of an A/B is to run for its energy, where the meter is fast enough.
STRETCH_S = 2.0


def find_here(
    sysroot: Path | None, devices: Sequence[Device] | None = None
) -> EnergySource | NoEnergy:
    """Finds the energy source that a run would use, without opening it. For a copied tree no command is run.

    `devices`: the user's inventory, by default devices.yaml in the working directory. Raises
    SpecError where that is wrong, and UsageError for a source that it names and that does not exist.
    """
    root, run, platform = LIVE, None, None
    if sysroot is not None:
        root, run, platform = sysroot.resolve(), no_command, "linux"
    return find_preferred(root, run, platform, devices)


def meter_here(sysroot: str | None) -> AbstractContextManager[Meter]:
    """The meter of an A/B, on the source that `find_here` finds."""
    from edgebench.energy.run_meter import open_meter

    source = find_here(None if sysroot is None else Path(sysroot))
    return open_meter(source, window_s=STRETCH_S)


def not_alive(source: EnergySource) -> NoEnergy | None:
    """Opens a source and tries it under a short load: why it gives no energy, or None."""
    from edgebench.energy.meter_liveness import check_alive
    from edgebench.energy.source import not_opened

    try:
        source.open()
    except OSError as error:
        return not_opened(source, error)
    with contextlib.closing(source):
        return check_alive(source)


def find_preferred(
    root: Path, run: Runner | None, platform: str | None, devices: Sequence[Device] | None = None
) -> EnergySource | NoEnergy:
    """`find_source` with the preference and the rails of the entry that fits the machine."""
    devices = load_devices() if devices is None else devices
    if not devices:
        return find_source(root, run, platform)
    from edgebench.probes import device_facts

    entry = device_of(devices, device_facts.detect(root, run, platform).facts)
    if entry is None:
        return find_source(root, run, platform)
    return find_source(
        root, run, platform, preference=entry.energy_source, total_rails=entry.energy_total or ()
    )
