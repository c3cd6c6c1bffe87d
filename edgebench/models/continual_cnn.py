"""The step form of a convolutional network over time: each step computes what is new, and keeps what the next one needs.

A network that is run over a sliding window computes nearly all of it again for every hop. Its step form takes the hop
alone. A convolution or pooling whose kernel reaches back over `reach` frames is given the last `reach - stride` frames of its
input, which the step before left: an input `past_N` and an output `now_N` of the same shape, zeros at first (Continual
Inference Networks, Hedegaard & Iosifidis, 2022). Weights are the trained ones. Once the states hold real frames alone,
an output is that of the whole window, up to rounding.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.models.onnx_file import attribute, load_model, save_model

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

#: Frames of a hop of Google's speech embedding, and what one of them holds.
HOP_FRAMES, BANDS = 8, 32
TIME = 2  # axis of time between the convolutions: [item, channel, time, band]
_EVERY_FRAME_ALONE = ("LeakyRelu", "Relu", "Max", "Clip")


def build(source: Path, out: Path) -> None:
    """Writes the step form of the embedding network `source` (ONNX), 8 frames of 10 ms a step. Raises EdgebenchError
    where a layer cannot be run in steps."""
    save_model(step_form(load_model(source), HOP_FRAMES, BANDS), out)


def step_form(model: ModelProto, hop_frames: int, bands: int) -> ModelProto:
    """The network for one hop, [1, hop_frames, bands, 1], with its states as further inputs and outputs."""
    from onnx import TensorProto, helper

    stepper = _Stepper(model, hop_frames, bands)
    for node in model.graph.node:
        stepper.add(node)
    fresh = helper.make_tensor_value_info(
        stepper.source, TensorProto.FLOAT, [1, hop_frames, bands, 1]
    )
    graph = helper.make_graph(
        stepper.nodes,
        "step",
        [fresh, *stepper.before],
        [*model.graph.output, *stepper.after],
        stepper.constants,
    )
    return helper.make_model(graph, opset_imports=list(model.opset_import))


class _Stepper:
    """Writes the graph of a step, layer by layer; `frames` of a hop are left behind every layer."""

    def __init__(self, model: ModelProto, hop_frames: int, bands: int) -> None:
        from onnx import numpy_helper

        self.source = model.graph.input[0].name
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []
        self.before: list[ValueInfoProto] = []
        self.after: list[ValueInfoProto] = []
        self._weights = {each.name: each for each in model.graph.initializer}
        self._arrays = {name: numpy_helper.to_array(each) for name, each in self._weights.items()}
        self._answer = model.graph.output[0].name
        self._shape = (1, 1, hop_frames, bands)  # of the tensor that the next layer reads

    def add(self, node: NodeProto) -> None:
        """The node as a step runs it. Raises EdgebenchError for one that has no step form."""
        if node.op_type == "Reshape":
            self._reshape(node)
        elif node.op_type == "Conv":
            self._windowed(node, channels=self._arrays[node.input[1]].shape[0])
        elif node.op_type == "MaxPool":
            self._windowed(node, channels=self._shape[1])
        elif node.op_type in _EVERY_FRAME_ALONE:
            self._copy(node, list(node.input))
        else:
            raise _no_step_form(node, "frames are not known to pass it one by one")

    def _reshape(self, node: NodeProto) -> None:
        """The first one brings frames to the axis of time, and the last one gives the answer its own axes."""
        if node.output[0] == self._answer:
            self._copy(node, list(node.input))
            return
        if node.input[0] != self.source:
            raise _no_step_form(node, "only the first and the last layer may change axes")
        shape = self._constant(f"{node.output[0]}_shape", np.array(self._shape, np.int64))
        self._copy(node, [node.input[0], shape])

    def _windowed(self, node: NodeProto, channels: int) -> None:
        """A layer that reaches over several frames: it is given those before the hop."""
        kernel, bands_kernel = attribute(node, "kernel_shape")
        stride, bands_stride = attribute(node, "strides", [1, 1])
        dilation, bands_dilation = attribute(node, "dilations", [1, 1])
        top, left, bottom, right = attribute(node, "pads", [0, 0, 0, 0])
        frames, bands = self._shape[TIME:]
        if top or bottom or attribute(node, "auto_pad", b"NOTSET") != b"NOTSET":
            raise _no_step_form(node, "it pads the time")
        if frames % stride:
            raise _no_step_form(node, f"a hop leaves it {frames} frames, no multiple of {stride}")
        kept = (kernel - 1) * dilation + 1 - stride
        inputs = list(node.input)
        if kept > 0:
            inputs[0] = self._with_past(inputs[0], kept)
        elif kept < 0:
            raise _no_step_form(node, "it leaves frames out")
        self._copy(node, inputs)
        reach = (bands_kernel - 1) * bands_dilation + 1
        bands = (bands + left + right - reach) // bands_stride + 1
        self._shape = (1, channels, frames // stride, bands)

    def _with_past(self, source: str, kept: int) -> str:
        """The hop behind the frames that were kept; the last of both are kept for the next step."""
        from onnx import TensorProto, helper

        number = len(self.before)
        past, now, joined = f"past_{number}", f"now_{number}", f"joined_{number}"
        shape = [1, self._shape[1], kept, self._shape[3]]
        self.before.append(helper.make_tensor_value_info(past, TensorProto.FLOAT, shape))
        self.after.append(helper.make_tensor_value_info(now, TensorProto.FLOAT, shape))
        self.nodes.append(helper.make_node("Concat", [past, source], [joined], joined, axis=TIME))
        start, end, axis = (
            self._constant(name, np.array([value], np.int64))
            for name, value in ((f"from_{number}", -kept), ("end", 2**31), ("time", TIME))
        )
        self.nodes.append(helper.make_node("Slice", [joined, start, end, axis], [now], now))
        return joined

    def _copy(self, node: NodeProto, inputs: list[str]) -> None:
        """The node with other inputs, and the weights that it reads."""
        from onnx import NodeProto

        made = NodeProto()
        made.CopyFrom(node)
        del made.input[:]
        made.input.extend(inputs)
        self.nodes.append(made)
        there = {each.name for each in self.constants}
        self.constants += [
            self._weights[name]
            for name in dict.fromkeys(inputs)
            if name in self._weights.keys() - there
        ]

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        if all(each.name != name for each in self.constants):
            self.constants.append(numpy_helper.from_array(value, name))
        return name


def _no_step_form(node: NodeProto, why: str) -> EdgebenchError:
    return EdgebenchError(
        f"the layer {node.name or node.output[0]} ({node.op_type}) has no step form: {why}",
        "give a network of convolutions and poolings that do not pad the time",
    )
