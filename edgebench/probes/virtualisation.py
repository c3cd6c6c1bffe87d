"""Detects whether this is a virtual machine, with the evidence."""

from __future__ import annotations

from dataclasses import dataclass

from edgebench.probes.machine import Machine
from edgebench.probes.proc_files import fields
from edgebench.words import state_words as words

# Words in the DMI strings of virtual machines. Makers of real boards appear with these names only
# as their virtual product ("Microsoft Corporation" also builds laptops).
_VIRTUAL_PRODUCTS = (
    "virtual", "kvm", "qemu", "vmware", "bochs", "xen", "google compute engine", "openstack",
    "bhyve", "parallels", "firecracker", "cloud server",
)  # fmt: skip

_STEAL = 7  # the column of /proc/stat


@dataclass(frozen=True)
class Virtualisation:
    virtual: bool | None  # None: nothing here tells
    evidence: str


def detect(machine: Machine, cpuinfo: str | None = None) -> Virtualisation:
    """From the CPU's flag, the hypervisor's own files, the device tree or the DMI strings."""
    if machine.macos:
        return _macos(machine)
    if kind := machine.read("sys/hypervisor/type"):
        return Virtualisation(True, f"/sys/hypervisor/type: {kind}")
    product = _dmi(machine)
    if cpuinfo is None:
        cpuinfo = machine.read("proc/cpuinfo")
    flags = fields(cpuinfo).get("flags")
    if flags is not None:  # x86: the hypervisor sets a bit that bare metal never has
        if "hypervisor" in flags.split():
            return Virtualisation(True, "CPU flag hypervisor" + (f", {product}" if product else ""))
        return Virtualisation(False, words.NO_CPU_FLAG)
    return _without_flag(machine, product)


def _without_flag(machine: Machine, product: str) -> Virtualisation:
    board = machine.board()
    if (
        machine.root / "sys/firmware/devicetree/base/hypervisor"
    ).exists() or board == "linux,dummy-virt":
        return Virtualisation(True, f"device tree: {board or 'hypervisor node'}")
    if board:
        return Virtualisation(False, f"device tree: {board}")
    name = product.lower()
    if any(word in name for word in _VIRTUAL_PRODUCTS):
        return Virtualisation(True, f"DMI: {product}")
    if "amazon ec2" in name:
        return Virtualisation("metal" not in name, f"DMI: {product}")
    if product:
        return Virtualisation(False, f"DMI: {product}")
    times = fields((machine.read("proc/stat") or "").replace(" ", ":", 1)).get("cpu", "").split()
    if len(times) > _STEAL and times[_STEAL] != "0":
        return Virtualisation(True, words.HYPERVISOR_STEALS)
    return Virtualisation(None, words.NO_SIGN_EITHER_WAY)


def _macos(machine: Machine) -> Virtualisation:
    answer = machine.run(["sysctl", "-n", "kern.hv_vmm_present"])
    if answer is None or answer.strip() not in {"0", "1"}:
        return Virtualisation(None, words.NO_VMM_ANSWER)
    return Virtualisation(answer.strip() == "1", f"kern.hv_vmm_present: {answer.strip()}")


def _dmi(machine: Machine) -> str:
    parts = (machine.read(f"sys/class/dmi/id/{name}") for name in ("sys_vendor", "product_name"))
    return " ".join(part for part in parts if part)
