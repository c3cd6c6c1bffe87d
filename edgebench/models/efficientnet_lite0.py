"""EfficientNet-Lite0 from its PyTorch weights: the graph written straight to ONNX, no framework.

Architecture: Tan & Le 2019 (EfficientNet-B0) without squeeze-and-excitation and with ReLU6, as in
the Lite release; padding is TensorFlow's "same". Batch normalisation is folded into the
convolutions. Input `image` [batch, 3, 224, 224] in (RGB - 127) / 128; output `logits` [batch, 1000].
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from edgebench.models.graph_writer import GraphWriter
from edgebench.models.onnx_file import save_model
from edgebench.models.torch_weights import load_state_dict

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from onnx import ModelProto

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
    save_model(network_of(load_state_dict(source)), out)


def network_of(weights: dict[str, NDArray[Any]]) -> ModelProto:
    from onnx import TensorProto, helper

    writer = _Writer(weights)
    x, size = writer.conv("image", IMAGE_SIZE, "_conv_stem", "_bn0", stride=2)
    x = _blocks(writer, x, size)
    x, _ = writer.conv(x, 7, "_conv_head", "_bn1")
    writer.classifier(x)
    image = helper.make_tensor_value_info(
        "image", TensorProto.FLOAT, ["batch", 3, IMAGE_SIZE, IMAGE_SIZE]
    )
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", CLASSES])
    return writer.model("efficientnet_lite0", [image], logits, _OPSET)


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


class _Writer(GraphWriter):
    network = "EfficientNet-Lite0"

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        super().__init__(weights)
        self.constant("relu6_low", 0.0)
        self.constant("relu6_high", 6.0)

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
        name = conv.strip("_").replace("blocks.", "block").replace("._", "_")
        kernel = int(weight.shape[2])
        out_size = -(-size // stride)
        padding = max((out_size - 1) * stride + kernel - size, 0)
        before, after = padding // 2, padding - padding // 2
        out = self.node(
            "Conv",
            [x, self.constant(f"{name}_weight", weight), self.constant(f"{name}_bias", bias)],
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
        weight = self.constant("fc_weight", self.weight("_fc.weight"))
        bias = self.constant("fc_bias", self.weight("_fc.bias"))
        self.node("Gemm", [flat, weight, bias], "logits", transB=1)

    def _folded(self, conv: str, norm: str) -> tuple[NDArray[Any], NDArray[Any]]:
        """Weight and bias of conv followed by y = gamma (x - mean) / sqrt(var + eps) + beta."""
        gamma, beta, mean, variance = (
            self.weight(f"{norm}.{part}").astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + _BATCH_NORM_EPSILON)
        weight = self.weight(f"{conv}.weight").astype(np.float64)
        return weight * scale[:, None, None, None], beta - mean * scale
