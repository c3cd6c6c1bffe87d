"""Counters read right before and after a replicate; `changes` says what their difference means.

The parent takes a snapshot between measurements, so it starts no process and reads only files that
were found beforehand. A counter that the machine does not have is not in the snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgebench.probes import cgroup
from edgebench.probes import proc_files as files
from edgebench.probes.cpu_facts import clock_policies
from edgebench.probes.proc_files import LIVE

_CPU = "sys/devices/system/cpu"
_COUNTERS = ("proc/stat", "proc/vmstat", "proc/pressure/cpu")
_PI_FLAGS = "sys/devices/platform/soc*/*firmware*/get_throttled"
#: Bits of the Raspberry Pi's firmware: now (0 to 3) and at some time since boot (16 to 19).
PI_UNDERVOLTAGE = 0x1_0001
PI_THROTTLED = 0xE_000E
#: Kinds that are set bits rather than counts: set ones stay set until the next boot.
FLAGS = frozenset({"pi_throttled", "pi_undervoltage"})

#: Event counters of which any increase invalidates a replicate, and where they are.
EVENTS: dict[str, tuple[str, ...]] = {
    "thermal_throttle": (
        f"{_CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count",
        f"{_CPU}/cpu[0-9]*/thermal_throttle/package_throttle_count",
    ),
    "overcurrent": ("sys/devices/platform/soctherm-oc-event/hwmon/hwmon[0-9]*/oc[0-9]*_event_cnt",),
    "pi_throttled": (_PI_FLAGS,),
    "pi_undervoltage": (_PI_FLAGS,),
    "cgroup_throttle": (),  # the groups of this process, from /proc/self/cgroup
}

#: Settings that must not change while a replicate runs.
_CLOCKS = ("scaling_governor", "scaling_min_freq", "scaling_max_freq")  # of every policy
_MODES = (
    f"{_CPU}/cpufreq/boost",
    f"{_CPU}/intel_pstate/no_turbo",
    f"{_CPU}/online",
    "sys/class/devfreq/*gpu*/m[ia][nx]_freq",
    "sys/class/devfreq/*g[avpb][0-9]*b/m[ia][nx]_freq",
    "sys/class/power_supply/*/online",
    "sys/firmware/acpi/platform_profile",
    "var/lib/nvpmodel/status",
)


@dataclass(frozen=True)
class Snapshot:
    """Counters at one moment. None and missing keys: the machine has no such counter."""

    time_ns: int  # monotonic
    events: Mapping[str, Mapping[str, int]]  # kind -> file below the root -> count
    modes: Mapping[str, str]  # file below the root -> setting
    stolen_ticks: int | None  # of all CPUs, given to other guests
    wanted_ticks: int | None  # of all CPUs, busy or stolen
    swapped_pages: int | None  # in and out
    cpu_stall_us: int | None  # time in which some task waited for a CPU


@dataclass(frozen=True)
class Watch:
    """The files that a snapshot reads; found once, since looking for them takes far longer."""

    root: Path
    events: tuple[tuple[str, Path], ...]
    modes: tuple[Path, ...]

    @classmethod
    def find(cls, root: Path) -> Watch:
        events = [
            (kind, path)
            for kind, patterns in EVENTS.items()
            for pattern in patterns
            for path in files.glob(root, pattern)
            if _counts_for_itself(path)
        ]
        events += [("cgroup_throttle", path) for path in cgroup.cpu_stat_files(root)]
        modes = [policy / name for policy in clock_policies(root) for name in _CLOCKS]
        modes += [
            path
            for pattern in _MODES
            for path in files.glob(root, pattern)
            if not feeds_a_device(path.parent)
        ]
        return cls(root, tuple(events), tuple(modes))

    def files(self) -> tuple[Path, ...]:
        """Every file that `snapshot` reads."""
        counters = tuple(path for _, path in self.events)
        return (*counters, *self.modes, *(self.root / name for name in _COUNTERS))

    def snapshot(self, clock_ns: Callable[[], int] = time.monotonic_ns) -> Snapshot:
        """Reads every file once. Never raises: what cannot be read is left out."""
        events: dict[str, dict[str, int]] = {}
        for kind, path in self.events:
            if (count := _READERS.get(kind, files.read_int)(path)) is not None:
                events.setdefault(kind, {})[self._name(path)] = count
        modes = {
            self._name(path): setting
            for path in self.modes
            if (setting := files.read(path, 256)) is not None
        }
        stat, vmstat, pressure = (self.root / name for name in _COUNTERS)
        stolen, wanted_ticks = _cpu_ticks(stat)
        return Snapshot(
            time_ns=clock_ns(),
            events=events,
            modes=modes,
            stolen_ticks=stolen,
            wanted_ticks=wanted_ticks,
            swapped_pages=_swapped_pages(vmstat),
            cpu_stall_us=_stall_us(pressure),
        )

    def _name(self, path: Path) -> str:
        return str(path)[len(str(self.root)) :].lstrip("/")


_watch = lru_cache(maxsize=8)(Watch.find)


def snapshot(root: Path = LIVE, clock_ns: Callable[[], int] = time.monotonic_ns) -> Snapshot:
    """Counters now. The first call for a root looks for the files, later calls only read them."""
    return _watch(root).snapshot(clock_ns)


def feeds_a_device(supply: Path) -> bool:
    """Whether a power supply is a mouse's or a headset's: it comes and goes as that sleeps."""
    return files.read(supply / "scope") == "Device"


def pi_flag_files(root: Path) -> list[Path]:
    """Returns the files in which the kernel shows the flags of the Raspberry Pi's firmware."""
    return files.glob(root, _PI_FLAGS)


