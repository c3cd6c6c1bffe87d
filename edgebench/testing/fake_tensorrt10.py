"""Stands for `tensorrt` 10.x: precision flags, weakly typed networks unless asked otherwise."""

from __future__ import annotations

from enum import IntEnum

from edgebench.testing import fake_tensorrt as base
from edgebench.testing.fake_tensorrt import *

__all__ = ["Builder", "BuilderFlag", "NetworkDefinitionCreationFlag"]
__all__ += base.__all__


class BuilderFlag(IntEnum):
    FP16 = 0
    INT8 = 1
    GPU_FALLBACK = 3
    DISABLE_TIMING_CACHE = 5
    TF32 = 6


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class Builder(base.Builder):
    _flag_type = BuilderFlag
    _strong_bit = 1
