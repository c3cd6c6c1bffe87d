"""Computes the least time that a model's work can take on a machine, from bounds of its class of machine.

Generous on purpose: what is below them is false beyond doubt, what is above them proves nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

from edgebench.backend import Effective, computes_itself
from edgebench.calibration import Calibration, What
from edgebench.record import Work

#: No core of any device runs faster.
MAX_CLOCK_HZ = 6.5e9
#: Algorithms that need fewer operations than are counted: Winograd's F(6, 3) saves a factor of 5.1.
MAX_SAVING = 6.0
#: How far a calibration may have stayed below what the machine can do.
MAX_CALIBRATION_GAP = 2.0
#: Of a core, from its first cache: two loads and a store of 64 bytes in a cycle.
MAX_BYTES_PER_CYCLE = 192.0
#: Of any accelerator.
MAX_DEVICE_OPS_PER_S = 4e16
MAX_DEVICE_BYTES_PER_S = 1e14

#: Operations of a core in a cycle, in fp32, by the first instruction set that it has.
_FP32_OPS = (
    ({"sme", "sme2"}, 1024.0),
    ({"avx512f", "avx10"}, 128.0),
    ({"sve", "sve2"}, 128.0),
    ({"avx", "avx2", "fma"}, 64.0),
    ({"neon", "asimd", "sse4_2"}, 32.0),
)
#: The same in whatever is narrower.
_NARROW_OPS = (
    ({"amx_tile", "amx_int8", "amx_bf16", "sme", "sme2"}, 4096.0),
    ({"avx512f", "avx10", "i8mm", "svei8mm", "bf16", "sve2"}, 512.0),
    ({"avx", "avx2", "avx_vnni", "asimddp", "asimdhp", "sve"}, 256.0),
    ({"neon", "asimd", "sse4_2"}, 128.0),
)
_MAX_OPS = 4096.0  # of an instruction set that nobody tells, Apple's matrix units among them


Who = Literal["accelerator", "core", "cores", "calibrated"]


class Least(NamedTuple):
    ns: float
    who: Who  # cannot do it in less
    cores: int
    what: str  # the larger part of the work
    amount: float  # of it


def least_ns(
    work: Work,
    effective: Effective,
    facts: Mapping[str, Any],
    asked: str,
    calibration: Calibration | None = None,
) -> Least | None:
    """The least time of one run; None where the device or its cores are unknown."""
    if not work.flops and not work.moved_bytes:
        return None
    if not computes_itself(effective.device):
        return _least(work, MAX_DEVICE_OPS_PER_S, MAX_DEVICE_BYTES_PER_S, "accelerator", 0)
    cores = effective.threads or facts.get("logical_cpus")
    if not isinstance(cores, int) or not effective.device.startswith("cpu"):
        return None
    precision = effective.precision or asked
    ops_per_s = cores * MAX_CLOCK_HZ * _ops_per_cycle(facts.get("isa"), precision)
    bytes_per_s = cores * MAX_CLOCK_HZ * MAX_BYTES_PER_CYCLE
    measured = None if calibration is None else _measured(calibration, precision, effective.threads)
    if measured is not None and measured < ops_per_s:
        return _least(work, measured, bytes_per_s, "calibrated", cores)
    return _least(work, ops_per_s, bytes_per_s, "cores" if cores > 1 else "core", cores)


def _least(work: Work, ops_per_s: float, bytes_per_s: float, who: Who, cores: int) -> Least:
    compute_s = work.flops / (MAX_SAVING * ops_per_s)
    memory_s = work.moved_bytes / (MAX_SAVING * bytes_per_s)
    if compute_s >= memory_s:
        return Least(compute_s * 1e9, who, cores, "operations", work.flops)
    return Least(memory_s * 1e9, who, cores, "bytes", work.moved_bytes)


def _ops_per_cycle(isa: Collection[str] | None, precision: str) -> float:
    table = _FP32_OPS if precision == "fp32" else _NARROW_OPS
    return next((ops for names, ops in table if isa and names & set(isa)), _MAX_OPS)


def _measured(calibration: Calibration, precision: str, threads: int | None) -> float | None:
    """Operations a second; None where the machine was not free when they were measured."""
    products: dict[str, What] = {"fp32": "gemm_fp32", "int8": "gemm_int8"}
    product = products.get(precision.partition("-")[0])
    ceiling = None if product is None else calibration.ceiling(product, threads)
    if ceiling is None or calibration.state:
        return None
    return MAX_CALIBRATION_GAP * ceiling.per_s
