"""Simulated meters: the files, commands and libraries that real sources read, kept up to date.

A meter knows what its registers hold for a published value, and how the real source is made over
them. Values travel as whole numbers, as they do in a register.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from edgebench.energy import find_source
from edgebench.energy.source import EnergySource
from edgebench.energy.sources.ioreport import IOReport
from edgebench.energy.sources.nvml import Nvml
from edgebench.energy.sources.pmic_read_adc import PmicReadAdc, volts
from edgebench.testing.trees import write_tree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]  # float64
    Integers = NDArray[Any]  # int64

ClockNs = Callable[[], int]
WIDTH = 12  # of a number in a file: a text of fixed width is replaced in one write


class SimulatedMeter(ABC):
    """One meter below `root`. `show` puts registers up; the source from `source` reads them."""

    name: ClassVar[str]
    most_w: ClassVar[float] = 20.0
    irregular: ClassVar[float] = 0.0  # of its period, as a share

    def __init__(self, root: Path) -> None:
        self.root = root

    @abstractmethod
    def source(self, clock_ns: ClockNs) -> EnergySource:
        """The real source over this meter, not opened yet."""

    @abstractmethod
    def registers(self, published: Floats) -> Integers:
        """Returns what the registers hold for watts (or joules since some moment): one row a value."""

    @abstractmethod
    def values(self, registers: Integers) -> Floats:
        """Returns what a correct source makes of them: watts, or joules since the first row."""

    @abstractmethod
    def show(self, registers: list[int]) -> None:
        """Lets the source see them from now on."""


class FileMeter(SimulatedMeter):
    """A meter that is files: one number in each."""

    files: ClassVar[tuple[str, ...]]
    tree: ClassVar[dict[str, str]]
    unit_w: ClassVar[float] = 1e-6  # of the number in the one file, where it is a power

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        write_tree(root, self.tree)
        self._descriptors = [os.open(root / file, os.O_WRONLY | os.O_CREAT) for file in self.files]
        self.show([1] * len(self.files))

    def source(self, clock_ns: ClockNs) -> EnergySource:
        energy_source = find_source(self.root, clock_ns=clock_ns)
        assert isinstance(energy_source, EnergySource), energy_source
        return energy_source

    def values(self, registers: Integers) -> Floats:
        return registers[:, 0] * self.unit_w

    def show(self, registers: list[int]) -> None:
        for descriptor, register in zip(self._descriptors, registers, strict=True):
            os.pwrite(descriptor, b"%*d\n" % (WIDTH, register), 0)

    def close(self) -> None:
        """Releases what `show` holds open."""
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []


_ORIN = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon1"


class OrinNx(FileMeter):
    """INA3221 with 5 mOhm: steps of 8 mA and 8 mV. Its voltage sags a little under load."""

    name = "ina3221"
    files = (f"{_ORIN}/in1_input", f"{_ORIN}/curr1_input")
    tree: ClassVar = {
        f"{_ORIN}/name": "ina3221",
        f"{_ORIN}/in1_label": "VDD_IN",
        f"{_ORIN}/in2_label": "VDD_CPU_GPU_CV",
        f"{_ORIN}/in2_input": "5160",
        f"{_ORIN}/curr2_input": "96",
        f"{_ORIN}/in3_label": "VDD_SOC",
        f"{_ORIN}/in3_input": "5160",
        f"{_ORIN}/curr3_input": "272",
        f"{_ORIN}/in1_input": "5160",
        f"{_ORIN}/curr1_input": "888",
        f"{_ORIN}/shunt1_resistor": "5000",
    }

    def registers(self, published: Floats) -> Integers:
        volts = 5.16 - 0.02 * published / self.most_w
        millivolts = 8 * np.round(volts * 1000 / 8)
        milliamperes = 8 * np.round(published / millivolts * 1e6 / 8)
        return np.stack((millivolts, milliamperes), axis=1).astype(np.int64)

    def values(self, registers: Integers) -> Floats:
        return registers[:, 0] * registers[:, 1] * 1e-6


_NANO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"


class NanoJp4(FileMeter):
    """INA3221 under JetPack 4: whole milliwatts of the same steps."""

    name = "ina3221_iio"
    most_w = 10.0
    unit_w = 1e-3
    files = (f"{_NANO}/in_power0_input",)
    tree: ClassVar = {
        f"{_NANO}/rail_name_0": "POM_5V_IN",
        f"{_NANO}/in_voltage0_input": "5000",
        f"{_NANO}/in_power0_input": "2400",
    }

    def registers(self, published: Floats) -> Integers:
        milliamperes = 8 * np.round(published / 5.0 * 1e3 / 8)
        return (milliamperes[:, None] * 5).astype(np.int64)


_THOR = "sys/bus/i2c/devices/2-0044/hwmon/hwmon6"


class Thor(FileMeter):
    """INA238: microwatts in steps of 5 uV at a shunt of 1 mOhm and 20 V."""

    name = "ina238"
    most_w = 100.0
    files = (f"{_THOR}/power1_input",)
    tree: ClassVar = {
        f"{_THOR}/name": "ina238",
        f"{_THOR}/in1_input": "20000",
        f"{_THOR}/power1_input": "36630000",
        "sys/firmware/devicetree/base/model": "NVIDIA Jetson AGX Thor Developer Kit",
    }

    def registers(self, published: Floats) -> Integers:
        return (100_000 * np.round(published / 0.1)[:, None]).astype(np.int64)


class AmdGpu(FileMeter):
    """hwmon: the averaging power of a GPU's firmware, in microwatts."""

    name = "hwmon"
    most_w = 60.0
    _folder = "sys/class/hwmon/hwmon2"
    files = (f"{_folder}/power1_average",)
    tree: ClassVar = {
        f"{_folder}/name": "amdgpu",
        f"{_folder}/power1_label": "PPT",
        f"{_folder}/power1_average": "9000000",
    }

    def registers(self, published: Floats) -> Integers:
        return np.round(published * 1e6)[:, None].astype(np.int64)


