"""TensorRT 10 and 11 as fakes in this process, and small models for them."""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgebench import registry
from edgebench.backend import Backend, ModelFile, Session
from edgebench.testing import fake_tensorrt, fake_tensorrt_cuda
from edgebench.testing.models import Case

if TYPE_CHECKING:
    from edgebench.backend import Outputs, Scalar

VERSIONS = {10: "10.13.0", 11: "11.4.1"}


def install(monkeypatch: pytest.MonkeyPatch, major: int, version: str | None = None) -> Any:
    """Puts the fakes where `import tensorrt` and `import cuda.bindings` find them."""
    fake = importlib.import_module(f"edgebench.testing.fake_tensorrt{major}")
    chosen = version or VERSIONS[major]
    monkeypatch.setattr(fake, "__version__", chosen, raising=False)
    monkeypatch.setattr(fake_tensorrt.Runtime, "version", chosen)
    bindings: Any = types.ModuleType("cuda.bindings")
    bindings.runtime = fake_tensorrt_cuda
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setitem(sys.modules, "cuda", types.ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setitem(sys.modules, "cuda.bindings.runtime", fake_tensorrt_cuda)
    return fake


def backend() -> Backend:
    return registry.load("trt")


def converted(model: ModelFile, folder: Path, **options: Scalar) -> ModelFile:
    return backend().convert(model, options, folder / "cache")


def opened(model: ModelFile, folder: Path, **options: Scalar) -> Session:
    return backend().open(converted(model, folder, **options), options)


def answer(session: Session, case: Case, seed: int = 1) -> Outputs:
    prepared = session.prepare(case.feeds(seed))
    return session.outputs_of(prepared, session.run(prepared))


def error(session: Session, case: Case) -> float:
    """Largest ||a - b|| / ||b|| of a few inputs against the case's reference in numpy."""
    import numpy as np

    worst = 0.0
    for seed in range(3):
        got = answer(session, case, seed)
        for name, want in case.reference(case.feeds(seed)).items():
            gap = np.linalg.norm(np.asarray(got[name], np.float64) - want)
            worst = max(worst, float(gap / np.linalg.norm(want)))
    return worst
