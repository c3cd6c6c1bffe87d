"""The ceilings of a device, `edgebench.calibration/1`: what its roofline is drawn with.

A file of one JSON document, by default below the cache, named after the device (docs/roofline.md).
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final, Literal

import msgspec

from edgebench.errors import EdgebenchError, StoreError, mend_disk
from edgebench.files.atomic_write import whole_file
from edgebench.files.json_lines import read_answer
from edgebench.files.number_bounds import AtLeastOne, Rate
from edgebench.record import DeviceFacts, Part, StateCheck
from edgebench.text.plain_text import utf8

CALIBRATION_SCHEMA: Final = "edgebench.calibration/1"

MAX_FILE_BYTES = 1 << 24
MAX_NAME_CHARACTERS = 100  # of a device, in the name of its file

What = Literal["gemm_fp32", "gemm_int8", "memory_add"]


class Ceiling(Part, frozen=True, kw_only=True):
    """The best rate that a few kernels reached: operations, or bytes, per second."""

    what: What
    threads: AtLeastOne
    per_s: Rate  # the best pass of all processes
    low_per_s: Rate | None  # 95 % interval of the best pass of a process; encloses per_s
    high_per_s: Rate | None
    of_processes_per_s: list[Rate]
    detail: str  # sizes, and which was best


class Calibration(Part, frozen=True, kw_only=True):
    """Peak arithmetic and memory bandwidth of one device."""

    schema: Literal["edgebench.calibration/1"] = CALIBRATION_SCHEMA
    device: DeviceFacts
    started_utc: str
    edgebench: str
    onnxruntime: str
    state: list[StateCheck]  # of the machine before, only what was not ok
    ceilings: list[Ceiling]

    def ceiling(self, what: What, threads: int | None) -> Ceiling | None:
        """The ceiling for that many threads: measured with as many, or the next more.

        With None (threads unknown) that of the most threads, which no other passes.
        """
        known = sorted((c for c in self.ceilings if c.what == what), key=lambda c: c.threads)
        if threads is not None:
            known = [c for c in known if c.threads >= threads][:1]
        return known[-1] if known else None


def default_path(cache: Path, device: str) -> Path:
    """The file in which `edgebench calibrate` keeps the ceilings of a device; a long name is cut, and told from
    others that begin alike by its hash."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", device)
    if len(name) > MAX_NAME_CHARACTERS:
        digest = hashlib.sha256(utf8(device).encode()).hexdigest()[:12]
        name = f"{name[:MAX_NAME_CHARACTERS]}-{digest}"
    return cache / "calibration" / f"{name}.json"


def read_calibration(path: Path) -> Calibration:
    """What `edgebench calibrate` wrote. Raises StoreError."""
    fix = "`edgebench calibrate` writes one"
    return read_answer(path, Calibration, CALIBRATION_SCHEMA, MAX_FILE_BYTES, fix)


def own_calibration(cache: Path, device: str) -> Calibration | None:
    """The device's own ceilings, where somebody had them measured and the file can be read."""
    path = default_path(cache, device)
    try:
        return read_calibration(path) if path.is_file() else None
    except EdgebenchError:
        return None  # `edgebench roofline`, which is about it, says what is wrong


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Complete or not at all. Raises StoreError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written: {error.strerror}", mend_disk(error, "-o another FILE")
        ) from None
    with whole_file(path) as partial:
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n")