_RAPL = "sys/class/powercap/intel-rapl:0"


class RaplPackage(FileMeter):
    """RAPL: steps of 61 uJ, shown in whole microjoules, around a wrap."""

    name = "rapl"
    range_uj = 2_000_000_000
    before_wrap_j = 30.0  # so much is left of the range when a case begins
    files = (f"{_RAPL}/energy_uj",)
    tree: ClassVar = {
        f"{_RAPL}/name": "package-0",
        f"{_RAPL}/energy_uj": "1",
        f"{_RAPL}/max_energy_range_uj": str(range_uj),
    }

    def registers(self, published: Floats) -> Integers:
        steps = np.floor((published + self.range_uj * 1e-6 - self.before_wrap_j) * 2**14)
        microjoules = np.floor(steps * 1e6 / 2**14)
        return (microjoules % self.range_uj)[:, None].astype(np.int64)

    def values(self, registers: Integers) -> Floats:
        steps = np.diff(registers[:, 0], prepend=registers[:1, 0]) % self.range_uj
        joules: Floats = np.cumsum(steps) * 1e-6
        return joules


class MillijouleCounter(SimulatedMeter):
    """Holds what counters read through a library have in common."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.millijoules = 0

    def registers(self, published: Floats) -> Integers:
        return np.floor(published * 1e3)[:, None].astype(np.int64)

    def values(self, registers: Integers) -> Floats:
        joules: Floats = (registers[:, 0] - registers[0, 0]) * 1e-3
        return joules

    def show(self, registers: list[int]) -> None:
        (self.millijoules,) = registers


class Gpu(MillijouleCounter):
    """NVML's energy counter: millijoules, in steps of 20 to 100 ms."""

    name = "nvml"
    most_w = 300.0
    irregular = 0.3

    def source(self, clock_ns: ClockNs) -> EnergySource:
        return Nvml(["Simulated GPU"], "energy", clock_ns=clock_ns, load=lambda: self)

    # The part of pynvml that the source uses.
    NVMLError = OSError

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: int) -> int:
        return self.millijoules


class AppleM5(MillijouleCounter):
    """A counter that is published every 2.03 to 2.23 s."""

    name = "ioreport"
    irregular = 0.05

    def source(self, clock_ns: ClockNs) -> EnergySource:
        return IOReport(2.13, clock_ns, lambda: self)

    def get_cumulative_energy(self) -> Any:
        none = dict.fromkeys(("gpu_mj", "gpu_sram_mj", "ane_mj", "dram_mj"))
        return SimpleNamespace(cpu_total_mj=self.millijoules, **none)


class Pi5(SimulatedMeter):
    """The rails of a Raspberry Pi 5, two of them, as its command prints them."""

    name = "pmic_read_adc"
    most_w = 8.0

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.show([1000, 1000])

    def source(self, clock_ns: ClockNs) -> EnergySource:
        return PmicReadAdc(lambda _: self._text, volts(self._text), clock_ns)

    def registers(self, published: Floats) -> Integers:
        amperes = published[:, None] * np.array([0.3 / 3.0, 0.7 / 0.9])
        milliamperes: Integers = np.round(amperes * 1e3).astype(np.int64)
        return milliamperes

    def values(self, registers: Integers) -> Floats:
        total: Floats = (registers * np.array([3.0, 0.9])).sum(axis=1) * 1e-3
        return total

    def show(self, registers: list[int]) -> None:
        first, second = registers
        self._text = (
            f"  3V3_SYS_A current(1)={first / 1000:.8f}A\n VDD_CORE_A current(7)={second / 1000:.8f}A\n"
            "  3V3_SYS_V volt(9)=3.00000000V\n VDD_CORE_V volt(15)=0.90000000V\n"
            "  EXT5V_V volt(24)=5.16570000V\n"
        )


METERS: dict[str, type[SimulatedMeter]] = {
    meter.name: meter for meter in (OrinNx, NanoJp4, Thor, AmdGpu, RaplPackage, Gpu, AppleM5, Pi5)
}
