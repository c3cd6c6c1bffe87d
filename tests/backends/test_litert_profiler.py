"""LiteRT's profiler, driven through its C library: answers, operators, threads, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Session
from edgebench.errors import UnsupportedError
from tests import onnx_models

pytest.importorskip("ai_edge_litert")

from edgebench.backends._session_facts import os_threads
from edgebench.backends.litert import operator_profiler

RUNS = 3


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelFile:
    folder = tmp_path_factory.mktemp("litert")
    path = folder / "model.onnx"
    path.write_bytes(onnx_models.convolution([1, 3, 32, 32]).SerializeToString())
    return registry.load("litert").convert(ModelFile(path, "onnx", "0" * 64, "fp32"), {}, folder)


def opened(model: ModelFile, **options: Any) -> Session:
    return registry.load("litert").open(model, {"threads": 1, **options})


def feeds_of(session: Session) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {info.name: rng.random(info.sizes or (), dtype=np.float32) for info in session.inputs}


@pytest.mark.parametrize("api", ["interpreter", "compiled"])
def test_operators_are_timed_and_change_no_answer(model: ModelFile, api: str) -> None:
    session = opened(model, api=api)
    feeds = feeds_of(session)
    prepared = session.prepare(feeds)
    answer = session.outputs_of(prepared, session.run(prepared))
    profiler = session.profiler()
    for _ in range(profiler.warm_up + RUNS):
        found = profiler.run(feeds)
        assert found.keys() == answer.keys()
        assert all(np.array_equal(found[name], answer[name]) for name in answer)
    profile = profiler.finish()
    assert len(profile.runs_ns) == RUNS
    assert all(len(operator.times_ns) == RUNS for operator in profile.operators)
    kinds = [operator.kind for operator in profile.operators]
    assert any(kind.startswith("Convolution (NHWC, F32)") for kind in kinds)
    assert any(kind.startswith("Fully Connected (NC, F32)") for kind in kinds)
    assert len({operator.name for operator in profile.operators}) == len(kinds)
    assert {operator.type for operator in profile.operators} >= {"fp32"}
    sums = [sum(run) for run in zip(*(o.times_ns for o in profile.operators), strict=True)]
    assert all(total <= whole for total, whole in zip(sums, profile.runs_ns, strict=True))


def test_it_has_as_many_threads_as_were_asked_for(model: ModelFile) -> None:
    grown = []
    for threads in (1, 3):
        session = opened(model, threads=threads)
        before = os_threads()
        profiler = session.profiler()
        profiler.run(feeds_of(session))
        grown.append(os_threads() - before)
        profiler.finish()
    assert grown == [0, 2]


def test_another_version_is_not_driven(model: ModelFile, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(model)
    monkeypatch.setattr(operator_profiler, "installed_version", lambda name: "2.4.0")
    with pytest.raises(UnsupportedError, match=r"the profiler of LiteRT 2\.3\.x is known, not"):
        session.profiler()


def test_kernels_of_its_own_are_not_profiled(model: ModelFile) -> None:
    with pytest.raises(UnsupportedError, match="they run through XNNPACK"):
        opened(model, xnnpack=False).profiler()


def test_operators_that_run_others_are_not_counted_twice() -> None:
    def event(tag: str, kind: int, index: int, subgraph: int = 0) -> Any:
        return SimpleNamespace(
            tag=tag.encode(), kind=kind, index=index, subgraph=subgraph, elapsed_us=index + 1
        )

    events = [
        event("Invoke", 1, 0),
        event("WHILE", 2, 1),
        event("TfLiteXNNPackDelegate", 2, 2),
        event("Convolution (NHWC, F32) IGEMM", 8, 3),
        event("QUANTIZE", 2, 4),
        event("TfLiteXNNPackDelegate", 2, 5, subgraph=1),
        event("Invoke", 32, 6),
    ]
    found = [(key.name, key.delegated, ns) for key, ns in operator_profiler.operators_of(events)]
    assert found == [
        ("Convolution (NHWC, F32) IGEMM", True, 4000),
        ("QUANTIZE", False, 5000),
        ("TfLiteXNNPackDelegate", False, 6000),
    ]
