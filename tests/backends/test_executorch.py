"""ExecuTorch: programs that torch exports, run and traced (make test-executorch), and what its words mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Session, Unavailable
from edgebench.backends import executorch as backend
from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.operator_times import Profile

# torch and ExecuTorch use what Python calls out of date.
pytestmark = pytest.mark.filterwarnings("ignore")
_RUNS = 3
_OPTIONS: dict[str, int] = {"threads": 1}


# --- without the runtime


def test_torch_is_needed_though_it_is_not_declared(monkeypatch: pytest.MonkeyPatch) -> None:
    versions: dict[str, str | None] = {}
    monkeypatch.setattr(backend, "installed_version", versions.get)
    found = registry.load("executorch").availability()
    assert isinstance(found, Unavailable)
    assert found.kind == "not_installed"
    versions["executorch"] = "1.5.1"
    found = registry.load("executorch").availability()
    assert isinstance(found, Unavailable)
    assert (found.kind, found.fix) == ("broken", "pip install 'edgebench[executorch]'")


@pytest.mark.parametrize(
    ("said", "kind", "told"),
    [
        (
            "Failed to get method names, error: 0x23",
            EdgebenchError,
            "is damaged: its program is in",
        ),
        ("Failed to load method forward, error: 0x:14", UnsupportedError, "no kernel (0x14)"),
        ("Failed to load method forward, error: 0x7f", UnsupportedError, "Failed to load method"),
    ],
)
def test_errors_are_told_in_words(said: str, kind: type[EdgebenchError], told: str) -> None:
    found = backend._refusal(Path("a/m.pte"), RuntimeError(said))
    assert type(found) is kind
    assert told in found.message


def test_operators_within_a_delegate_stand_for_it() -> None:
    def event(name: str, *times_ns: int, delegated: bool = False) -> backend.Event:
        return backend.Event(name, delegated, times_ns)

    events = [
        event("Convolution (NHWC, F32) IGEMM #1", 9, 5, 6, delegated=True),
        event("Convolution (NHWC, QC8) IGEMM #2", 9, 7, 8, delegated=True),
        event("DELEGATE_CALL", 99, 14, 15),
        event("native_call_cumsum.out", 9, 1, 2),
        event("OPERATOR_CALL", 9, 3, 4),
        event("DELEGATE_CALL", 99, 20, 21),
        event("Method::execute", 200, 40, 41),
    ]
    found = list(backend._operators(events, warm_up=1))
    assert [(o.kind, o.provider, o.type, o.times_ns) for o in found] == [
        ("Convolution (NHWC, F32) IGEMM", "XNNPACK", "fp32", [5, 6]),
        ("Convolution (NHWC, QC8) IGEMM", "XNNPACK", "int8", [7, 8]),
        ("cumsum.out", "ExecuTorch", None, [1, 2]),
        ("DELEGATE_CALL", "delegate", None, [20, 21]),
    ]
    assert len({operator.name for operator in found}) == len(found)


# --- with it


class _Exported:
    """Programs that torch exported, and what torch computes."""

    def __init__(self, folder: Path, feed: Any, answer: Any) -> None:
        self.folder, self.feed, self.answer = folder, feed, answer

    def model(self, name: str) -> ModelFile:
        return ModelFile(self.folder / name, "pte", "0" * 64)

    def open(self, name: str, **options: Any) -> Session:
        return registry.load("executorch").open(self.model(name), {**_OPTIONS, **options})


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> _Exported:
    torch = pytest.importorskip("torch", reason="make test-executorch brings it")
    pytest.importorskip("executorch", reason="make test-executorch brings it")
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    class Network(torch.nn.Module):  # type: ignore[misc,name-defined,unused-ignore]
        def __init__(self, last: Any) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first = torch.nn.Conv2d(3, 16, 3, padding=1)
            self.second = torch.nn.Conv2d(16, 8, 3, padding=1)
            self.last = last

        def forward(self, x: Any) -> Any:
            means = self.second(torch.relu(self.first(x))).mean((2, 3))
            return self.last(means)

    def running_sum(values: Any) -> Any:
        return torch.cumsum(values, dim=1)

    def ordered(values: Any) -> Any:
        return torch.sort(values, dim=1)[0]

    folder = tmp_path_factory.mktemp("pte")
    feed = torch.randn(1, 3, 24, 24)
    for name, last, partitioner in (
        ("xnnpack.pte", running_sum, [XnnpackPartitioner()]),
        ("portable.pte", running_sum, []),
        ("sorted.pte", ordered, []),
    ):
        program = torch.export.export(Network(last).eval(), (feed,))
        lowered = to_edge_transform_and_lower(program, partitioner=partitioner)
        (folder / name).write_bytes(lowered.to_executorch().buffer)
    answer = Network(running_sum).eval()(feed).detach().numpy()
    return _Exported(folder, feed.numpy(), answer)


@pytest.mark.parametrize("name", ["xnnpack.pte", "portable.pte"])
def test_answers_are_those_of_torch_and_profiling_changes_none(
    exported: _Exported, name: str
) -> None:
    session = exported.open(name)
    feeds = {session.inputs[0].name: exported.feed}
    prepared = session.prepare(feeds)
    (answer,) = session.outputs_of(prepared, session.run(prepared)).values()
    assert np.allclose(answer, exported.answer, atol=1e-5)
    profiler = session.profiler()
    assert all(
        np.array_equal(next(iter(profiler.run(feeds).values())), answer) for _ in range(_RUNS)
    )
    session.close()


def test_facts_are_told_by_node(exported: _Exported) -> None:
    told = exported.open("xnnpack.pte").effective()
    assert (told.device, told.precision, told.threads) == ("cpu", "fp32", 1)
    assert told.providers is not None
    assert told.providers["XNNPACK"] >= 2
    assert told.providers["ExecuTorch"] == 2  # mean and cumsum
    assert told.compute_nodes == {"fp32": 2}
    assert exported.open("portable.pte").effective().precision is None  # its kernels do not tell


@pytest.mark.parametrize("name", ["xnnpack.pte", "portable.pte"])
def test_operators_are_timed_in_every_run(exported: _Exported, name: str) -> None:
    session = exported.open(name)
    profile: Profile = session.profile([{session.inputs[0].name: exported.feed}], _RUNS)
    assert len(profile.runs_ns) == _RUNS
    assert all(len(operator.times_ns) == _RUNS for operator in profile.operators)
    assert {"mean.out", "cumsum.out"} <= {operator.kind for operator in profile.operators}
    whole = zip(*(operator.times_ns for operator in profile.operators), strict=True)
    sums = [sum(run) for run in whole]
    assert all(0 < total <= run for total, run in zip(sums, profile.runs_ns, strict=True))


def test_programs_that_cannot_run_are_told(exported: _Exported, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="operator for which this build has no kernel"):
        exported.open("sorted.pte")
    with pytest.raises(UnsupportedError, match="no method 'forwards'; did you mean 'forward'"):
        exported.open("xnnpack.pte", method="forwards")
    damaged = exported.folder / "damaged.pte"
    damaged.write_bytes((exported.folder / "xnnpack.pte").read_bytes()[:4000])
    with pytest.raises(EdgebenchError, match="is damaged: its program is invalid"):
        exported.open("damaged.pte")
