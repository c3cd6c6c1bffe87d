"""Apple's counters: mixed units, separators, intervals that last longer, a CPU that counts nothing."""

from __future__ import annotations

import plistlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgebench.energy import NoEnergy
from edgebench.energy.meter_liveness import check_alive
from edgebench.energy.sources import ioreport, powermetrics
from edgebench.energy.sources.ioreport import IOReport
from edgebench.energy.sources.powermetrics import Powermetrics
from edgebench.probes.machine import Machine
from tests.energy.energy_trees import Clock

#: Channels of one group as chips report them, each in a unit of its own.
MJ_OF_UNIT = {"mJ": 1.0, "uJ": 1e-3, "nJ": 1e-6}


@dataclass
class Metrics:
    """Shape of zeus_apple_silicon.AppleEnergyMetrics: whole millijoules, None for what a chip lacks."""

    cpu_total_mj: int | None = None
    gpu_mj: int | None = None
    gpu_sram_mj: int | None = None
    ane_mj: int | None = None
    dram_mj: int | None = None


class FakeMonitor:
    """Shape of AppleEnergyMonitor: brings every channel of the group to millijoules by its unit."""

    def __init__(self, channels: dict[str, tuple[int, str]]) -> None:
        self.channels = channels

    def get_cumulative_energy(self) -> Metrics:
        return Metrics(
            **{name: int(value * MJ_OF_UNIT[unit]) for name, (value, unit) in self.channels.items()}
        )


def opened(channels: dict[str, tuple[int, str]], clock: Clock) -> tuple[IOReport, FakeMonitor]:
    monitor = FakeMonitor(channels)
    source = IOReport(0.1, clock, lambda: monitor)
    source.open()
    return source, monitor


def test_units_that_are_mixed_in_one_group() -> None:
    clock = Clock()
    source, monitor = opened(
        {"cpu_total_mj": (1_000, "mJ"), "dram_mj": (500_000, "uJ"), "gpu_mj": (2_000_000, "nJ")},
        clock,
    )
    assert source.total_rail == "CPU + GPU + DRAM"  # what this chip tells of, and no more
    clock.advance(1)
    monitor.channels = {
        "cpu_total_mj": (9_000, "mJ"),  # 8 J
        "dram_mj": (2_500_000, "uJ"),  # 2 J
        "gpu_mj": (4_002_000_000, "nJ"),  # 4 J
    }
    assert source.sample().value == pytest.approx(14)
    assert [rail.value for rail in source.rails()] == pytest.approx([8, 4, 2])


def test_a_cpu_that_counts_nothing_is_dead_though_the_sum_advances() -> None:
    clock = Clock()
    source, monitor = opened({"cpu_total_mj": (0, "mJ"), "gpu_mj": (100, "mJ")}, clock)

    def load(seconds: float) -> None:
        clock.advance(seconds)
        monitor.channels["gpu_mj"] = (300, "mJ")

    dead = check_alive(source, load)
    assert dead is not None
    assert (dead.reason, "CPU did not advance" in dead.detail) == ("counter_dead", True)
    monitor.channels["cpu_total_mj"] = (0, "mJ")

    def working(seconds: float) -> None:
        load(seconds)
        monitor.channels["cpu_total_mj"] = (4_000, "mJ")
        monitor.channels["gpu_mj"] = (500, "mJ")

    assert check_alive(source, working) is None


def test_a_chip_that_tells_nothing_does_not_open() -> None:
    with pytest.raises(OSError, match="no energy"):
        opened({}, Clock())


def test_a_read_that_fails_is_a_gap_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: FakeMonitor) -> Metrics:
        raise RuntimeError("no sample")

    clock = Clock()
    source, monitor = opened({"cpu_total_mj": (1_000, "mJ")}, clock)
    with monkeypatch.context() as patch:
        patch.setattr(FakeMonitor, "get_cumulative_energy", fails)
        clock.advance(1)
        assert source.sample().value is None
        with pytest.raises(OSError, match="zeus_apple_silicon: no sample"):
            opened({"cpu_total_mj": (1_000, "mJ")}, clock)
    monitor.channels = {"cpu_total_mj": (9_000, "mJ")}
    clock.advance(1)
    assert source.sample().value == pytest.approx(8)


