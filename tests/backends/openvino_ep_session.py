"""What a session of `provider=openvino-ep` does, as JSON on stdout: run in a process of its own, emulated where need be.

    python -m tests.backends.openvino_ep_session MODEL OPTIONS ...

Each OPTIONS is a variant as a JSON object; the first one is what the others' answers are held against.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edgebench import registry
from edgebench.backend import Backend, Effective, ModelFile, Scalar
from edgebench.errors import UnsupportedError
from edgebench.operator_times import Profile

RUNS = 2


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What one variant answered; `error` is relative, of the outputs."""

    refusal: str = ""
    fix: str = ""
    error: float | None = None
    profiled_error: float | None = None
    effective: Effective | None = None
    profile: Profile | None = None


def main() -> None:
    path, *variants = sys.argv[1:]
    backend = registry.load("ort")
    backend.import_runtime()
    model = ModelFile(Path(path), "onnx", "0" * 64, "fp32")
    reference: Any = None
    told = []
    for variant in variants:
        options = msgspec.json.decode(variant, type=dict[str, Scalar])
        reference, found = _told(backend, model, options, reference)
        told.append(found)
    sys.stdout.buffer.write(msgspec.json.encode(told))


def _told(
    backend: Backend, model: ModelFile, options: Mapping[str, Scalar], reference: Any
) -> tuple[Any, Told]:
    try:
        session = backend.open(model, options)
    except UnsupportedError as refused:
        return reference, Told(refusal=refused.message, fix=refused.fix)
    rng = np.random.default_rng(7)
    feeds = {info.name: rng.random(info.sizes or (), dtype=np.float32) for info in session.inputs}
    prepared = session.prepare(feeds)
    answer = next(iter(session.outputs_of(prepared, session.run(prepared)).values()))
    reference = answer if reference is None else reference
    profiler = session.profiler()
    for _ in range(profiler.warm_up + RUNS):
        profiled = next(iter(profiler.run(feeds).values()))
    return reference, Told(
        error=_error(answer, reference),
        profiled_error=_error(profiled, answer),
        effective=session.effective(),
        profile=profiler.finish(),
    )


def _error(answer: Any, reference: Any) -> float:
    return float(np.abs(answer - reference).max() / np.abs(reference).max())


if __name__ == "__main__":
    main()
