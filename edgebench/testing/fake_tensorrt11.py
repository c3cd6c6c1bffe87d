"""Stands for `tensorrt` 11.x: no precision flags, every network strongly typed."""

from __future__ import annotations

from enum import IntEnum

from edgebench.testing import fake_tensorrt as base
from edgebench.testing.fake_tensorrt import *

__all__ = ["Builder", "BuilderFlag", "NetworkDefinitionCreationFlag"]
__all__ += base.__all__


class BuilderFlag(IntEnum):
    GPU_FALLBACK = 3
    DISABLE_TIMING_CACHE = 5
    TF32 = 6


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 0


class Builder(base.Builder):
    _flag_type = BuilderFlag
    _strong_bit = None
