"""Finds what changed on a machine between two snapshots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edgebench.probes.checks.check_result import judge, recorded, unknown
from edgebench.probes.snapshot import EVENTS, FLAGS, Snapshot
from edgebench.record import StateCheck
from edgebench.words import state_words as words

STEAL_LIMIT = 0.01
STALL_LIMIT = 0.05
#: Checks of which another evidence is another setting.
SETTINGS = frozenset(
    {"power_mode", "governor", "turbo", "clocks_pinned", "battery", "low_power_mode"}
)
#: What the kernel cools by: it lowers the highest clock, in the files that hold the setting.
_COOLS = "max_freq"
_COOLED_CHECK = "clocks_pinned"


def cooled(checks: Sequence[StateCheck]) -> bool:
    """Whether the kernel slowed a processor down because of heat."""
    return any(check.name == "cooling_throttle" and check.level == "invalid" for check in checks)


def without_cooling(modes: Mapping[str, str]) -> dict[str, str]:
    """The entries of `Snapshot.modes` that heat does not change."""
    return {name: setting for name, setting in modes.items() if not name.endswith(_COOLS)}


def compare(before: Snapshot, after: Snapshot) -> list[StateCheck]:
    """Checks what happened between two snapshots of one machine.

    `invalid`: throttling, or a setting that changed. `warn`: stolen CPU time, swapping, tasks that
    waited for a CPU (the worker's own threads among them). `unknown`: a counter that disappeared or
    went backwards. A counter that neither snapshot has gives no row.
    """
    checks = [
        _event_check(kind, before.events[kind], after.events.get(kind, {}))
        for kind in EVENTS
        if kind in before.events
    ]
    if before.modes:
        checks.append(settings_check(before.modes, after.modes))
    optional = (
        _steal_check(before, after),
        _swap_check(before, after),
        _stall_check(before, after),
    )
    return checks + [check for check in optional if check is not None]


def _event_check(kind: str, before: Mapping[str, int], after: Mapping[str, int]) -> StateCheck:
    meaning, fix = words.EVENTS[kind]
    if kind in FLAGS:
        raised = {name: bits for name, bits in after.items() if bits}
        amount = ", ".join(f"{bits:#x}" for bits in raised.values())
    else:
        raised = {n: after[n] - count for n, count in before.items() if after.get(n, 0) > count}
        amount = words.times(count=sum(raised.values()))
    if raised:
        where = next(iter(raised))
        evidence = words.event(meaning=meaning, amount=amount, where=where)
        return judge(kind, False, evidence, fix, bad="invalid")
    lost = [name for name in before if name not in after]
    if lost:
        return unknown(kind, words.lost(name=lost[0]))
    back = [name for name, count in before.items() if after[name] < count]
    if back and kind not in FLAGS:
        return unknown(kind, words.reset(name=back[0]))
    return recorded(kind, words.NO_EVENT)


def settings_check(before: Mapping[str, str], after: Mapping[str, str]) -> StateCheck:
    """Whether governor, clocks, power mode and charger are as before (`Snapshot.modes`)."""
    changed = [
        words.setting_changed(name=name, before=setting, after=after[name])
        for name, setting in before.items()
        if name in after and after[name] != setting
    ]
    if changed:
        evidence = changed[0] + words.and_more(len(changed) - 1)
        return judge("settings_changed", False, evidence, words.KEEP_SETTINGS, bad="invalid")
    lost = [name for name in before if name not in after]
    if lost:
        return unknown("settings_changed", words.lost(name=lost[0]))
    return recorded("settings_changed", words.SAME_SETTINGS)


def changed_since(before: Sequence[StateCheck], after: Sequence[StateCheck]) -> list[StateCheck]:
    """`invalid` where checks before and after a run found another setting of the machine.

    Also tells what no file does: macOS's low power mode, what `nvpmodel -q` answers. A check that is
    unknown at either time tells nothing.
    """
    was = {check.name: check for check in before if check.level != "unknown"}
    names = SETTINGS - {_COOLED_CHECK} if cooled([*before, *after]) else SETTINGS
    changed = [
        words.setting_changed(
            name=check.name, before=was[check.name].evidence, after=check.evidence
        )
        for check in after
        if check.name in names
        and check.level != "unknown"
        and check.name in was
        and check.evidence != was[check.name].evidence
    ]
    if not changed:
        return []
    return [
        judge("settings_changed", False, "; ".join(changed), words.KEEP_SETTINGS, bad="invalid")
    ]


def _steal_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    """Stolen over wanted CPU time: a share of all time would hide one busy CPU among many idle."""
    if before.stolen_ticks is None or before.wanted_ticks is None:
        return None
    if after.stolen_ticks is None or after.wanted_ticks is None:
        return unknown("steal", words.lost(name="/proc/stat"))
    stolen = after.stolen_ticks - before.stolen_ticks
    wanted_ticks = after.wanted_ticks - before.wanted_ticks
    if stolen < 0 or wanted_ticks < stolen:
        return unknown("steal", words.backwards(name="/proc/stat"))
    share = stolen / wanted_ticks if wanted_ticks else 0.0
    # One tick is what rounding alone can show.
    good = stolen <= 1 or share <= STEAL_LIMIT
    return judge("steal", good, words.stolen(share=share), words.DEDICATED_CORES)


def _swap_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    return _delta_check(
        "swap",
        before.swapped_pages,
        after.swapped_pages,
        lambda pages: (pages == 0, words.swapped(pages=pages)),
        words.FREE_MEMORY_OR_SMALLER,
    )


def _stall_check(before: Snapshot, after: Snapshot) -> StateCheck | None:
    interval_us = max(1, (after.time_ns - before.time_ns) // 1000)
    return _delta_check(
        "cpu_pressure",
        before.cpu_stall_us,
        after.cpu_stall_us,
        lambda us: (
            us <= STALL_LIMIT * interval_us,
            words.waited_for_cpu_meanwhile(share=min(1.0, us / interval_us)),
        ),
        words.FEWER_THREADS,
    )


def _delta_check(
    name: str,
    before: int | None,
    after: int | None,
    look: Callable[[int], tuple[bool, str]],
    fix: str,
) -> StateCheck | None:
    if before is None:
        return None
    if after is None:
        return unknown(name, words.COUNTER_LOST)
    if after < before:
        return unknown(name, words.COUNTER_BACKWARDS)
    good, evidence = look(after - before)
    return judge(name, good, evidence, fix)
