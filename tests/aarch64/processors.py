"""The processors that int8 is compared on: this machine's own, and those that QEMU emulates for one program."""

from __future__ import annotations

from dataclasses import dataclass

_ARMV8 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"


@dataclass(frozen=True)
class Processor:
    """`key` stands in kept files, `name` is QEMU's (empty: this machine's own), `title` heads a column.

    `part` and `features` are what an Arm core's /proc/cpuinfo says: QEMU before 8.2 shows this machine's, of which ONNX
    Runtime's library cpuinfo dies.
    """

    key: str
    name: str
    title: str
    part: str = ""
    features: str = ""

    def cpuinfo(self, cores: int) -> str:
        """An Arm core's /proc/cpuinfo."""
        return "".join(self._core(number) for number in range(cores))

    def _core(self, number: int) -> str:
        lines = (
            f"processor\t: {number}",
            "BogoMIPS\t: 108.00",
            f"Features\t: {self.features}",
            "CPU implementer\t: 0x41",
            "CPU architecture: 8",
            "CPU variant\t: 0x4",
            f"CPU part\t: {self.part}",
            "CPU revision\t: 1",
        )
        return "\n".join(lines) + "\n\n"


HERE = Processor("x86", "", "x86-64 with VNNI")
#: Adds pairs of 8-bit products up in 16 bits, which saturate.
AVX2 = Processor("avx2", "Haswell", "x86-64 with AVX2 alone")
#: Not QEMU's largest ("max"): 7.2 computes its outer products of bytes (SMOPA of SME) wrong, and with them dynamic int8.
DOT_PRODUCTS = Processor("aarch64", "neoverse-n1", "Arm with dot products", "0xd0b", _ARMV8_2)
NO_DOT_PRODUCTS = Processor("armv8.0", "cortex-a72", "Arm without", "0xd08", _ARMV8)
ARM = (DOT_PRODUCTS, NO_DOT_PRODUCTS)
ALL = (HERE, AVX2, *ARM)
