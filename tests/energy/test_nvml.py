"""The NVML source, on a fake of the calls that it makes."""

from __future__ import annotations

from typing import Any

import pytest

from edgebench.energy.source import NoEnergy
from edgebench.energy.sources import nvml
from edgebench.energy.sources.nvml import Nvml
from edgebench.probes.machine import Machine
from edgebench.testing.trees import write_tree
from tests.energy.energy_trees import Clock


class FakeNvml:
    """GPUs by name, with what each function of NVML answers: a number, or an error's code."""

    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_DEVICE_ARCH_AMPERE = 7

    class NVMLError(Exception):
        def __init__(self, value: int) -> None:
            super().__init__(f"error {value}")
            self.value = value

    def __init__(
        self,
        names: list[str],
        energy_mj: int | None = None,
        power_mw: int | None = None,
        architecture: int = 5,
        init_error: int = 0,
    ) -> None:
        self.names = names
        self.energy_mj = energy_mj
        self.power_mw = power_mw
        self.architecture = architecture
        self.init_error = init_error
        self.users = 0

    def nvmlInit(self) -> None:
        if self.init_error:
            raise self.NVMLError(self.init_error)
        self.users += 1

    def nvmlShutdown(self) -> None:
        self.users -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.names)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return self.names[handle]

    def nvmlDeviceGetArchitecture(self, handle: int) -> int:
        return self.architecture

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self._or_unsupported(self.energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return self._or_unsupported(self.power_mw)

    def _or_unsupported(self, value: int | None) -> int:
        if value is None:
            raise self.NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return value


@pytest.fixture
def machine(tmp_path: Any) -> Machine:
    tree = {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: x"}
    return Machine.at(write_tree(tmp_path, tree))


def test_the_energy_of_all_gpus(machine: Machine) -> None:
    fake, clock = FakeNvml(["RTX 4090", "RTX 4090"], energy_mj=7_000_000, power_mw=1), Clock()
    source = nvml.find(machine, clock, lambda: fake)
    assert isinstance(source, Nvml)
    assert source.quantity == "energy"
    assert fake.users == 0  # nothing is left open by looking
    assert (source.kind, source.scope) == ("vendor_counter", "2 GPU boards")
    assert source.total_rail == "GPU 0 + GPU 1"
    source.open()
    fake.energy_mj = 7_040_000
    clock.advance(1)
    assert source.sample().value == pytest.approx(80)
    fake.energy_mj = None
    assert source.sample().value is None
    source.close()
    assert fake.users == 0


def test_a_driver_loaded_anew_starts_its_counter_anew(machine: Machine) -> None:
    fake, clock = FakeNvml(["RTX 4090"], energy_mj=7_000_000), Clock()
    source = nvml.find(machine, clock, lambda: fake)
    assert isinstance(source, Nvml)
    assert source.quantity == "energy"
    source.open()
    fake.energy_mj = 100
    clock.advance(1)
    assert source.sample().value is None
    fake.energy_mj = 9_000_000
    assert source.sample().value is None
    assert "set back" in source.problem


@pytest.mark.parametrize(
    ("name", "architecture", "averages", "period_s"),
    [
        ("RTX 2080", 6, False, 0.1),
        ("RTX 3090", 7, True, 1.0),
        ("NVIDIA A100-SXM4-40GB", 7, False, 0.1),
        ("NVIDIA H100 PCIe", 9, True, 1.0),
    ],
)
def test_power_where_there_is_no_counter_says_what_a_value_is(
    machine: Machine, name: str, architecture: int, averages: bool, period_s: float
) -> None:
    fake = FakeNvml([name], power_mw=123_000, architecture=architecture)
    source = nvml.find(machine, Clock(), lambda: fake)
    assert isinstance(source, Nvml)
    assert source.quantity == "power"
    assert (source.averages, source.period_s) == (averages, period_s)
    source.open()
    assert source.sample().value == pytest.approx(123)
    part_time = any("25 %" in caveat for caveat in source.caveats)
    assert part_time == ("A100" in name or "H100" in name)


def test_orin_has_no_power_in_nvml(machine: Machine) -> None:
    found = nvml.find(machine, Clock(), lambda: FakeNvml(["Orin (nvgpu)"]))
    assert isinstance(found, NoEnergy)
    assert found.reason == "no_sensor"
    assert "neither energy nor power" in found.detail


@pytest.mark.parametrize(("code", "reason"), [(4, "permission_denied"), (9, "no_sensor")])
def test_a_refusal_of_the_driver_becomes_a_reason(machine: Machine, code: int, reason: str) -> None:
    found = nvml.find(machine, Clock(), lambda: FakeNvml([], init_error=code))
    assert isinstance(found, NoEnergy)
    assert found.reason == reason


def test_without_the_bindings_the_extra_is_named(machine: Machine) -> None:
    def missing() -> Any:
        raise ImportError

    found = nvml.find(machine, Clock(), missing)
    assert isinstance(found, NoEnergy)
    assert "edgebench[nvidia]" in found.fix


def test_a_copied_tree_cannot_be_asked(machine: Machine) -> None:
    found = nvml.find(machine)
    assert isinstance(found, NoEnergy)
    assert "the machine itself" in found.detail


def test_the_real_bindings_have_every_name_that_is_used() -> None:
    pynvml = pytest.importorskip("pynvml")
    for name in dir(FakeNvml):
        if name.startswith(("nvml", "NVML")):
            assert hasattr(pynvml, name), name
