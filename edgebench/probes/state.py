"""The state of the machine: checks around a whole run, counters around every replicate."""

from edgebench.probes.preflight import postflight, preflight
from edgebench.probes.snapshot import Snapshot, compare, snapshot

__all__ = ["Snapshot", "compare", "postflight", "preflight", "snapshot"]
