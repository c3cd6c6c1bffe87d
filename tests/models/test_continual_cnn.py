"""The step form of a convolutional network: step by step it says what whole windows say, with the work of a hop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgebench.backend import TensorInfo
from edgebench.errors import EdgebenchError
from edgebench.models.continual_cnn import step_form
from edgebench.models.onnx_file import save_model
from edgebench.models.work_count import work_of
from edgebench.task import TaskContext
from edgebench.tasks.speech_embedding import HOPS, SpeechEmbedding

if TYPE_CHECKING:
    from onnx import ModelProto

HOP, BANDS = 4, 8
#: A convolution over 3 frames, 2 pooled, 3 of 2 frames each with one left out between them, 2 pooled, 4 of 4 frames.
WINDOW = 26


def network(
    frames: int = WINDOW, pads: tuple[int, ...] = (0, 1, 0, 1), act: str = "LeakyRelu"
) -> ModelProto:
    """Convolutions over time, one of them dilated, and two poolings of two frames: a window gives one answer."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "w0": rng.normal(0, 0.5, (6, 1, 3, 3)),
        "w1": rng.normal(0, 0.3, (6, 6, 3, 1)),
        "w2": rng.normal(0, 0.3, (5, 6, 4, 2)),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()]
    constants += [
        numpy_helper.from_array(np.array([1, 1, frames, BANDS]), "to_channels"),
        numpy_helper.from_array(np.array([1, -1]), "to_answer"),
    ]
    pool: dict[str, Any] = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("Reshape", ["x", "to_channels"], ["a"]),
        helper.make_node("Conv", ["a", "w0"], ["b"], kernel_shape=[3, 3], pads=list(pads)),
        helper.make_node(act, ["b"], ["c"]),
        helper.make_node("MaxPool", ["c"], ["d"], **pool),
        helper.make_node("Conv", ["d", "w1"], ["e"], kernel_shape=[3, 1], dilations=[2, 1]),
        helper.make_node("MaxPool", ["e"], ["f"], **pool),
        helper.make_node("Conv", ["f", "w2"], ["g"], kernel_shape=[4, 2]),
        helper.make_node("Reshape", ["g", "to_answer"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, frames, BANDS, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, None])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])


def session(model: ModelProto, path: Path) -> Any:
    import onnxruntime

    save_model(model, path)
    return onnxruntime.InferenceSession(str(path))


def test_step_by_step_equals_clip_by_clip(tmp_path: Path) -> None:
    whole = session(network(), tmp_path / "whole.onnx")
    step = session(step_form(network(), HOP, BANDS), tmp_path / "step.onnx")
    clip = np.random.default_rng(1).normal(0, 1, (1, 20 * HOP, BANDS, 1)).astype(np.float32)
    states = {i.name: np.zeros(i.shape, np.float32) for i in step.get_inputs()[1:]}
    compared = 0
    for end in range(HOP, 20 * HOP + 1, HOP):
        names = [output.name for output in step.get_outputs()]
        found = dict(
            zip(names, step.run(None, {"x": clip[:, end - HOP : end], **states}), strict=True)
        )
        states = {f"past_{n}": found[f"now_{n}"] for n in range(len(states))}
        if end >= WINDOW:
            (expected,) = whole.run(None, {"x": clip[:, end - WINDOW : end]})
            np.testing.assert_allclose(found["y"], expected, rtol=1e-5, atol=1e-5)
            compared += 1
    assert compared > 10


def test_a_step_does_the_work_of_a_hop() -> None:
    whole = work_of(network()).flops
    assert 4 < whole / work_of(step_form(network(), HOP, BANDS)).flops < 6


@pytest.mark.parametrize(
    ("changes", "hop", "message"),
    [
        ({"pads": (1, 1, 1, 1)}, HOP, "it pads the time"),
        ({}, 2, "no multiple of 2"),
        ({"act": "Softmax"}, HOP, "not known to pass it one by one"),
    ],
)
def test_a_layer_without_a_step_form_is_one_clear_error(
    changes: dict[str, Any], hop: int, message: str
) -> None:
    with pytest.raises(EdgebenchError, match=message):
        step_form(network(**changes), hop, BANDS)


def test_the_quality_pass_holds_the_stream_against_whole_windows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    inputs = (
        TensorInfo("x", "float32", (1, HOP, BANDS, 1)),
        TensorInfo("past_0", "float32", (1, 1, 2, BANDS)),
    )
    task = SpeechEmbedding(TaskContext(inputs=inputs))
    monkeypatch.setattr(task, "_work_ratio", lambda: 7.0)
    monkeypatch.setattr(task, "_of_window", lambda hop: np.array([1.0 + hop]))
    seen: list[float] = []

    def infer(queries: Any) -> Any:
        (feeds,) = queries
        seen.append(float(feeds["past_0"].max()))
        hop = len(seen) - 1
        return [{"y": np.array([[1.0 + hop]]), "now_0": np.full((1, 1, 2, BANDS), len(seen))}]

    assert task.evaluate(infer) == {"window_error": 0.0, "work_ratio": 7.0}
    assert seen == list(range(HOPS))  # each hop has the state that the one before it left
    assert task.frames.shape == (1, HOPS * HOP, BANDS, 1)


@pytest.mark.downloads
@pytest.mark.slow
def test_the_trained_network_says_the_same_in_steps_with_a_seventh_of_the_work(
    tmp_path: Path,
) -> None:
    import onnxruntime

    from edgebench.assets import fetch
    from edgebench.definitions.workload_loader import load_workloads
    from edgebench.models.continual_cnn import build

    workload = load_workloads()["speech-embedding"]
    source = fetch([workload.model])[workload.model.sha256]
    build(source, tmp_path / "step.onnx")
    step = onnxruntime.InferenceSession(str(tmp_path / "step.onnx"))
    inputs = tuple(TensorInfo(i.name, "float32", tuple(i.shape)) for i in step.get_inputs())
    assert workload.stream is not None
    assert set(workload.stream.state) == {i.name for i in inputs[1:]}
    context = TaskContext(inputs=inputs, model=tmp_path / "step.onnx", model_asset=source)
    names = [output.name for output in step.get_outputs()]

    def infer(queries: Any) -> Any:
        return [dict(zip(names, step.run(names, feeds), strict=True)) for feeds in queries]

    found = SpeechEmbedding(context).evaluate(infer)
    assert found["window_error"] <= 1e-5
    assert found["work_ratio"] == pytest.approx(7.48, rel=0.01)