@pytest.mark.parametrize(
    ("brand", "period_s"),
    [("Apple M1", 0.1), ("Apple M4 Pro", 0.1), ("Apple M5 Max", 2.23), ("Apple processor", 2.23)],
)
def test_the_period_is_the_chips_or_the_slowest_known(brand: str, period_s: float) -> None:
    machine = Machine.at(Path("/nowhere"), lambda command: f"{brand}\n", "darwin")
    assert ioreport.period_s_of(machine) == period_s


def test_without_the_library_the_extra_is_named() -> None:
    found = ioreport.find(Machine.at(Path("/nowhere"), lambda command: None, "darwin"))
    if isinstance(found, NoEnergy):  # elsewhere than on a Mac it cannot be installed
        assert "edgebench[apple]" in found.fix
    assert ioreport.find(Machine.at(Path("/nowhere"), None, "linux")) is None


class FakeStream:
    """powermetrics' output, handed out in the pieces in which it happened to come."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = list(pieces)

    def read(self) -> bytes:
        if not self.pieces:
            raise OSError("powermetrics ended")
        return self.pieces.pop(0)

    def stop(self) -> None:
        pass


def record(elapsed_ns: int, cpu: float, gpu: float = 0.0, ane: float = 0.0) -> bytes:
    processor = {"cpu_power": cpu, "gpu_power": gpu, "ane_power": ane}
    return plistlib.dumps({"elapsed_ns": elapsed_ns, "processor": processor})


def test_averages_are_taken_over_the_interval_that_it_was() -> None:
    first, second = record(104_510_000, 947, 153), record(108_220_000, 102, 9, 5)
    stream = FakeStream(b"", first[:200], first[200:] + b"\0" + second, b"\0")
    source = Powermetrics(Clock(), lambda: stream)
    source.open()
    assert [source.sample().value for _ in range(2)] == [0.0, 0.0]
    assert source.sample().value == pytest.approx(0.10451 * 1.1)
    assert source.sample().value == pytest.approx(0.10451 * 1.1 + 0.10822 * 0.116)


@pytest.mark.parametrize(
    "garbage", [b"<plist>\0", plistlib.dumps({"elapsed_ns": 1}) + b"\0", b"Machine model: x\0"]
)
def test_a_list_that_cannot_be_read_is_energy_that_is_missing(garbage: bytes) -> None:
    stream = FakeStream(garbage, record(1, 1) + b"\0")
    source = Powermetrics(Clock(), lambda: stream)
    source.open()
    assert source.sample().value is None
    assert source.sample().value is None
    assert source.problem


def test_a_powermetrics_that_ended_gives_nothing_more() -> None:
    source = Powermetrics(Clock(), lambda: FakeStream(record(10**9, 1000) + b"\0"))
    source.open()
    assert source.sample().value == pytest.approx(1)
    assert source.sample().value is None
    assert "ended" in source.problem


def test_powermetrics_is_for_root() -> None:
    mac = Machine.at(Path("/nowhere"), lambda command: None, "darwin")
    found = powermetrics.find(mac, user=lambda: 501)
    assert isinstance(found, NoEnergy)
    assert found.reason == "permission_denied"
    assert isinstance(powermetrics.find(mac, user=lambda: 0), Powermetrics)


def test_a_real_process_is_read_without_waiting(tmp_path: Path) -> None:
    """A stand-in for the command: prints one list, then stays."""
    (tmp_path / "record").write_bytes(record(10**9, 2500) + b"\0")
    process = powermetrics.Process(["sh", "-c", f"cat {tmp_path}/record; exec sleep 60"])
    source = Powermetrics(Clock(), lambda: process)
    source.open()
    value = source.sample().value
    while value == 0.0:  # until the shell has started
        value = source.sample().value
    assert value == pytest.approx(2.5)
    source.close()
