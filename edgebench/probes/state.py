"""The state of the machine: checks around a whole run, counters and gauges around every replicate."""

from edgebench.probes.changes import changed_since, compare, settings_check
from edgebench.probes.gauges import Gauges
from edgebench.probes.preflight import postflight, preflight
from edgebench.probes.snapshot import Snapshot, snapshot

__all__ = [
    "Gauges",
    "Snapshot",
    "changed_since",
    "compare",
    "postflight",
    "preflight",
    "settings_check",
    "snapshot",
]
