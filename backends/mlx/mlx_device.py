"""Tells where MLX computes, on how many threads, and whether it can compile there."""

from __future__ import annotations

import shutil
import sys

import mlx.core as mx

from edgebench.backend import Scalar
from edgebench.errors import UnsupportedError

from . import blas

REFERENCE_BUILD = "reference build, not Apple Silicon: for correctness, not a deployment"


def chosen_device(asked: Scalar | None) -> str:
    """Sets and reads back MLX's default device; refuses one that is not there."""
    kinds = {"cpu": mx.cpu, "gpu": mx.gpu}
    if asked is not None:
        if not mx.is_available(kinds[str(asked)]):
            raise UnsupportedError(f"this build of MLX has no device {asked}", "--set device=cpu")
        mx.set_default_device(kinds[str(asked)])
    return str(mx.default_device().type).rpartition(".")[2]


def can_compile(device: str) -> bool:
    """On Linux's CPU device, MLX compiles with g++, and does nothing without."""
    return device != "cpu" or sys.platform == "darwin" or shutil.which("g++") is not None


def set_threads(asked: Scalar | None, device: str) -> None:
    """Raises UnsupportedError for a number of threads that MLX would not take."""
    if asked is None:
        return
    if device == "cpu":
        blas.set_threads(int(asked))
        if blas.threads() == int(asked):
            return
    raise UnsupportedError(
        f"threads={asked}: MLX computes on one thread here and offers no choice",
        "threads=1, or on Linux preload OpenBLAS" if device == "cpu" else "leave threads out",
    )


def notes(device: str) -> list[str]:
    """Notes on this build of MLX for readers of a result."""
    reasons = [reason] if (reason := not_deployable(device)) else []
    if device == "cpu":
        reasons.append(f"BLAS: {blas.running().name}")
    return reasons


def not_deployable(device: str) -> str:
    """`Effective.not_deployable` of this build: off Apple's machines its CPU device checks answers, and
    its GPU device (CUDA) is a deployment like any other."""
    return REFERENCE_BUILD if sys.platform != "darwin" and device == "cpu" else ""
