"""Machines with energy meters, as the files that they show: layouts that kernels and vendors document."""

from __future__ import annotations

POWERCAP = "sys/class/powercap"
I2C = "sys/bus/i2c/drivers/ina3221"
METAL = {"proc/cpuinfo": "flags : fpu avx2"}
VM = {"proc/cpuinfo": "flags : fpu hypervisor avx2"}


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.ns = 1_000_000_000

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


def ina3221(
    folder: str, rails: dict[int, tuple[str, int, int]], shunt_uohm: int | None
) -> dict[str, str]:
    """A chip of the hwmon driver: channel -> label, mV, mA; and the sums that are no rail."""
    tree = {
        f"{folder}/name": "ina3221",
        f"{folder}/in7_label": "sum of shunt voltages",
        f"{folder}/in7_input": "6280",
        f"{folder}/curr4_input": "1256",
    }
    for channel, (label, millivolts, milliamperes) in rails.items():
        tree[f"{folder}/in{channel}_label"] = label
        tree[f"{folder}/in{channel}_input"] = str(millivolts)
        tree[f"{folder}/curr{channel}_input"] = str(milliamperes)
        if shunt_uohm is not None:
            tree[f"{folder}/shunt{channel}_resistor"] = str(shunt_uohm)
    return tree


def zone(
    identity: str, name: str, energy_uj: int, range_uj: int | None = 262_143_328_850
) -> dict[str, str]:
    """A zone of powercap."""
    folder = f"{POWERCAP}/{identity}"
    tree = {f"{folder}/name": name, f"{folder}/energy_uj": str(energy_uj)}
    if range_uj is not None:
        tree[f"{folder}/max_energy_range_uj"] = str(range_uj)
    return tree


ORIN_NX = {
    **ina3221(
        f"{I2C}/1-0040/hwmon/hwmon1",
        {
            1: ("VDD_IN", 5160, 888),
            2: ("VDD_CPU_GPU_CV", 5160, 96),
            3: ("VDD_SOC", 5160, 272),
        },
        5000,
    ),
    f"{I2C}/1-0040/hwmon/hwmon1/update_interval": "7",
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson Orin NX Engineering Reference Developer Kit",
}
_BUS = "sys/devices/platform/c240000.i2c/i2c-1"
AGX_ORIN = {
    **ina3221(
        f"{_BUS}/1-0040/hwmon/hwmon3",
        {
            1: ("VDD_GPU_SOC", 12008, 280),
            2: ("VDD_CPU_CV", 12008, 40),
            3: ("VIN_SYS_5V0", 4968, 980),
        },
        2000,
    ),
    **ina3221(
        f"{_BUS}/1-0041/hwmon/hwmon4",
        {1: ("NC", 0, 0), 2: ("VDDQ_VDD2_1V8AO", 4968, 80), 3: ("NC", 0, 0)},
        2000,
    ),
}
AGX_XAVIER = {
    **ina3221(
        f"{I2C}/1-0040/hwmon/hwmon1",
        {1: ("GPU", 19000, 60), 2: ("CPU", 19000, 20), 3: ("SOC", 19000, 130)},
        5000,
    ),
    **ina3221(
        f"{I2C}/1-0041/hwmon/hwmon2",
        {1: ("CV", 19000, 0), 2: ("VDDRQ", 19000, 10), 3: ("SYS5V", 5000, 540)},
        5000,
    ),
}
INTEL = {
    **METAL,
    **zone("intel-rapl:0", "package-0", 240_422_366_267),
    **zone("intel-rapl:0:0", "core", 118_821_284_256),
    **zone("intel-rapl:0:1", "dram", 5_000_000),
    **zone("intel-rapl:1", "psys", 900_000_000),
    **zone("intel-rapl-mmio:0", "package-0", 240_422_366_267),
    f"{POWERCAP}/intel-rapl/enabled": "1",
}
IIO = "sys/bus/i2c/drivers/ina3221x"
NANO_JP4 = {
    **{f"{IIO}/6-0040/iio:device0/rail_name_{n}": name for n, name in enumerate(
        ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"))},
    **{f"{IIO}/6-0040/iio:device0/in_power{n}_input": mw for n, mw in enumerate(
        ("933", "0", "84"))},
    f"{IIO}/6-0040/iio:device0/in_voltage0_input": "5072",
}  # fmt: skip
TX2_JP4 = {
    **{f"{IIO}/0-0040/iio:device0/rail_name_{n}": name for n, name in enumerate(
        ("VDD_GPU", "VDD_SOC", "VDD_WIFI"))},
    **{f"{IIO}/0-0040/iio:device0/in_power{n}_input": mw for n, mw in enumerate(
        ("153", "384", "38"))},
    **{f"{IIO}/0-0041/iio:device1/rail_name_{n}": name for n, name in enumerate(
        ("VDD_IN", "VDD_CPU", "VDD_DDR"))},
    **{f"{IIO}/0-0041/iio:device1/in_power{n}_input": mw for n, mw in enumerate(
        ("1038", "153", "192"))},
}  # fmt: skip
THOR = {
    "sys/firmware/devicetree/base/model": "NVIDIA Jetson AGX Thor Developer Kit",
    "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/name": "ina238",
    "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/in1_input": "19800",
    "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/curr1_input": "1850",
    "sys/bus/i2c/devices/2-0044/hwmon/hwmon6/power1_input": "36630000",
}
#: What vcgencmd prints, shortened: pairs by name, and voltages without a current.
PMIC = """
 3V7_WL_SW_A current(0)=0.00000000A
   3V3_SYS_A current(1)=0.06245952A
  VDD_CORE_A current(7)=10.87674000A
 3V7_WL_SW_V volt(8)=3.79999600V
   3V3_SYS_V volt(9)=3.30632200V
  VDD_CORE_V volt(15)=0.89745940V
     EXT5V_V volt(24)=5.06788000V
      BATT_V volt(25)=3.01110800V
"""
