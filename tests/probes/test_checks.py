"""Checks of boards, GPUs and Macs, over trees and answers built here: ok, warn, invalid, unknown."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edgebench.probes import macos_thermal, nvidia_clocks, throttling
from edgebench.probes.checks import load
from edgebench.probes.device_facts import detect
from edgebench.probes.emulation import Process
from edgebench.probes.machine import Machine
from edgebench.probes.machine_state import compare, preflight, settings_check
from edgebench.probes.snapshot import Watch
from edgebench.probes.temperature import Thermometer
from edgebench.probes.throttling import Gauge, Gauges
from edgebench.record import StateCheck
from edgebench.testing.trees import write_tree

NVIDIA = {"proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05"}
JETSON = {
    "etc/nv_tegra_release": "# R36 (release), REVISION: 5.0",
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin Nano Developer Kit",
}
PI = {"sys/firmware/devicetree/base/model": "Raspberry Pi 4 Model B Rev 1.4"}
COOLING = "sys/class/thermal/cooling_device"


def nothing(command: Sequence[str]) -> str | None:
    return None


def answering(**answers: str) -> Callable[[Sequence[str]], str | None]:
    """A runner whose answers depend on the command's first word."""
    return lambda command: answers.get(command[0])


def check(name: str, root: Path, **options: Any) -> StateCheck:
    (found,) = [check for check in preflight(root, **options) if check.name == name]
    return found


class Nvml:
    """pynvml as far as it is used: one entry of `reasons` a GPU, an exception for none."""

    def __init__(self, *reasons: int | Exception) -> None:
        self.reasons: tuple[int | Exception, ...] = reasons

    def __call__(self) -> Nvml:
        return self

    def nvmlDeviceGetCount(self) -> int:
        return len(self.reasons)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: int) -> int:
        reasons = self.reasons[handle]
        if isinstance(reasons, Exception):
            raise reasons
        return reasons

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return 61


@pytest.mark.parametrize(
    ("nvml", "level", "words"),
    [
        (Nvml(0x0), "ok", "no thermal"),
        (Nvml(0x1, 0x2), "ok", "no thermal"),  # idle, and clocks set by an application
        (Nvml(0x0, 0x40), "invalid", "thermal slowdown by the hardware"),
        (Nvml(0x20), "invalid", "thermal slowdown by the driver"),
        (Nvml(0x8), "invalid", "hardware slowdown"),
        (Nvml(0x80), "invalid", "power brake"),
        (Nvml(0x4), "warn", "power cap"),
        (Nvml(0x44), "invalid", "power cap"),
        (Nvml(RuntimeError("not supported")), "unknown", "reports no reasons"),
        (Nvml(), "unknown", "no answer"),
        (lambda: None, "unknown", "no answer"),
    ],
)
def test_a_throttled_gpu_is_reported_with_its_cause(
    tmp_path: Path, nvml: Any, level: str, words: str
) -> None:
    found = check("gpu_throttle", write_tree(tmp_path, NVIDIA), nvml=nvml)
    assert found.level == level
    assert words in found.evidence
    assert bool(found.fix) == (level in ("warn", "invalid") or "no answer" in words)


def test_the_real_bindings_have_the_names_and_bits() -> None:
    pynvml = pytest.importorskip("pynvml", reason="needs nvidia-ml-py")
    for name in vars(Nvml):
        assert not name.startswith("nvml") or callable(getattr(pynvml, name))
    bits = {
        "HwSlowdown": 0x08,
        "SwThermalSlowdown": 0x20,
        "HwThermalSlowdown": 0x40,
        "HwPowerBrakeSlowdown": 0x80,
    }
    assert set(bits.values()) == set(nvidia_clocks.SLOWED)
    for name, bit in bits.items():
        assert getattr(pynvml, f"nvmlClocksThrottleReason{name}") == bit
    assert pynvml.nvmlClocksThrottleReasonSwPowerCap in nvidia_clocks.CAPPED
    assert pynvml.NVML_TEMPERATURE_GPU == nvidia_clocks.GPU_SENSOR


def test_a_machine_without_the_driver_has_no_row_for_gpus(tmp_path: Path) -> None:
    assert "gpu_throttle" not in {found.name for found in preflight(tmp_path, nvml=Nvml(0x40))}


