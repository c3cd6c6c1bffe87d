"""Stands for `tensorrt` 11.x: no precision flags, every network strongly typed."""

from __future__ import annotations

from enum import IntEnum

from edgebench.testing import fake_tensorrt as base
from edgebench.testing.fake_tensorrt import (
    DataType,
    DeviceType,
    Dims,
    EngineInspector,
    IBuilderConfig,
    ICudaEngine,
    IExecutionContext,
    IHostMemory,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProfiler,
    ITimingCache,
    LayerInformationFormat,
    MemoryPoolType,
    OnnxParser,
    ProfilingVerbosity,
    Runtime,
    TensorIOMode,
    nptype,
)

__all__ = [
    "Builder",
    "BuilderFlag",
    "DataType",
    "DeviceType",
    "Dims",
    "EngineInspector",
    "IBuilderConfig",
    "ICudaEngine",
    "IExecutionContext",
    "IHostMemory",
    "ILogger",
    "INetworkDefinition",
    "IOptimizationProfile",
    "IProfiler",
    "ITimingCache",
    "LayerInformationFormat",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
    "OnnxParser",
    "ProfilingVerbosity",
    "Runtime",
    "TensorIOMode",
    "nptype",
]


class BuilderFlag(IntEnum):
    GPU_FALLBACK = 3
    DISABLE_TIMING_CACHE = 5
    TF32 = 6


class NetworkDefinitionCreationFlag(IntEnum):
    STRONGLY_TYPED = 0


class Builder(base.Builder):
    _flag_type = BuilderFlag
    _strong_bit = None
