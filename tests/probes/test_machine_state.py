"""Checks around a run, and counters around a replicate."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgebench.probes import proc_files
from edgebench.probes.machine_state import postflight, preflight
from edgebench.probes.snapshot import Snapshot, Watch, snapshot
from edgebench.probes.snapshot_changes import compare
from edgebench.record import StateCheck
from edgebench.testing.trees import write_tree

CPU = "sys/devices/system/cpu"
OC = "sys/devices/platform/soctherm-oc-event/hwmon/hwmon3"

QUIET = {
    "proc/loadavg": "0.04 0.10 0.20 1/105 27021",
    "proc/stat": "cpu  200970 1477 22708 105431 511 0 239 973 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0",
    "proc/vmstat": "nr_free_pages 12\npswpin 0\npswpout 0",
    "proc/pressure/cpu": "some avg10=0.10 avg60=2.00 avg300=3.85 total=15\n"
    "full avg10=0.00 avg60=0.00 avg300=0.00 total=0",
    "proc/cpuinfo": "processor : 0\nflags : fpu avx2",
    f"{CPU}/online": "0-3",
    f"{CPU}/cpufreq/policy0/scaling_governor": "performance",
    f"{CPU}/cpufreq/policy0/scaling_min_freq": "2400000",
    f"{CPU}/cpufreq/policy0/scaling_max_freq": "2400000",
    f"{CPU}/intel_pstate/no_turbo": "1",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "10084",
    f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "34818",
    f"{CPU}/cpu0/topology/thread_siblings_list": "0",
    f"{CPU}/cpu0/topology/core_siblings_list": "0-1",
    f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "523",
    f"{CPU}/cpu1/thermal_throttle/package_throttle_count": "34818",
    f"{CPU}/cpu1/topology/thread_siblings_list": "1",
    f"{CPU}/cpu1/topology/core_siblings_list": "0-1",
    "sys/class/thermal/thermal_zone0/type": "x86_pkg_temp",
    "sys/class/thermal/thermal_zone0/temp": "49925",
    "sys/class/thermal/thermal_zone0/trip_point_0_type": "passive",
    "sys/class/thermal/thermal_zone0/trip_point_0_temp": "95000",
    "sys/class/thermal/thermal_zone1/type": "acpitz",
    "sys/class/thermal/thermal_zone1/temp": "-44000",
    "sys/class/thermal/thermal_zone1/trip_point_0_type": "critical",
    "sys/class/thermal/thermal_zone1/trip_point_0_temp": "-40000",
    "sys/class/hwmon/hwmon9/name": "board",
    "sys/class/hwmon/hwmon9/fan1_input": "1832",
    "sys/class/hwmon/hwmon9/temp1_label": "Ambient",
    "sys/class/hwmon/hwmon9/temp1_input": "23500",
    "sys/class/thermal/cooling_device0/type": "intel_powerclamp",
    "sys/class/thermal/cooling_device0/cur_state": "-1",
    "sys/class/thermal/cooling_device1/type": "Processor",
    "sys/class/thermal/cooling_device1/cur_state": "0",
    "sys/class/power_supply/AC/type": "Mains",
    "sys/class/power_supply/AC/online": "1",
    "proc/self/cgroup": "0::/job",
    "sys/fs/cgroup/job/cpu.stat": "usage_usec 1\nnr_periods 10\nnr_throttled 3",
}


def levels(checks: Sequence[StateCheck]) -> dict[str, str]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check.level for check in checks}


def level_of(name: str, root: Path, changes: dict[str, str]) -> str:
    """Level of one check after these files of a quiet machine were replaced."""
    return levels(preflight(write_tree(root, {**QUIET, **changes})))[name]


def test_a_quiet_machine_is_all_ok(tmp_path: Path) -> None:
    checks = preflight(write_tree(tmp_path, QUIET))
    assert levels(checks) == dict.fromkeys(
        [
            "governor", "turbo", "clocks_pinned", "cpu_pressure", "load", "steal", "swap",
            "battery", "hypervisor", "temperature", "thermal_throttle", "cgroup_throttle",
            "cooling_throttle", "fan", "ambient",
        ],
        "ok",
    )  # fmt: skip
    assert all(check.evidence and not check.fix for check in checks)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("governor", {f"{CPU}/cpufreq/policy1/scaling_governor": "schedutil"}),
        ("turbo", {f"{CPU}/intel_pstate/no_turbo": "0"}),
        ("clocks_pinned", {f"{CPU}/cpufreq/policy0/scaling_min_freq": "800000"}),
        (
            "clocks_pinned",
            {
                "sys/class/devfreq/17000000.ga10b/min_freq": "306000000",
                "sys/class/devfreq/17000000.ga10b/max_freq": "918000000",
            },
        ),
        ("cpu_pressure", {"proc/pressure/cpu": "some avg10=5.01 avg60=0 avg300=0 total=1"}),
        ("load", {"proc/loadavg": "0.41 0.10 0.20 1/105 27021"}),
        ("steal", {"proc/stat": "cpu  900 0 90 5 0 0 0 11 0 0"}),
        (
            "swap",
            {
                "proc/vmstat": "pswpin 3\npswpout 4",
                "proc/pressure/memory": "some avg10=0.20 avg60=0.00 avg300=0.00 total=99",
            },
        ),
        (
            "battery",
            {
                "sys/class/power_supply/BAT0/type": "Battery",
                "sys/class/power_supply/BAT0/status": "Discharging",
            },
        ),
        ("hypervisor", {"proc/cpuinfo": "flags : fpu hypervisor"}),
        ("temperature", {"sys/class/thermal/thermal_zone0/temp": "85001"}),
        (
            "temperature",
            {
                "sys/class/hwmon/hwmon0/name": "coretemp",
                "sys/class/hwmon/hwmon0/temp1_input": "95000",
                "sys/class/hwmon/hwmon0/temp1_crit": "100000",
            },
        ),
    ],
)
def test_each_disturbance_warns_with_a_fix(
    tmp_path: Path, name: str, changes: dict[str, str]
) -> None:
    checks = preflight(write_tree(tmp_path, {**QUIET, **changes}))
    bad = {check.name: check for check in checks if check.level != "ok"}
    assert list(bad) == [name]
    assert bad[name].level == "warn"
    assert bad[name].fix


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("load", {"proc/loadavg": "0.40 0 0 1/1 1"}),
        ("cpu_pressure", {"proc/pressure/cpu": "some avg10=5.00 avg60=0 avg300=0 total=1"}),
        ("temperature", {"sys/class/thermal/thermal_zone0/temp": "85000"}),
        (
            "temperature",
            {
                "sys/class/thermal/thermal_zone0/trip_point_1_type": "active",  # a fan's
                "sys/class/thermal/thermal_zone0/trip_point_1_temp": "50000",
            },
        ),
        (
            "swap",
            {
                "proc/vmstat": "pswpin 3\npswpout 4",
                "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=99",
            },
        ),
        (
            "battery",
            {
                "sys/class/power_supply/mouse/type": "Battery",
                "sys/class/power_supply/mouse/scope": "Device",
                "sys/class/power_supply/mouse/status": "Discharging",
            },
        ),
    ],
)
def test_values_within_their_limits_are_ok(
    tmp_path: Path, name: str, changes: dict[str, str]
) -> None:
    assert level_of(name, tmp_path, changes) == "ok"


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("load", {"proc/loadavg": ""}),
        ("cpu_pressure", {"proc/pressure/cpu": "some avg10=nan"}),
        ("steal", {"proc/stat": "cpu  1 2 3 4"}),
        ("swap", {"proc/vmstat": "pswpin 0"}),
        ("swap", {"proc/vmstat": "pswpin 1\npswpout 0"}),  # and no memory pressure to ask
        ("governor", {f"{CPU}/cpufreq/policy0/scaling_governor": ""}),
        ("temperature", {"sys/class/thermal/thermal_zone0/temp": "-44000"}),
    ],
)
def test_values_that_cannot_be_read_are_unknown(
    tmp_path: Path, name: str, changes: dict[str, str]
) -> None:
    assert level_of(name, tmp_path, changes) == "unknown"


def test_an_empty_tree_is_unknown_throughout(tmp_path: Path) -> None:
    checks = preflight(tmp_path)
    assert set(levels(checks).values()) == {"unknown"}
    assert all(check.evidence for check in checks)


def test_a_sensor_that_answers_eagain_is_no_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = proc_files._read_bytes

    def gated(path: Path, limit_bytes: int) -> bytes:
        if path.name == "temp" and "thermal_zone2" in str(path):
            raise BlockingIOError(11, "Resource temporarily unavailable")
        return original(path, limit_bytes)

    monkeypatch.setattr(proc_files, "_read_bytes", gated)
    zone = "sys/class/thermal/thermal_zone2"
    changes = {
        f"{zone}/type": "cv0-thermal",
        f"{zone}/temp": "99000",
        f"{zone}/trip_point_0_type": "critical",
        f"{zone}/trip_point_0_temp": "100000",
    }
    assert level_of("temperature", tmp_path, changes) == "ok"


def test_after_a_run_its_own_load_is_not_held_against_it(tmp_path: Path) -> None:
    busy = {"proc/loadavg": "4 4 4 1/1 1", "proc/pressure/cpu": "some avg10=50.00 total=1"}
    root = write_tree(tmp_path, {**QUIET, **busy})
    before, after = levels(preflight(root)), levels(postflight(root))
    assert (before.pop("load"), before.pop("cpu_pressure")) == ("warn", "warn")
    assert after == before


PI = {"sys/firmware/devicetree/base/model": "Raspberry Pi 5 Model B Rev 1.0"}


@pytest.mark.parametrize(
    ("answer", "level"),
    [
        ("throttled=0x0", "ok"),
        ("throttled=0x50005", "invalid"),
        ("throttled=0x50000", "invalid"),
        ("gibberish", "unknown"),
        (None, "unknown"),
    ],
)
def test_flags_of_a_raspberry_pi(tmp_path: Path, answer: str | None, level: str) -> None:
    def run(command: Sequence[str]) -> str | None:
        return answer if list(command) == ["vcgencmd", "get_throttled"] else None

    assert levels(preflight(write_tree(tmp_path, PI), run=run))["pi_throttled"] == level


def test_flags_of_a_raspberry_pi_without_its_tool(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path, {**PI, "sys/devices/platform/soc/soc:firmware/get_throttled": "50000"}
    )
    assert levels(preflight(root))["pi_throttled"] == "invalid"


@pytest.mark.parametrize(
    ("pressure", "power", "expected"),
    [
        ("0", "AC Power", {"thermal_pressure": "ok", "battery": "ok"}),
        ("2", "Battery Power", {"thermal_pressure": "invalid", "battery": "warn"}),
        ("", "", {"thermal_pressure": "unknown", "battery": "unknown"}),
    ],
)
def test_state_of_a_mac_is_read(
    tmp_path: Path, pressure: str, power: str, expected: dict[str, str]
) -> None:
    answers = {
        "notifyutil": f"com.apple.system.thermalpressurelevel {pressure}\n",
        "pmset -g batt": f"Now drawing from '{power}'\n" if power else "",
        "pmset -g": " lowpowermode         0\n sleep 1",
        "sysctl -n vm.loadavg": "{ 0.20 1.46 1.42 }\n",
        "sysctl -n hw.logicalcpu": "10\n",
        "sysctl -n kern.hv_vmm_present": "0\n",
    }

    def run(command: Sequence[str]) -> str | None:
        return answers.get(" ".join(command), answers.get(command[0]))

    found = levels(preflight(tmp_path, run=run, platform="darwin"))
    assert found == {"load": "ok", "hypervisor": "ok", "low_power_mode": "ok", **expected}


def test_a_jetson_shows_its_counters_and_mode(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            **{f"{OC}/oc{n}_event_cnt": str(n) for n in (1, 2, 3)},
            "etc/nv_tegra_release": "# R36 (release), REVISION: 5.0",
            "var/lib/nvpmodel/status": "pmode:0002",
        },
    )
    found = {check.name: check for check in preflight(root)}
    assert found["overcurrent"].evidence.startswith("oc1_event_cnt 1, oc2_event_cnt 2")
    assert found["power_mode"].evidence == "mode 2"


# Snapshots and what lies between two of them.


def after_change(root: Path, changes: dict[str, str], seconds: float = 1.0) -> list[StateCheck]:
    """Rows between a snapshot of a quiet machine and one with these files replaced."""
    watch = Watch.find(write_tree(root, QUIET))
    before = watch.snapshot(lambda: 0)
    write_tree(root, changes)
    return compare(before, watch.snapshot(lambda: int(seconds * 1e9)))


def test_an_unchanged_machine_is_ok(tmp_path: Path) -> None:
    assert levels(after_change(tmp_path, {})) == dict.fromkeys(
        [
            "thermal_throttle", "cgroup_throttle", "settings_changed", "steal", "swap",
            "cpu_pressure",
        ],
        "ok",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "level", "changes"),
    [
        (
            "thermal_throttle",
            "invalid",
            {f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "524"},
        ),
        ("cgroup_throttle", "invalid", {"sys/fs/cgroup/job/cpu.stat": "nr_throttled 4"}),
        (
            "settings_changed",
            "invalid",
            {f"{CPU}/cpufreq/policy0/scaling_governor": "powersave"},
        ),
        ("settings_changed", "invalid", {f"{CPU}/cpufreq/policy0/scaling_max_freq": "1200000"}),
        ("settings_changed", "invalid", {"sys/class/power_supply/AC/online": "0"}),
        (
            "steal",
            "warn",
            {"proc/stat": "cpu  201164 1477 22708 105431 511 0 239 975 0 0"},
        ),  # 2 of 196 ticks
        ("swap", "warn", {"proc/vmstat": "pswpin 0\npswpout 1"}),
        ("cpu_pressure", "warn", {"proc/pressure/cpu": "some avg10=0.00 total=50016"}),
        ("thermal_throttle", "unknown", {f"{CPU}/cpu1/thermal_throttle/core_throttle_count": "0"}),
        ("swap", "unknown", {"proc/vmstat": "nr_free_pages 1"}),
        ("steal", "unknown", {"proc/stat": "intr 1"}),
        ("cpu_pressure", "unknown", {"proc/pressure/cpu": "some avg10=0.00 total=14"}),
    ],
)
def test_each_event_in_between_has_its_level(
    tmp_path: Path, name: str, level: str, changes: dict[str, str]
) -> None:
    rows = after_change(tmp_path, changes)
    assert {k: v for k, v in levels(rows).items() if v != "ok"} == {name: level}
    if level != "unknown":
        assert all(row.fix for row in rows if row.name == name)


@pytest.mark.parametrize(
    "changes",
    [
        {"proc/stat": "cpu  200979 1477 22708 105431 511 0 239 974 0 0"},  # one tick is rounding
        {"proc/stat": "cpu  201168 1477 22708 105431 511 0 239 975 0 0"},  # 2 of 200: 1 %
        {"proc/pressure/cpu": "some avg10=9.00 total=50015"},  # 5 % of a second
        {"sys/class/thermal/thermal_zone0/temp": "94000"},  # no counter
    ],
)
def test_changes_within_their_limits_are_ok(tmp_path: Path, changes: dict[str, str]) -> None:
    assert set(levels(after_change(tmp_path, changes)).values()) == {"ok"}


def test_a_mouse_that_falls_asleep_changes_no_setting(tmp_path: Path) -> None:
    mouse = "sys/class/power_supply/hidpp_battery_0"
    tree = {f"{mouse}/type": "Battery", f"{mouse}/scope": "Device", f"{mouse}/online": "1"}
    write_tree(tmp_path, tree)
    assert set(levels(after_change(tmp_path, {f"{mouse}/online": "0"})).values()) == {"ok"}


def test_a_counter_that_vanishes_is_unknown(tmp_path: Path) -> None:
    watch = Watch.find(write_tree(tmp_path, QUIET))
    before = watch.snapshot()
    (tmp_path / f"{CPU}/cpu1/thermal_throttle/core_throttle_count").unlink()
    (tmp_path / f"{CPU}/cpufreq/policy0/scaling_governor").unlink()
    rows = {row.name: row for row in compare(before, watch.snapshot())}
    assert rows["thermal_throttle"].level == "unknown"
    assert "cpu1/thermal_throttle/core_throttle_count" in rows["thermal_throttle"].evidence
    assert rows["settings_changed"].level == "unknown"


def test_a_machine_without_counters_gives_no_rows(tmp_path: Path) -> None:
    assert compare(snapshot(tmp_path), snapshot(tmp_path)) == []


def test_jetson_and_pi_events_invalidate(tmp_path: Path) -> None:
    flags = "sys/devices/platform/soc/soc:firmware/get_throttled"
    watch = Watch.find(write_tree(tmp_path, {f"{OC}/oc3_event_cnt": "4", flags: "0"}))
    before = watch.snapshot()
    write_tree(tmp_path, {f"{OC}/oc3_event_cnt": "5", flags: "80008"})
    rows = {row.name: row for row in compare(before, watch.snapshot())}
    assert (rows["overcurrent"].level, rows["pi_throttled"].level) == ("invalid", "invalid")
    assert "0x80008" in rows["pi_throttled"].evidence


def test_a_counter_that_cpus_share_is_read_once(tmp_path: Path) -> None:
    counts = snapshot(write_tree(tmp_path, QUIET)).events["thermal_throttle"]
    assert list(counts.values()) == [10084, 523, 34818]


def test_a_snapshot_reads_its_files_once_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch.find(write_tree(tmp_path, QUIET))
    expected = watch.snapshot(lambda: 0)
    seen: list[Path] = []
    original = proc_files._read_bytes

    def recording(path: Path, limit_bytes: int) -> bytes:
        seen.append(path)
        return original(path, limit_bytes)

    monkeypatch.setattr(proc_files, "_read_bytes", recording)
    monkeypatch.setattr(proc_files, "glob", lambda root, pattern: pytest.fail("looked for files"))
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("started a process"))
    assert watch.snapshot(lambda: 0) == expected
    assert sorted(seen) == sorted(watch.files())
    assert len(seen) == 13


def test_the_files_are_looked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = snapshot(write_tree(tmp_path, QUIET), lambda: 0)
    monkeypatch.setattr(proc_files, "glob", lambda root, pattern: pytest.fail("looked for files"))
    assert snapshot(tmp_path, lambda: 0) == first


counts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 2**40), min_size=1)
snapshots = st.builds(
    Snapshot,
    time_ns=st.integers(0, 2**60),
    events=st.dictionaries(
        st.sampled_from(["thermal_throttle", "overcurrent", "cgroup_throttle"]), counts
    ),
    modes=st.dictionaries(st.sampled_from("xyz"), st.sampled_from(["performance", "powersave"])),
    stolen_ticks=st.none() | st.integers(0, 2**40),
    wanted_ticks=st.none() | st.integers(0, 2**40),
    swapped_pages=st.none() | st.integers(0, 2**40),
    cpu_stall_us=st.none() | st.integers(0, 2**40),
)


@given(snapshots)
def test_no_change_is_never_a_finding(before: Snapshot) -> None:
    assert all(row.level == "ok" for row in compare(before, before))


@given(snapshots, st.data())
def test_any_event_invalidates_whatever_else_happens(before: Snapshot, data: st.DataObject) -> None:
    kinds = [kind for kind, found in before.events.items() if found]
    if not kinds:
        return
    kind = data.draw(st.sampled_from(kinds))
    name = data.draw(st.sampled_from(sorted(before.events[kind])))
    raised = {**before.events[kind], name: before.events[kind][name] + data.draw(st.integers(1))}
    after = replace(data.draw(snapshots), events={**before.events, kind: raised})
    assert levels(compare(before, after))[kind] == "invalid"


@given(snapshots, snapshots)
def test_rows_are_only_for_what_was_there_before(before: Snapshot, after: Snapshot) -> None:
    rows = compare(before, after)
    assert all(row.evidence for row in rows)
    assert all(row.fix for row in rows if row.level in {"warn", "invalid"})
    names = {row.name for row in rows}
    assert {"thermal_throttle", "overcurrent", "cgroup_throttle"} & names == set(before.events)
    assert ("swap" in names) == (before.swapped_pages is not None)
    assert ("settings_changed" in names) == bool(before.modes)
