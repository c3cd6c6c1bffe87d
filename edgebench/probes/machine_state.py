"""Checks the state of the machine around a run, and reads counters and gauges around each replicate.

Each check is a function of a `Machine` in `probes.checks` that returns what it found with its
evidence, or None where the machine has no such thing (a Jetson's counters on a laptop).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgebench.probes.checks import clocks, load, power, thermal
from edgebench.probes.checks.check_result import Check
from edgebench.probes.machine import Machine, Nvml, Runner
from edgebench.probes.proc_files import LIVE
from edgebench.probes.snapshot import Snapshot, snapshot
from edgebench.probes.snapshot_changes import (
    changed_since,
    compare,
    cooled,
    settings_check,
    without_cooling,
)
from edgebench.probes.throttling import Gauges
from edgebench.record import StateCheck

__all__ = [
    "Gauges",
    "Snapshot",
    "changed_since",
    "compare",
    "cooled",
    "postflight",
    "preflight",
    "settings_check",
    "snapshot",
    "without_cooling",
]

CHECKS: tuple[Check, ...] = (
    clocks.governor,
    clocks.turbo_off,
    clocks.clocks_pinned,
    clocks.jetson_clocks,
    load.cpu_pressure,
    load.load,
    load.steal,
    load.swap,
    load.cgroup_throttle,
    load.hypervisor,
    load.emulated,
    power.battery,
    power.low_power_mode,
    power.jetson_overcurrent,
    thermal.temperature,
    thermal.throttle_counts,
    thermal.cooling_throttle,
    thermal.gpu_throttle,
    thermal.pi_throttled,
    thermal.macos_thermal,
    thermal.fan,
    thermal.ambient,
)
#: What a run raises by its own work.
OWN_LOAD: tuple[Check, ...] = (load.cpu_pressure, load.load)


def preflight(
    root: Path = LIVE,
    run: Runner | None = None,
    platform: str | None = None,
    nvml: Nvml | None = None,
    declared_mode: str | None = None,
) -> list[StateCheck]:
    """State before a run, every check that applies. `run`, `platform` and `nvml` are for tests.

    `declared_mode` is the power mode that the machine is meant to be in.
    """
    return _run_checks(CHECKS, Machine.at(root, run, platform, nvml), declared_mode)


def postflight(root: Path = LIVE, declared_mode: str | None = None) -> list[StateCheck]:
    """State after a run: without the checks that see the load of the run itself."""
    checks = [check for check in CHECKS if check not in OWN_LOAD]
    return _run_checks(checks, Machine.at(root), declared_mode)


def _run_checks(
    checks: Sequence[Check], machine: Machine, declared_mode: str | None
) -> list[StateCheck]:
    answers = [power.power_mode(machine, declared_mode), *(check(machine) for check in checks)]
    return [answer for answer in answers if answer is not None]