@pytest.mark.parametrize(
    ("kind", "state", "level"),
    [
        ("cpufreq-cpu0", "0", "ok"),
        ("cpufreq-cpu0", "2", "invalid"),
        ("thermal-devfreq-0", "1", "invalid"),
        ("cpu-throttle-alert", "1", "invalid"),
        ("Processor", "3", "invalid"),
        ("intel_powerclamp", "-1", "ok"),  # idle
        ("intel_powerclamp", "25", "invalid"),
        ("Processor", "", "unknown"),
    ],
)
def test_cooling_devices_of_processors_count_as_throttling(
    tmp_path: Path, kind: str, state: str, level: str
) -> None:
    root = write_tree(tmp_path, {f"{COOLING}0/type": kind, f"{COOLING}0/cur_state": state})
    assert check("cooling_throttle", root).level == level


def test_fans_slow_nothing_down(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {f"{COOLING}0/type": "pwm-fan", f"{COOLING}0/cur_state": "3"})
    names = {found.name for found in preflight(root)}
    assert "cooling_throttle" not in names
    assert check("fan", root).evidence == "pwm-fan at step 3"
    assert Gauges(throttling.find(Machine.at(root))).checks() == []


def test_the_air_is_recorded_where_a_sensor_is_named_after_it(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    root = write_tree(tmp_path, {f"{zone}/type": "ambient-thermal", f"{zone}/temp": "24000"})
    assert check("ambient", root).evidence == "ambient-thermal 24.0 C"
    write_tree(root, {f"{zone}/temp": "-44000"})
    assert check("ambient", root).level == "unknown"


@pytest.mark.parametrize(
    ("declared", "answer", "level"),
    [
        (None, "NV Power Mode: MAXN\n0", "ok"),
        ("MAXN", "NV Power Mode: MAXN\n0", "ok"),
        ("15W", "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W\n2", "ok"),
        ("15W", "NV Power Mode: MAXN\n0", "warn"),
        ("15W", "", "unknown"),
    ],
)
def test_the_declared_power_mode(
    tmp_path: Path, declared: str | None, answer: str, level: str
) -> None:
    root = write_tree(tmp_path, JETSON)
    found = check("power_mode", root, run=answering(nvpmodel=answer), declared_mode=declared)
    assert found.level == level
    if level == "warn":
        assert "MAXN" in found.evidence
        assert "15W" in found.evidence
        assert found.fix


def test_a_mode_of_which_only_the_number_is_known(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**JETSON, "var/lib/nvpmodel/status": "pmode:0002 fmode:quiet"})
    assert check("power_mode", root, declared_mode="2").level == "ok"
    assert check("power_mode", root, declared_mode="0").level == "warn"
    assert check("power_mode", root, declared_mode="15W").level == "unknown"
    write_tree(root, {"etc/nvpmodel.conf": "< POWER_MODEL ID=2 NAME=MODE_15W >"})
    assert check("power_mode", root, declared_mode="15W").level == "ok"


def test_a_platform_profile_is_a_mode_too(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {"sys/firmware/acpi/platform_profile": "balanced"})
    assert check("power_mode", root, declared_mode="balanced").level == "ok"
    other = check("power_mode", root, declared_mode="performance")
    assert other.level == "warn"
    assert other.fix.startswith("write it to /sys/firmware/acpi/platform_profile")


def test_a_mode_is_declared_for_a_machine_that_tells_none(tmp_path: Path) -> None:
    assert check("power_mode", tmp_path, declared_mode="15W").level == "unknown"
    assert "power_mode" not in {found.name for found in preflight(tmp_path)}


def test_clocks_of_a_jetson_are_recorded(tmp_path: Path) -> None:
    root = write_tree(tmp_path, JETSON)
    shown = "SOC family:tegra234\ncpu0: Online=1 Governor=schedutil  MinFreq=115200 MaxFreq=2201600"
    found = check("jetson_clocks", root, run=answering(jetson_clocks=shown))
    assert found.level == "ok"
    assert "cpu0: Online=1 Governor=schedutil MinFreq=115200" in found.evidence
    silent = check("jetson_clocks", root, run=nothing)
    assert silent.level == "unknown"
    assert "root" in silent.evidence


@pytest.mark.parametrize(
    ("answer", "level"), [(" lowpowermode 0", "ok"), (" lowpowermode  1", "warn"), ("", "unknown")]
)
def test_low_power_mode_of_a_mac(tmp_path: Path, answer: str, level: str) -> None:
    found = check("low_power_mode", tmp_path, run=answering(pmset=answer), platform="darwin")
    assert found.level == level


def test_the_driver_is_a_fact(tmp_path: Path) -> None:
    assert detect(write_tree(tmp_path, NVIDIA)).facts["nvidia_driver"] == "580.95.05"
    newer = write_tree(tmp_path / "other", {"sys/module/nvidia/version": "590.1"})
    assert detect(newer).facts["nvidia_driver"] == "590.1"
    assert "not loaded" in detect(tmp_path / "none").unknown["nvidia_driver"]


# Gauges: looked at while a replicate runs.


