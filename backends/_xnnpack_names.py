"""What the names of XNNPACK's operators tell, the same in every runtime that uses it."""

from __future__ import annotations

import re

#: What it computes in, by the mark in a name such as "Convolution (NHWC, F32) IGEMM".
_TYPES = {
    "F32": "fp32",
    "F16": "fp16",
    "BF16": "bf16",
    "PF32": "fp32",
    "PF16": "fp16",
    "QS8": "int8",
    "QC8": "int8",
    "QU8": "int8",
    "QD8": "int8",
    "QP8": "int8",
}
_MARK = re.compile(r"\(.*\b(" + "|".join(_TYPES) + r")\b.*\)")
#: Beginnings of the names of operators that do the arithmetic.
COMPUTE = ("Convolution", "Deconvolution", "Fully Connected", "Batch Matrix", "Dynamic Fully")


def type_of(name: str) -> str | None:
    """The precision that an operator's name tells, or None."""
    mark = _MARK.search(name)
    return _TYPES[mark[1]] if mark else None
