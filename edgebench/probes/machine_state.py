"""Checks the state of the machine around a run, and reads counters and gauges around each replicate."""

from edgebench.probes.preflight import postflight, preflight
from edgebench.probes.snapshot import Snapshot, snapshot
from edgebench.probes.snapshot_changes import (
    changed_since,
    compare,
    cooled,
    settings_check,
    without_cooling,
)
from edgebench.probes.throttling import Gauges

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
