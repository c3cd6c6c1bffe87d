"""Monitors the machine's state while a worker measures, and since the run began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import msgspec

from edgebench.probes import machine_state
from edgebench.record import DeviceFacts, StateCheck

#: Checks by which a machine says that it is too hot for its full speed.
HEAT = frozenset(
    {"thermal_throttle", "cooling_throttle", "gpu_throttle", "thermal_pressure", "pi_throttled"}
)


class StateMonitor:
    """Monitors from before a worker starts until after it ended; call `tick` once a second meanwhile."""

    def __init__(self) -> None:
        self._gauges = machine_state.Gauges()
        self._gauges.look()
        self._before = machine_state.snapshot()
        self.settings: Mapping[str, str] = {}  # of the machine at the end: governor, clocks, ...

    def tick(self) -> None:
        """Starts no process: something is being measured."""
        self._gauges.look(measuring=True)

    def end(self, first_settings: Mapping[str, str]) -> list[StateCheck]:
        """Returns what happened. `first_settings`: those after the cell's first sound replicate; nobody looks
        between two replicates. Where the kernel cooled, the clocks that it lowers by are no settings.
        """
        before, after = self._before, machine_state.snapshot()
        gauges = self._gauges.checks()
        if machine_state.cooled(gauges):
            first_settings = machine_state.without_cooling(first_settings)
            before, after = (
                replace(each, modes=machine_state.without_cooling(each.modes))
                for each in (before, after)
            )
        self.settings = after.modes
        changes = [*machine_state.compare(before, after), *gauges]
        since_first = machine_state.settings_check(first_settings, after.modes)
        if since_first.level != "invalid":
            return changes
        return [*(check for check in changes if check.name != since_first.name), since_first]


def allowing_heat(checks: Sequence[StateCheck]) -> list[StateCheck]:
    """Heat is what a sustained load is run for: there it is a finding and spoils nothing."""
    return [
        msgspec.structs.replace(check, level="warn")
        if check.level == "invalid" and check.name in HEAT
        else check
        for check in checks
    ]


def allowing_company(checks: Sequence[StateCheck]) -> list[StateCheck]:
    """Companions want the machine because they were asked to: that tasks waited for it says nothing of others."""
    return [check for check in checks if check.name != "cpu_pressure"]


def postflight(
    device: DeviceFacts, before: Sequence[StateCheck], mode_was_set: bool
) -> list[StateCheck]:
    """The state now, and what was changed since the run began, unless that was asked for."""
    declared = device.declared.power_mode if device.declared is not None else None
    after = machine_state.postflight(declared_mode=declared)
    return after if mode_was_set else [*after, *machine_state.changed_since(before, after)]
