"""The null backend: right shapes, no work, and no claim to have computed anything."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from edgebench import registry
from edgebench.backend import ModelFile, Option, Scalar, Session, TensorInfo
from edgebench.errors import UnsupportedError
from edgebench.testing.models import Case, convolution, embedding, two_by_two


def opened(model: ModelFile, **options: Scalar) -> Session:
    return registry.load("null").open(model, options)


@pytest.mark.parametrize("case", [convolution(3), embedding(), two_by_two()], ids=lambda c: c.name)
def test_outputs_are_zeros_of_the_right_form(case: Case, tmp_path: Path) -> None:
    session = opened(case.write(tmp_path))
    prepared = session.prepare(case.feeds(0))
    outputs = session.outputs_of(prepared, session.run(prepared))
    assert (session.inputs, session.outputs) == (case.inputs, case.outputs)
    assert list(outputs) == [info.name for info in case.outputs]
    for info in case.outputs:
        assert outputs[info.name].shape == info.shape
        assert outputs[info.name].dtype == info.dtype
        assert not outputs[info.name].any()


def test_an_open_batch_axis_takes_the_size_of_the_inputs(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from edgebench.models.onnx_file import save_model

    shape: list[str | int | None] = ["batch", 4]
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "open",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "open.onnx"
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)
    session = opened(ModelFile(path, "onnx", "0" * 64))
    assert session.inputs == (TensorInfo("x", "float32", (None, 4)),)
    prepared = session.prepare({"x": np.ones((5, 4), np.float32)})
    assert session.outputs_of(prepared, session.run(prepared))["y"].shape == (5, 4)


def test_null_backend_claims_no_precision_and_no_threads(tmp_path: Path) -> None:
    facts = opened(convolution(1).write(tmp_path), threads=2).effective()
    assert facts.precision is None
    assert facts.threads is None
    assert "null backend: computes nothing" in facts.notes


def test_latency_is_waited_for_on_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 10_000_000, 10_000))  # a clock that advances by 10 us at each look
    looks = []

    def now_ns() -> int:
        looks.append(next(ticks))
        return looks[-1]

    monkeypatch.setattr(time, "perf_counter_ns", now_ns)
    session = opened(convolution(1).write(tmp_path), latency_us=100.0)
    session.run(session.prepare(convolution(1).feeds(0)))
    assert looks[-1] - looks[0] == 100_000


def test_weights_among_the_inputs_are_not_inputs(tmp_path: Path) -> None:
    """Files of early ONNX versions list every initializer as an input as well."""
    import onnx

    model = convolution(1).write(tmp_path)
    loaded = onnx.load(str(model.path))
    for weight in loaded.graph.initializer:
        info = onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        loaded.graph.input.append(info)
    onnx.save(loaded, str(model.path))
    assert [info.name for info in opened(model).inputs] == ["image"]


@pytest.mark.parametrize(
    ("option", "good", "bad"),
    [
        (Option("n", "int", 1, "", minimum=1), [1, 7], [0, True, 1.0, "1"]),
        (Option("x", "float", 0.0, "", minimum=0), [0, 0.5], [-0.1, False, "0"]),
        (Option("b", "bool", True, ""), [True, False], [1, 0, "true"]),
        (Option("s", "str", "a", "", choices=("a", "b")), ["a", "b"], ["c", 1, True]),
        (Option("c", "int", 1, "", choices=(1, 2)), [1, 2], [3, True]),
    ],
    ids=lambda value: value.name if isinstance(value, Option) else None,
)
def test_options_accept_what_they_declare(
    option: Option, good: list[Scalar], bad: list[Scalar]
) -> None:
    assert [option.accepts(value) for value in good] == [True] * len(good)
    assert [option.accepts(value) for value in bad] == [False] * len(bad)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latency": 1.0}, "did you mean 'latency_us'"),
        ({"latency_us": -1.0}, "at least 0"),
        ({"threads": "2"}, "not of type int"),
    ],
    ids=["unknown", "below", "type"],
)
def test_refusals_name_the_option_and_the_limit(
    options: dict[str, Scalar], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedError, match=message):
        opened(convolution(1).write(tmp_path), **options)