def levels(gauges_of: Gauges) -> dict[str, str]:
    return {check.name: check.level for check in gauges_of.checks()}


def test_throttling_that_is_over_before_the_end_was_seen(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {f"{COOLING}0/type": "cpufreq-cpu0", f"{COOLING}0/cur_state": "0"})
    looked = Gauges(throttling.find(Machine.at(root)))
    looked.look()
    write_tree(root, {f"{COOLING}0/cur_state": "2"})
    looked.look(measuring=True)
    write_tree(root, {f"{COOLING}0/cur_state": "0"})
    (found,) = looked.checks()
    assert (found.name, found.level) == ("cooling_throttle", "invalid")
    assert "cpufreq-cpu0 is slowed down to state 2" in found.evidence
    assert found.fix


def test_gauges_of_a_gpu(tmp_path: Path) -> None:
    root = write_tree(tmp_path, NVIDIA)

    def of(*reasons: int | Exception) -> dict[str, str]:
        return levels(Gauges(throttling.find(Machine.at(root, nvml=Nvml(*reasons)))))

    assert of(0x1) == {"gpu_throttle": "ok"}
    assert of(0x4) == {"gpu_throttle": "ok"}  # the power cap is no event
    assert of(0x0, 0x40) == {"gpu_throttle": "invalid"}
    assert of(RuntimeError("not supported")) == {}  # preflight says unknown, once is enough
    nvml = Nvml(0x0)
    found = Gauges(throttling.find(Machine.at(root, nvml=nvml)))
    nvml.reasons = (RuntimeError("lost"),)
    assert levels(found) == {"gpu_throttle": "unknown"}


def test_a_gauge_that_starts_a_process_is_left_alone_while_something_is_measured() -> None:
    read: list[str] = []

    def answer(name: str) -> str:
        read.append(name)
        return ""

    cheap = Gauge("cheap", "fix", lambda: answer("cheap"))
    dear = Gauge("dear", "fix", lambda: answer("dear"), starts_process=True)
    looked = Gauges([cheap, dear])
    looked.look(measuring=True)
    assert read == ["cheap"]
    assert levels(looked) == {"cheap": "ok", "dear": "ok"}


def test_a_pi_is_asked_by_its_tool_only_where_the_kernel_does_not_tell(tmp_path: Path) -> None:
    root = write_tree(tmp_path, PI)
    asked = Machine.at(root, run=answering(vcgencmd="throttled=0x50000\n"))
    assert levels(Gauges(throttling.find(asked))) == {
        "pi_throttled": "invalid",
        "pi_undervoltage": "invalid",
    }
    silent = Machine.at(root, run=nothing)
    assert set(levels(Gauges(throttling.find(silent))).values()) == {"unknown"}
    write_tree(root, {"sys/devices/platform/soc/soc:firmware/get_throttled": "0"})
    assert throttling.find(asked) == ()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("80008", {"pi_throttled": "invalid", "pi_undervoltage": "ok"}),
        ("10001", {"pi_throttled": "ok", "pi_undervoltage": "invalid"}),
        ("0", {"pi_throttled": "ok", "pi_undervoltage": "ok"}),
    ],
)
def test_heat_and_voltage_of_a_pi_are_told_apart(
    tmp_path: Path, flags: str, expected: dict[str, str]
) -> None:
    path = "sys/devices/platform/soc/soc:firmware/get_throttled"
    watch = Watch.find(write_tree(tmp_path, {**PI, path: "0"}))
    before = watch.snapshot()
    write_tree(tmp_path, {path: flags})
    assert {row.name: row.level for row in compare(before, watch.snapshot())} == expected


class LibSystem:
    """notify(3) with one key."""

    def __init__(self, level: int, known: bool = True) -> None:
        self.level, self.known = level, known

    def notify_register_check(self, key: bytes, token: Any) -> int:
        assert key == b"com.apple.system.thermalpressurelevel"
        return 0 if self.known else 1

    def notify_get_state(self, token: Any, state: Any) -> int:
        ctypes.cast(state, ctypes.POINTER(ctypes.c_uint64))[0] = self.level
        return 0 if self.level >= 0 else 1


def test_thermal_pressure_of_a_mac_without_a_process() -> None:
    read = macos_thermal.thermal_pressure_reader(LibSystem(2))
    assert read is not None
    assert read() == 2
    silent = macos_thermal.thermal_pressure_reader(LibSystem(-1))
    assert silent is not None
    assert silent() is None
    assert macos_thermal.thermal_pressure_reader(LibSystem(0, known=False)) is None


