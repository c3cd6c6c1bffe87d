"""What the kernel counts of the fight for cores, memory, caches and storage, below any root. Runs inside the worker.

Pressure (PSI) is the time in which some task had to wait: of the control group where it is kept there, else of the
machine. `memory_bytes` are moved between the processor and memory by the whole machine (resctrl). What no file or
counter tells is absent, with the reason in `Told.untold`.
"""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from edgebench.probes import instruction_counter
from edgebench.probes.cgroup import levels
from edgebench.probes.proc_files import LIVE, glob, problem, read, read_int
from edgebench.record import CACHE_MISSES, MAJOR_FAULTS, MEMORY_BYTES, STALLS
from edgebench.words import fact_words

_RESCTRL = "sys/fs/resctrl/mon_data"
#: A file of pressure -> what of the machine it speaks for.
GROUP, MACHINE = "psi of the control group", "psi of the machine"


@dataclass(frozen=True)
class Told:
    """Counters that can be read: name -> its source and its amount so far; and why others cannot."""

    sources: dict[str, str] = field(default_factory=dict)
    untold: dict[str, str] = field(default_factory=dict)
    readers: dict[str, Callable[[], float | None]] = field(default_factory=dict)

    def put(self, name: str, source: str, reader: Callable[[], float | None]) -> None:
        self.sources[name], self.readers[name] = source, reader

    def look(self) -> Mapping[str, float]:
        """All amounts now, without those that cannot be read any more."""
        found = {name: read_now() for name, read_now in self.readers.items()}
        return {name: amount for name, amount in found.items() if amount is not None}


def counters(root: Path = LIVE) -> Told:
    """What tells of contention on this machine."""
    told = Told()
    for waited_for, name in STALLS.items():
        _add_pressure(told, root, waited_for, name)
    _add_memory_traffic(told, root)
    counter = instruction_counter.current(instruction_counter.CACHE_MISSES)
    if counter.descriptor is None:
        told.untold[CACHE_MISSES] = counter.unknown
    else:
        told.put(CACHE_MISSES, "perf_event", counter.whole)
    told.put(MAJOR_FAULTS, "getrusage", _major_faults)
    return told


def _add_pressure(told: Told, root: Path, waited_for: str, name: str) -> None:
    own = [group / f"{waited_for}.pressure" for group in levels(root, waited_for)]
    machine = root / "proc/pressure" / waited_for
    for path, source in [*((path, GROUP) for path in own), (machine, MACHINE)]:
        if stalled_ns(path) is not None:
            told.put(name, source, partial(stalled_ns, path))
            return
    told.untold[name] = fact_words.no_pressure(waited_for, problem(machine))


def stalled_ns(path: Path) -> float | None:
    """Time in which some task waited, since the start: the `total` of a file of pressure."""
    for line in (read(path) or "").splitlines():
        kind, _, rest = line.partition(" ")
        total = rest.rpartition("total=")[2]
        if kind == "some" and total.isdecimal():
            return int(total) * 1000.0
    return None


def _add_memory_traffic(told: Told, root: Path) -> None:
    files = glob(root, f"{_RESCTRL}/mon_L3_*/mbm_total_bytes")
    if files and _sum(files) is not None:
        told.put(MEMORY_BYTES, "resctrl", partial(_sum, files))
        return
    told.untold[MEMORY_BYTES] = fact_words.no_memory_traffic((root / _RESCTRL).is_dir())


def _sum(files: list[Path]) -> float | None:
    """None where a domain says "Unavailable"."""
    amounts = [read_int(path) for path in files]
    known = [amount for amount in amounts if amount is not None]
    return float(sum(known)) if len(known) == len(amounts) else None


def _major_faults() -> float:
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_majflt)
