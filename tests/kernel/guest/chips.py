"""Registers of i2c-stub's chips, written as the chips' data sheets lay them out."""

from __future__ import annotations

import ctypes
import fcntl
import os
from pathlib import Path

_SLAVE_FORCE, _SMBUS = 0x0706, 0x0720
_WRITE, _BYTE_DATA, _WORD_DATA, _BLOCK_DATA, _I2C_BLOCK_DATA = 0, 2, 3, 5, 8
#: What i2c-stub may do: all that it can, SMBus blocks included, which PMBus chips are known by.
FUNCTIONALITY = 0xFFFFFFFF


class _Call(ctypes.Structure):
    _fields_ = (
        ("read_write", ctypes.c_uint8),
        ("command", ctypes.c_uint8),
        ("size", ctypes.c_uint32),
        ("data", ctypes.c_void_p),
    )


class Bus:
    """i2c-stub's bus."""

    def __init__(self) -> None:
        names = Path("/sys/bus/i2c/devices").glob("i2c-*/name")
        self._folder = next(name.parent for name in names if "stub" in name.read_text())
        number = self._folder.name.partition("-")[2]
        self._device = os.open(f"/dev/i2c-{number}", os.O_RDWR)

    def _write(self, address: int, register: int, size: int, content: bytes) -> None:
        fcntl.ioctl(self._device, _SLAVE_FORCE, address)
        data = ctypes.create_string_buffer(content, 34)
        call = _Call(_WRITE, register, size, ctypes.addressof(data))
        fcntl.ioctl(self._device, _SMBUS, call)

    def byte(self, address: int, register: int, value: int) -> None:
        self._write(address, register, _BYTE_DATA, bytes((value & 0xFF,)))

    def word(self, address: int, register: int, value: int) -> None:
        """A word of SMBus: the low byte first. PMBus, smart batteries."""
        self._write(address, register, _WORD_DATA, (value & 0xFFFF).to_bytes(2, "little"))

    def big_endian(self, address: int, register: int, value: int) -> None:
        """A word of a chip that sends the high byte first. Texas Instruments' INA, LM75."""
        self._write(address, register, _WORD_DATA, (value & 0xFFFF).to_bytes(2, "big"))

    def registers(self, address: int, register: int, content: bytes) -> None:
        """Registers of a byte each, one after the other."""
        self._write(address, register, _I2C_BLOCK_DATA, bytes((len(content),)) + content)

    def block(self, address: int, register: int, content: bytes) -> None:
        """A block of SMBus in one register: texts."""
        self._write(address, register, _BLOCK_DATA, bytes((len(content),)) + content)

    def add(self, driver: str, address: int) -> None:
        """Tells the kernel that a chip was plugged in."""
        (self._folder / "new_device").write_text(f"{driver} {address:#x}")

    def remove(self, address: int) -> None:
        """Tells the kernel that a chip was pulled out."""
        (self._folder / "delete_device").write_text(f"{address:#x}")

    def ina3221(self, address: int, channel: int, millivolts: int, shunt_uv: int) -> None:
        """A channel's voltage in steps of 8 mV, and the voltage at its shunt in steps of 40 uV."""
        self.big_endian(address, 2 * channel - 1, (shunt_uv // 40) << 3)
        self.big_endian(address, 2 * channel, (millivolts // 8) << 3)

    def ina226(self, address: int, shunt_uv: float, millivolts: float, power_raw: int) -> None:
        """Voltage at the shunt in 2.5 uV, bus voltage in 1.25 mV, power in 25 steps of the current."""
        for register, value in ((1, shunt_uv / 2.5), (2, millivolts / 1.25), (3, power_raw)):
            self.big_endian(address, register, round(value))

    def ina238(self, address: int, millivolts: float, power_raw: int) -> None:
        """Bus voltage in 3.125 mV, power in 24 bits."""
        self.big_endian(address, 5, round(millivolts / 3.125))
        self.registers(address, 8, power_raw.to_bytes(3, "big"))

    def temperature(self, address: int, celsius: int) -> None:
        """An LM75's."""
        self.big_endian(address, 0, celsius << 8)

    def battery(self, address: int, millivolts: int, milliamperes: int) -> None:
        """A smart battery's; a negative current discharges it."""
        self.word(address, 0x09, millivolts)
        self.word(address, 0x0A, milliamperes)
        self.word(address, 0x16, 0x80 | (0x40 if milliamperes < 0 else 0))