@pytest.mark.parametrize(("level", "expected"), [(0, "ok"), (1, "invalid"), (-1, "unknown")])
def test_the_gauge_of_a_mac(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: int, expected: str
) -> None:
    reader = macos_thermal.thermal_pressure_reader(LibSystem(level))
    monkeypatch.setattr(macos_thermal, "thermal_pressure_reader", lambda: reader)
    machine = Machine.at(tmp_path, run=nothing, platform="darwin")
    assert levels(Gauges(throttling.find(machine))) == {"thermal_pressure": expected}


def test_settings_are_compared_by_value() -> None:
    before = {"a/scaling_governor": "performance"}
    assert settings_check(before, before).level == "ok"
    changed = settings_check(before, {"a/scaling_governor": "powersave"})
    assert changed.level == "invalid"
    assert "performance -> powersave" in changed.evidence


# The thermometer


ZONE = "sys/class/thermal/thermal_zone"


def test_the_hottest_sensor_of_the_chip_is_read(tmp_path: Path) -> None:
    root = write_tree(
        tmp_path,
        {
            f"{ZONE}0/type": "acpitz",
            f"{ZONE}0/temp": "99000",
            f"{ZONE}1/type": "cpu-thermal",
            f"{ZONE}1/temp": "48000",
            f"{ZONE}2/type": "gpu-thermal",
            f"{ZONE}2/temp": "51500",
            "sys/class/hwmon/hwmon0/name": "nvme",
            "sys/class/hwmon/hwmon0/temp1_input": "70000",
            "sys/class/hwmon/hwmon1/name": "coretemp",
            "sys/class/hwmon/hwmon1/temp1_input": "50000",
        },
    )
    thermometer = Thermometer.find(root)
    assert thermometer.source == "cpu-thermal, gpu-thermal, coretemp"
    assert thermometer.read() == 51.5


def test_the_dummy_of_a_jetsons_power_chip_is_no_temperature(tmp_path: Path) -> None:
    tree: dict[str, str] = {}
    for number, (name, reading) in enumerate(
        [("CPU-therm", "40000"), ("PMIC-Die", "100000"), ("GPU-therm", "38500")]
    ):
        tree |= {f"{ZONE}{number}/type": name, f"{ZONE}{number}/temp": reading}
    for number, limit in ((0, "95000"), (1, "105000")):
        tree |= {f"{ZONE}{number}/trip_point_0_type": "critical"}
        tree |= {f"{ZONE}{number}/trip_point_0_temp": limit}
    root = write_tree(tmp_path, tree)
    thermometer = Thermometer.find(root)
    assert thermometer.source == "CPU-therm, GPU-therm"
    assert thermometer.read() == 40.0
    found = check("temperature", root)
    assert (found.level, found.evidence[:16]) == ("ok", "CPU-therm 40.0 C")


@pytest.mark.parametrize("reading", ["-44000", "", None])
def test_nonsense_is_no_temperature(tmp_path: Path, reading: str | None) -> None:
    tree = {f"{ZONE}0/type": "cv0-thermal"}
    if reading is not None:  # a power-gated engine has no such file to read, or answers EAGAIN
        tree[f"{ZONE}0/temp"] = reading
    thermometer = Thermometer.find(write_tree(tmp_path, tree))
    assert thermometer.read() is None


def test_a_temperature_without_a_limit_is_shown_and_judged_by_nobody(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {f"{ZONE}0/type": "cpu-thermal", f"{ZONE}0/temp": "48250"})
    found = check("temperature", root)
    assert (found.level, found.evidence[:7]) == ("unknown", "48.2 C;")


def test_a_gpu_counts_where_it_is_used(tmp_path: Path) -> None:
    root = write_tree(tmp_path, {**NVIDIA, f"{ZONE}0/type": "x", f"{ZONE}0/temp": "40000"})
    used = Thermometer.find(root, nvml=Nvml(0x0), gpu_used=True)
    assert (used.read(), used.source) == (61.0, "x, NVML")
    assert Thermometer.find(root, nvml=Nvml(0x0)).read() == 40.0


def test_why_there_is_no_thermometer(tmp_path: Path) -> None:
    assert Thermometer.find(tmp_path).source == "no sensor of the CPU or GPU in /sys"
    assert "root" in Thermometer.find(tmp_path, platform="darwin").source


def test_an_emulated_process_is_warned_of_and_a_native_one_is_not(tmp_path: Path) -> None:
    write_tree(tmp_path, {"proc/sys/kernel/arch": "x86_64"})
    tree = Machine.at(tmp_path)
    found = load.emulated(tree, Process("aarch64", 64))
    assert found is not None
    assert (found.level, bool(found.fix)) == ("warn", True)
    assert load.emulated(tree, Process("x86_64", 64)) is None
    assert load.emulated(tree) is None  # a copy of a machine's files
