"""8-bit models by ONNX Runtime's own quantizer: what a user of it would deploy.

int8-dynamic: weights in int8, activations quantised at run time.
int8-static: QDQ format, activation ranges from the task's calibration data, per-channel symmetric
int8 weights and uint8 activations, the combination with the fastest kernels on x86 and Arm.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, UnsupportedError
from edgebench.models.onnx_file import load_model, precision_census, save_model

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.task import Feeds

#: At most so many calibration items are read from a task.
CALIBRATION_ITEMS = 64

#: Operators that gain from integers, and those between them that would otherwise convert back and
#: forth. Element-wise arithmetic on its own and normalisations stay in floating point: they carry
#: wide ranges and cost little.
STATIC_OPS = (
    "Conv",
    "Gemm",
    "MatMul",
    "Add",
    "Clip",
    "Relu",
    "MaxPool",
    "GlobalAveragePool",
    "AveragePool",
    "Flatten",
    "Reshape",
    "Transpose",
    "Squeeze",
    "Unsqueeze",
    "Concat",
    "Resize",
)
DYNAMIC_OPS = ("Conv", "MatMul", "Gemm", "LSTM", "Gather", "EmbedLayerNormalization", "Attention")


def quantize_dynamic(model: ModelProto) -> ModelProto:
    """The model with int8 weights. Raises UnsupportedError where it has nothing to quantise."""
    from onnxruntime import quantization as ort_quantization

    with _workspace(model) as (source, target):
        ort_quantization.quantize_dynamic(
            str(source),
            str(target),
            op_types_to_quantize=list(DYNAMIC_OPS),
            weight_type=ort_quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True},
        )
        return _checked(target)


def quantize_static(model: ModelProto, calibration: Iterable[Feeds], batch: int) -> ModelProto:
    """The model in QDQ form. `calibration` yields inputs with a leading axis of 1.

    The ranges are the same for every `batch`: where the items do not fill the last batch, items
    from the start fill it. Raises UnsupportedError where there is nothing to quantise.
    """
    from onnxruntime import quantization as ort_quantization

    batches = _batches(list(islice(calibration, CALIBRATION_ITEMS)), batch)
    with _workspace(model) as (source, target):
        ort_quantization.quantize_static(
            str(source),
            str(target),
            _reader(batches),
            quant_format=ort_quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(STATIC_OPS),
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            activation_type=ort_quantization.QuantType.QUInt8,
            weight_type=ort_quantization.QuantType.QInt8,
            calibrate_method=ort_quantization.CalibrationMethod.MinMax,
            extra_options={"MatMulConstBOnly": True, "WeightSymmetric": True},
        )
        return _checked(target)


def weights_need_reduced_range(
    machine: str | None = None, cpuinfo: Path = Path("/proc/cpuinfo")
) -> bool:
    """Whether 8-bit products may saturate: x86 without VNNI adds them up in 16 bits.

    Source: ONNX Runtime's quantisation guide, "When to use reduce-range".
    """
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return False
    try:
        flags = cpuinfo.read_text()
    except OSError:
        return True  # cannot know: 7-bit weights are right everywhere
    return "vnni" not in flags


def _batches(items: list[Feeds], batch: int) -> list[Feeds]:
    import numpy as np

    if not items:
        raise EdgebenchError("the task's calibration() gave no inputs")
    starts = range(0, len(items), batch)
    groups = [[items[(start + k) % len(items)] for k in range(batch)] for start in starts]
    return [
        {name: np.concatenate([item[name] for item in group]) for name in group[0]}
        for group in groups
    ]


def _reader(batches: list[Feeds]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc] # untyped where not installed
        def __init__(self) -> None:
            self._rest: Iterator[Mapping[str, Any]] = iter(batches)

        def get_next(self) -> Mapping[str, Any] | None:
            return next(self._rest, None)

        def __len__(self) -> int:
            return len(batches)

    return Reader()


@contextlib.contextmanager
def _workspace(model: ModelProto) -> Iterator[tuple[Path, Path]]:
    """Files for the quantizer, which reads and writes paths and talks on stdout and in the log."""
    with tempfile.TemporaryDirectory(prefix="edgebench-") as folder, _quiet():
        source = Path(folder, "source.onnx")
        save_model(model, source, keep_opset=True)
        yield source, Path(folder, "quantized.onnx")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    finally:
        logging.disable(before)
        sys.stdout.flush()


def _checked(path: Path) -> ModelProto:
    """The result, or UnsupportedError where the quantizer found nothing to do."""
    model = load_model(path)
    _, weight_bytes = precision_census(model)
    if not weight_bytes.get("int8"):
        raise UnsupportedError(
            "the quantizer found no weights to turn into int8", fix="leave int8 out for this model"
        )
    return model