def pi_bits(text: str) -> int | None:
    """Returns those flags: hexadecimal, with or without "0x", as in /sys or as vcgencmd prints them."""
    try:
        return int(text.removeprefix("throttled="), 16)
    except ValueError:
        return None


def _pi_reader(mask: int) -> Callable[[Path], int | None]:
    def read(path: Path) -> int | None:
        bits = pi_bits(files.read(path, 64) or "")
        return None if bits is None else bits & mask

    return read


_READERS: dict[str, Callable[[Path], int | None]] = {
    "pi_throttled": _pi_reader(PI_THROTTLED),
    "pi_undervoltage": _pi_reader(PI_UNDERVOLTAGE),
    "cgroup_throttle": cgroup.throttled_periods,
}


def _counts_for_itself(path: Path) -> bool:
    """False for a throttle counter that a sibling CPU shows as well: threads of one core share the
    core's, all CPUs of one package the package's."""
    if path.parent.name != "thermal_throttle":
        return True
    topology = path.parent.parent / "topology"
    shared = "thread_siblings_list" if path.name.startswith("core") else "core_siblings_list"
    first = (files.read(topology / shared) or "").replace("-", ",").partition(",")[0]
    return not first.isdecimal() or path.parent.parent.name == f"cpu{first}"


def _cpu_ticks(stat: Path) -> tuple[int | None, int | None]:
    """Stolen and wanted (busy or stolen) ticks of all CPUs since boot."""
    words = (files.read(stat, 512) or "").partition("\n")[0].split()
    if len(words) < 9 or words[0] != "cpu" or not all(word.isdecimal() for word in words[1:9]):
        return None, None
    user, nice, system, _idle, _iowait, irq, softirq, stolen = map(int, words[1:9])
    return stolen, user + nice + system + irq + softirq + stolen


def _swapped_pages(vmstat: Path) -> int | None:
    counts = files.fields(files.read(vmstat), " ")
    pages = [counts.get(key, "") for key in ("pswpin", "pswpout")]
    return sum(map(int, pages)) if all(page.isdecimal() for page in pages) else None


def _stall_us(pressure: Path) -> int | None:
    first = (files.read(pressure, 256) or "").partition("\n")[0]
    total = first.rpartition("total=")[2]
    return int(total) if first.startswith("some ") and total.isdecimal() else None
