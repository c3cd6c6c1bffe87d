"""EfficientNet-Lite0 from its PyTorch weights: the graph written straight to ONNX, no framework.

Architecture: Tan & Le 2019 (EfficientNet-B0) without squeeze-and-excitation and with ReLU6, as in
the Lite release; padding is TensorFlow's "same". Batch normalisation is folded into the
convolutions. Input `image` [batch, 3, 224, 224] in (RGB - 127) / 128; output `logits` [batch, 1000].
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgebench.errors import EdgebenchError
from edgebench.models.onnx_file import save_model
from edgebench.models.torch_weights import load_state_dict

if TYPE_CHECKING:
    from numpy.typing import NDArray

IMAGE_SIZE = 224
CLASSES = 1000
_OPSET = 13
_BATCH_NORM_EPSILON = 1e-3


class _Stage(NamedTuple):
    repeats: int
    kernel: int
    stride: int
    expand: int
    channels_in: int
    channels_out: int


_STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)


def build(source: Path, out: Path) -> None:
    """Writes the ONNX file `out` from the weights file `source` (a PyTorch state dict).

    Raises EdgebenchError where `source` holds other weights.
    """
    writer = _Writer(load_state_dict(source))
    x, size = writer.conv("image", IMAGE_SIZE, "_conv_stem", "_bn0", stride=2)
    x = _blocks(writer, x, size)
    x, _ = writer.conv(x, 7, "_conv_head", "_bn1")
    writer.classifier(x)
    save_model(writer.model(), out)


def _blocks(writer: _Writer, x: str, size: int) -> str:
    """The inverted residual blocks: expand, filter each channel, project, add."""
    index = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            prefix, shortcut = f"_blocks.{index}.", x
            first = repeat == 0
            stride = stage.stride if first else 1
            channels = stage.channels_in if first else stage.channels_out
            if stage.expand != 1:
                x, _ = writer.conv(x, size, prefix + "_expand_conv", prefix + "_bn0")
            x, size = writer.conv(
                x,
                size,
                prefix + "_depthwise_conv",
                prefix + "_bn1",
                stride=stride,
                groups=channels * stage.expand,
            )
            x, _ = writer.conv(x, size, prefix + "_project_conv", prefix + "_bn2", activation=False)
            if stride == 1 and channels == stage.channels_out:
                x = writer.node("Add", [x, shortcut], f"block{index}_add")
            index += 1
    return x


class _Writer:
    """Collects nodes and weights of the graph."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self._weights = weights
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._constant("relu6_low", np.float32(0))
        self._constant("relu6_high", np.float32(6))

    def conv(
        self,
        x: str,
        size: int,
        conv: str,
        norm: str,
        *,
        stride: int = 1,
        groups: int = 1,
        activation: bool = True,
    ) -> tuple[str, int]:
        """Convolution with its batch normalisation folded in, then ReLU6.

        Returns the output's name and its height (equal to its width).
        """
        weight, bias = self._folded(conv, norm)
        name = conv.strip("_").replace("_blocks.", "block").replace("blocks.", "block")
        name = name.replace("._", "_")
        kernel = int(weight.shape[2])
        out_size = -(-size // stride)
        padding = max((out_size - 1) * stride + kernel - size, 0)
        before, after = padding // 2, padding - padding // 2
        out = self.node(
            "Conv",
            [
                x,
                self._constant(f"{name}_weight", weight),
                self._constant(f"{name}_bias", bias),
            ],
            name,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            group=groups,
            pads=[before, before, after, after],
        )
        if activation:
            out = self.node("Clip", [out, "relu6_low", "relu6_high"], f"{name}_relu6")
        return out, out_size

    def classifier(self, x: str) -> None:
        pooled = self.node("GlobalAveragePool", [x], "pool")
        flat = self.node("Flatten", [pooled], "flatten", axis=1)
        weight = self._constant("fc_weight", self._weight("_fc.weight"))
        bias = self._constant("fc_bias", self._weight("_fc.bias"))
        self.node("Gemm", [flat, weight, bias], "logits", transB=1)

    def model(self) -> Any:
        from onnx import TensorProto, helper

        image = helper.make_tensor_value_info(
            "image", TensorProto.FLOAT, ["batch", 3, IMAGE_SIZE, IMAGE_SIZE]
        )
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
        graph = helper.make_graph(
            self._nodes, "efficientnet_lite0", [image], [logits], self._initializers
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self._initializers.append(numpy_helper.from_array(np.asarray(value, np.float32), name))
        return name

    def _folded(self, conv: str, norm: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weight and bias of conv followed by y = gamma (x - mean) / sqrt(var + eps) + beta."""
        gamma, beta, mean, variance = (
            self._weight(f"{norm}.{part}").astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        weight = self._weight(f"{conv}.weight").astype(np.float64)
        return weight * scale[:, None, None, None], beta - mean * scale

    def _weight(self, name: str) -> NDArray[Any]:
        try:
            return self._weights[name]
        except KeyError:
            raise EdgebenchError(
                f"these are not EfficientNet-Lite0's weights: {name} is missing"
            ) from None
