"""Counters read right before and after a replicate, and what their difference says.

The parent takes a snapshot between measurements, so it starts no process and reads only files that
were found beforehand. A counter that the machine does not have is not in the snapshot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from edgebench.probes import cgroup, files
from edgebench.probes.cpu import clock_policies
from edgebench.probes.files import LIVE
from edgebench.record import Level, StateCheck

STEAL_LIMIT = 0.01
STALL_LIMIT = 0.05
_CPU = "sys/devices/system/cpu"

#: Event counters of which any increase invalidates a replicate: where, what it means, the fix.
_EVENTS: dict[str, tuple[tuple[str, ...], str, str]] = {
    "thermal_throttle": (
        (
            f"{_CPU}/cpu[0-9]*/thermal_throttle/core_throttle_count",
            f"{_CPU}/cpu[0-9]*/thermal_throttle/package_throttle_count",
        ),
        "the CPU throttled because of its temperature",
        "cool it better, or lower the clock so that it holds",
    ),
    "overcurrent": (
        ("sys/devices/platform/soctherm-oc-event/hwmon/hwmon[0-9]*/oc[0-9]*_event_cnt",),
        "the board throttled because of under-voltage or over-current",
        "use a stronger supply or a lower power mode",
    ),
    "pi_throttled": (
        ("sys/devices/platform/soc*/*firmware*/get_throttled",),
        "the Raspberry Pi was under-voltage, capped or throttled",
        "use a stronger supply and cooling, then reboot to clear the flags",
    ),
    "cgroup_throttle": (
        (),  # the groups of this process, from /proc/self/cgroup
        "the control group ran out of its CPU quota",
        "raise the container's CPU limit, or use fewer threads",
    ),
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
            for kind, (patterns, _, _) in _EVENTS.items()
            for pattern in patterns
            for path in files.glob(root, pattern)
            if _counts_for_itself(path)
        ]
        events += [("cgroup_throttle", path) for path in cgroup.cpu_stat_files(root)]
        modes = [policy / name for policy in clock_policies(root) for name in _CLOCKS]
        modes += [path for pattern in _MODES for path in files.glob(root, pattern)]
        return cls(root, tuple(events), tuple(modes))

    @property
    def stat(self) -> Path:
        return self.root / "proc/stat"

    @property
    def vmstat(self) -> Path:
        return self.root / "proc/vmstat"

    @property
    def pressure(self) -> Path:
        return self.root / "proc/pressure/cpu"

    def files(self) -> tuple[Path, ...]:
        """Every file that `snapshot` reads."""
        counters = tuple(path for _, path in self.events)
        return (*counters, *self.modes, self.stat, self.vmstat, self.pressure)

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
        stolen, wanted = _cpu_ticks(self.stat)
        return Snapshot(
            time_ns=clock_ns(),
            events=events,
            modes=modes,
            stolen_ticks=stolen,
            wanted_ticks=wanted,
            swapped_pages=_swapped_pages(self.vmstat),
            cpu_stall_us=_stall_us(self.pressure),
        )

    def _name(self, path: Path) -> str:
        return str(path)[len(str(self.root)) :].lstrip("/")


_watch = lru_cache(maxsize=8)(Watch.find)


def snapshot(root: Path = LIVE, clock_ns: Callable[[], int] = time.monotonic_ns) -> Snapshot:
    """Counters now. The first call for a root looks for the files, later calls only read them."""
    return _watch(root).snapshot(clock_ns)


def compare(before: Snapshot, after: Snapshot) -> list[StateCheck]:
    """What happened between two snapshots of one machine.

    `invalid`: throttling, or a setting that changed. `warn`: stolen CPU time, swapping, tasks that
    waited for a CPU (the worker's own threads among them). `unknown`: a counter that disappeared or
    went backwards. A counter that neither snapshot has gives no row.
    """
    checks = [
        _event_check(kind, before.events[kind], after.events.get(kind, {}))
        for kind in _EVENTS
        if kind in before.events
    ]
    if before.modes:
        checks.append(_mode_check(before.modes, after.modes))
    optional = (
        _steal_check(before, after),
        _swap_check(before, after),
        _stall_check(before, after),
    )
    return checks + [check for check in optional if check is not None]


def pi_bits(text: str) -> int | None:
    """Flags of the Raspberry Pi's firmware: hexadecimal, with or without "0x"."""
    try:
        return int(text, 16)
    except ValueError:
        return None


def _event_check(kind: str, before: Mapping[str, int], after: Mapping[str, int]) -> StateCheck:
    _, meaning, fix = _EVENTS[kind]
    if kind == "pi_throttled":  # flags, not a count: set ones stay set until the next boot
        raised = {name: bits for name, bits in after.items() if bits}
        amount = ", ".join(f"{bits:#x}" for bits in raised.values())
    else:
        raised = {n: after[n] - count for n, count in before.items() if after.get(n, 0) > count}
        amount = f"{sum(raised.values())} times"
    if raised:
        where = next(iter(raised))
        return _row(kind, "invalid", f"{meaning}: {amount} ({where})", fix)
    lost = [name for name in before if name not in after]
    if lost:
        return _row(kind, "unknown", f"{lost[0]} could not be read again")
    if kind != "pi_throttled":
        back = [name for name, count in before.items() if after[name] < count]
        if back:
            return _row(kind, "unknown", f"{back[0]} went backwards: it was reset")
    return _row(kind, "ok", "no event")


def _mode_check(before: Mapping[str, str], after: Mapping[str, str]) -> StateCheck:
    changed = [
        f"{name}: {setting} -> {after[name]}"
        for name, setting in before.items()
        if name in after and after[name] != setting
    ]
    if changed:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        fix = "keep governor, clocks, power mode and charger as they are during a run"
        return _row("settings_changed", "invalid", changed[0] + more, fix)
    lost = [name for name in before if name not in after]
    if lost:
        return _row("settings_changed", "unknown", f"{lost[0]} could not be read again")
    return _row("settings_changed", "ok", "governor, clocks and power mode as before")


def _steal_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    """Stolen over wanted CPU time: a share of all time would hide one busy CPU among many idle."""
    if before.stolen_ticks is None or before.wanted_ticks is None:
        return None
    if after.stolen_ticks is None or after.wanted_ticks is None:
        return _row("steal", "unknown", "/proc/stat could not be read again")
    stolen = after.stolen_ticks - before.stolen_ticks
    wanted = after.wanted_ticks - before.wanted_ticks
    if stolen < 0 or wanted < stolen:
        return _row("steal", "unknown", "/proc/stat went backwards")
    share = stolen / wanted if wanted else 0.0
    # One tick is what rounding alone can show.
    level: Level = "warn" if stolen > 1 and share > STEAL_LIMIT else "ok"
    fix = "use a dedicated machine or an instance type with dedicated cores"
    return _row("steal", level, f"{share:.1%} of the CPU time wanted", fix if level != "ok" else "")


def _swap_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    return _delta_check(
        "swap",
        before.swapped_pages,
        after.swapped_pages,
        lambda pages: (pages > 0, f"{pages} pages swapped"),
        "free memory: end other programs, or use a smaller model",
    )


def _stall_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    interval_us = max(1, (after.time_ns - before.time_ns) // 1000)
    return _delta_check(
        "cpu_pressure",
        before.cpu_stall_us,
        after.cpu_stall_us,
        lambda us: (
            us > STALL_LIMIT * interval_us,
            f"tasks waited for a CPU {min(1.0, us / interval_us):.1%} of the time",
        ),
        "end other programs, or use no more threads than CPUs",
    )


def _delta_check(
    name: str,
    before: int | None,
    after: int | None,
    judge: Callable[[int], tuple[bool, str]],
    fix: str,
) -> StateCheck | None:
    if before is None:
        return None
    if after is None:
        return _row(name, "unknown", "its counter could not be read again")
    if after < before:
        return _row(name, "unknown", "its counter went backwards")
    bad, evidence = judge(after - before)
    return _row(name, "warn", evidence, fix) if bad else _row(name, "ok", evidence)


def _row(name: str, level: Level, evidence: str, fix: str = "") -> StateCheck:
    return StateCheck(name=name, level=level, evidence=evidence, fix=fix)


def _read_pi_bits(path: Path) -> int | None:
    text = files.read(path, 64)
    return None if text is None else pi_bits(text)


_READERS: dict[str, Callable[[Path], int | None]] = {
    "pi_throttled": _read_pi_bits,
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
