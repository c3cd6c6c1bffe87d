"""8-bit models by ONNX Runtime's own quantizer: what a user of it would deploy.

int8-dynamic: weights in int8, activations quantised at run time.
int8-static: QDQ format, activation ranges from the task's calibration data, per-channel symmetric
int8 weights and uint8 activations, the combination with the fastest kernels on x86 and Arm.
mixed: the same, of the groups alone that a precision map names, by the map's recipe; a map may also name groups that
are quantised at run time, or whose weights are in blocks of 8 or 4 bits (MatMulNBits).
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebench.errors import EdgebenchError, UnsupportedError, UsageError
from edgebench.models.onnx_file import (
    fits_inline,
    graph_nodes,
    load_model,
    precision_census,
    save_model,
)
from edgebench.models.operator_groups import Units, light_ends, units_of
from edgebench.models.precision_map import IN_BLOCKS, CalibrationSpec, PrecisionMap
from edgebench.models.products import BLOCK_SIZE, put_in_blocks, split_gemms
from edgebench.models.quantization_recipes import JOINERS, MAX_FLOAT_END, STATIC, Recipe
from edgebench.text.did_you_mean import did_you_mean

if TYPE_CHECKING:
    from onnx import ModelProto

    from edgebench.task import Feeds

#: Tensor -> the lowest and the highest value that calibration found for it.
Ranges = Mapping[str, tuple[float, float]]

#: So many batches' tensors are in memory at once; histograms of the next are merged into theirs.
CALIBRATED_AT_ONCE = 4
#: At most so many calibration items are read from a task.
CALIBRATION_ITEMS = 64

#: Operators that gain from integers, and those between them that would otherwise convert back and
#: forth. Other arithmetic stays in floating point: it carries wide ranges and costs little.
STATIC_OPS = ("Conv", "Gemm", "MatMul", *JOINERS)
#: Matrix products and recurrent layers, as ONNX Runtime's guide advises. Not Conv: its dynamic form
#: (ConvInteger) ran 4 to 12 times slower than fp32 where it was tried, and less exactly.
DYNAMIC_OPS = ("MatMul", "Gemm", "Attention", "LSTM", "Gather", "EmbedLayerNormalization")
_OPTIONS = {"MatMulConstBOnly": True, "WeightSymmetric": True}
_NOTHING_TO_QUANTISE = (
    "the quantizer found no weights to turn into int8", "leave int8 out for this model",
)  # fmt: skip


def quantize_dynamic(model: ModelProto) -> ModelProto:
    """The model with int8 weights. Raises UnsupportedError where it has nothing to quantise."""
    from onnxruntime import quantization as ort_quantization

    beside = not fits_inline(model)
    with _workspace(model) as (source, target):
        ort_quantization.quantize_dynamic(
            str(source),
            str(target),
            use_external_data_format=beside,
            op_types_to_quantize=list(DYNAMIC_OPS),
            weight_type=ort_quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            extra_options=_OPTIONS,
        )
        return _checked(target)


def quantize_static(model: ModelProto, calibration: Iterable[Feeds], batch: int) -> ModelProto:
    """The model in QDQ form. `calibration` yields inputs with a leading axis of 1.

    The ranges are the same for every `batch`: where the items do not fill the last batch, items
    from the start fill it. Raises UnsupportedError where there is nothing to quantise.
    """
    from onnxruntime import quantization as ort_quantization

    batches = _batches(list(islice(calibration, CALIBRATION_ITEMS)), batch)
    _rename_constants(model)
    _flatten_biases(model)
    offsets = _name_constant_adds(model)
    beside = not fits_inline(model)
    with _workspace(model) as (source, target):
        ort_quantization.quantize_static(
            str(source),
            str(target),
            _reader(batches),
            use_external_data_format=beside,
            quant_format=ort_quantization.QuantFormat.QDQ,
            op_types_to_quantize=list(STATIC_OPS),
            nodes_to_quantize=_placed(model, offsets),
            nodes_to_exclude=offsets,
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            activation_type=ort_quantization.QuantType.QUInt8,
            weight_type=ort_quantization.QuantType.QInt8,
            calibrate_method=ort_quantization.CalibrationMethod.MinMax,
            extra_options=_OPTIONS,
        )
        return _checked(target)


def _placed(model: ModelProto, excluded: list[str]) -> list[str]:
    """The nodes that become int8."""
    units = units_of(model, STATIC, excluded)
    groups = [unit.name for unit in units.groups if unit.op in STATIC_OPS]
    ends = light_ends(model, units, MAX_FLOAT_END)
    groups = [name for name in groups if name not in ends] or groups
    if not groups:
        raise UnsupportedError(*_NOTHING_TO_QUANTISE)
    return units.nodes_of(units.joined(groups, STATIC.joiners))


@dataclass(frozen=True)
class Quantizable:
    """A model ready for the quantizer, and its units under one recipe."""

    model: ModelProto
    units: Units
    recipe: Recipe


def quantizable(model: ModelProto, recipe: Recipe) -> Quantizable:
    """The model with the names that the quantizer needs, in place. Raises UnsupportedError where it has no
    group that could be quantised."""
    _rename_constants(model)
    _flatten_biases(model)
    units = units_of(model, recipe, _name_constant_adds(model))
    if not units.groups:
        raise UnsupportedError(
            "the model has no operator with constant weights that could be quantised",
            fix="search another model; operators that count are Conv, Gemm and MatMul",
        )
    return Quantizable(model, units, recipe)


def ranges_of(
    source: Quantizable, calibration: Iterable[Feeds], spec: CalibrationSpec, batch: int = 1
) -> Ranges:
    """The ranges of every tensor over the calibration items, found once for all maps."""
    batches = _batches(list(islice(calibration, CALIBRATION_ITEMS)), batch)
    lowest_and_highest = _ranges(source, batches, CalibrationSpec())
    if spec.method == "minmax":
        return lowest_and_highest
    return _ranges(source, batches, spec, lowest_and_highest)


def _ranges(
    source: Quantizable, batches: list[Feeds], spec: CalibrationSpec, whole: Ranges | None = None
) -> Ranges:
    """The ranges by one method; those that keep histograms need to know the `whole` range of each tensor."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
    extra = {} if spec.percentile is None else {"percentile": spec.percentile}
    with _workspace(source.model) as (path, target):
        calibrator = create_calibrator(
            str(path),
            list(source.recipe.operators),
            augmented_model_path=str(target),
            calibrate_method=CalibrationMethod[methods[spec.method]],
            use_external_data_format=not fits_inline(source.model),
            extra_options=extra,
        )
        if whole is not None:
            calibrator.collector = _empty_histograms(calibrator, whole)
        # A histogram's calibrator keeps all that it was shown at once: every tensor of every item.
        for start in range(0, len(batches), CALIBRATED_AT_ONCE):
            calibrator.collect_data(_reader(batches[start : start + CALIBRATED_AT_ONCE]))
        found = calibrator.compute_data()
    return {
        name: (float(np.min(data.lowest)), float(np.max(data.highest)))
        for name, data in found.items()
    }


def _empty_histograms(calibrator: Any, whole: Ranges) -> Any:
    """A collector whose histograms span all that will come.

    Else the first batches give the width of the bins, and more bins are added for wider values: after a second of
    silence voice activity took millions of them, and never ended.
    """
    import numpy as np
    from onnxruntime.quantization.calibrate import HistogramCollector

    settings = ("method", "symmetric", "num_bins", "num_quantized_bins", "percentile", "scenario")
    collector = HistogramCollector(**{name: getattr(calibrator, name) for name in settings})
    nothing = np.zeros(0, np.float32)
    for name, (low, high) in whole.items():
        lowest, highest = np.float32(low), np.float32(high)
        widest = np.maximum(np.abs(lowest), np.abs(highest))
        if np.isfinite(widest) and widest > 0:
            counts, edges = np.histogram(nothing, calibrator.num_bins, (-widest, widest))
            collector.histogram_dict[name] = (counts, edges, lowest, highest, widest)
    return collector


def _tensors_data(ranges: Ranges) -> Any:
    """The ranges as the quantizer takes them: anew each time, since it changes some of them."""
    import numpy as np
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import TensorData, TensorsData

    data = {
        name: TensorData(lowest=np.array(low, np.float32), highest=np.array(high, np.float32))
        for name, (low, high) in ranges.items()
    }
    return TensorsData(CalibrationMethod.MinMax, data)


def quantize_units(
    source: Quantizable,
    ranges: Ranges,
    names: Collection[str],
    dynamic: Collection[str] = (),
    in_blocks: Mapping[str, int] = {},
) -> ModelProto:
    """A copy of the model with some of its units in int8, in QDQ form, others quantised at run time, and others
    with weights in blocks of so many bits."""
    made = _in_qdq_form(source, ranges, names) if names else _copied(source.model)
    split_gemms(made, [*dynamic, *in_blocks])
    put_in_blocks(made, in_blocks)
    nodes = [node for unit in source.units.dynamic if unit.name in dynamic for node in unit.nodes]
    return _at_run_time(made, nodes) if nodes else made


def _copied(model: ModelProto) -> ModelProto:
    from onnx import ModelProto

    copied = ModelProto()
    copied.CopyFrom(model)
    return copied


def _at_run_time(model: ModelProto, nodes: list[str]) -> ModelProto:
    """The model, changed: int8 weights of some nodes, whose activations are quantised at run time."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_quantizer import ONNXQuantizer, QuantizationMode

    with _quiet():
        quantizer = ONNXQuantizer(
            model,
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            mode=QuantizationMode.IntegerOps,
            static=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=None,
            nodes_to_quantize=nodes,
            nodes_to_exclude=[],
            op_types_to_quantize=list(DYNAMIC_OPS),
            extra_options=_OPTIONS,
        )
        return _quantized(quantizer)


def _in_qdq_form(source: Quantizable, ranges: Ranges, names: Collection[str]) -> ModelProto:
    """A copy of the model with some of its units in int8."""
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    recipe = source.recipe
    with _quiet():
        quantizer = QDQQuantizer(
            _copied(source.model),
            per_channel=True,
            reduce_range=weights_need_reduced_range(),
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8 if recipe.activation == "uint8" else QuantType.QInt8,
            tensors_range=_tensors_data(ranges),
            nodes_to_quantize=source.units.nodes_of(names),
            nodes_to_exclude=[],
            op_types_to_quantize=list(recipe.operators),
            extra_options={**_OPTIONS, "ActivationSymmetric": recipe.symmetric},
        )
        return _quantized(quantizer)


def _quantized(quantizer: Any) -> ModelProto:
    quantizer.quantize_model()
    quantizer.model.topological_sort()
    quantized: ModelProto = quantizer.model.model
    return quantized


def quantize_mixed(source: Quantizable, ranges: Ranges, wanted: PrecisionMap) -> ModelProto:
    """The model as a precision map wants it. Raises UsageError for a group that it has not, and
    UnsupportedError where the map leaves everything in fp32."""
    able = [unit.name for unit in source.units.dynamic]
    blocks = [unit.name for unit in source.units.in_blocks]
    known = dict.fromkeys([*source.units.names, *able])
    for name, kind in wanted.groups.items():
        if kind == "int8-dynamic" and name in known and name not in able:
            raise UsageError(
                f"the precision map wants {name!r} in int8-dynamic, which is for MatMul, Gemm and LSTM alone",
                f"known: {', '.join(able[:5]) or 'this model has none'}",
            )
        if kind in IN_BLOCKS.values() and name in known and name not in blocks:
            raise UsageError(
                f"the precision map wants {name!r} in {kind}, which is for MatMul and Gemm with {BLOCK_SIZE} x n inputs",
                f"known: {', '.join(blocks[:5]) or 'this model has none'}",
            )
        if kind == "int8" and name in known and name not in source.units.names:
            raise UsageError(
                f"the precision map wants the recurrent layer {name!r} in int8",
                "say int8-dynamic or fp32",
            )
        if name not in known:
            raise UsageError(
                f"the precision map names {name!r}, which is no group of this model"
                f"{did_you_mean(name, known)}",
                "`edgebench search` writes maps with all groups of a model",
            )
    if not wanted.lowered:
        raise UnsupportedError(
            "the precision map leaves every group in fp32", "--set precision=fp32"
        )
    return quantize_units(source, ranges, wanted.quantized, wanted.dynamic, wanted.in_blocks)


def _rename_constants(model: ModelProto) -> None:
    """Ends every constant's name with a dot.

    For a bias that layers share, the quantizer makes new names by appending digits, and takes one
    that exists (Basic Pitch: "conv1d_25" and a tensor "conv1d_252").
    """
    fixed = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = {
        tensor.name: f"{tensor.name}."
        for tensor in model.graph.initializer
        if tensor.name not in fixed
    }
    for tensor in model.graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)
    for node in graph_nodes(model.graph):
        node.input[:] = [names.get(name, name) for name in node.input]
    for value in model.graph.value_info:
        value.name = names.get(value.name, value.name)


def _flatten_biases(model: ModelProto) -> None:
    """Makes a Gemm's bias of shape [1, n] one of [n]: the quantizer fails on the first form."""
    uses = Counter(name for node in graph_nodes(model.graph) for name in node.input)
    biases = {
        node.input[2]
        for node in model.graph.node
        if node.op_type == "Gemm" and len(node.input) == 3 and uses[node.input[2]] == 1
    }
    for tensor in model.graph.initializer:
        if tensor.name in biases and len(tensor.dims) == 2 and tensor.dims[0] == 1:
            tensor.dims[:] = tensor.dims[1:]


def _name_constant_adds(model: ModelProto) -> list[str]:
    """Names of the Adds of a constant (all nodes get a name).

    A bias or the +3 of a hard swish gains nothing from integers and costs accuracy; an Add of two
    activations is a shortcut between quantised layers and stays with them.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    taken = {node.name for node in model.graph.node}
    found = []
    for index, node in enumerate(model.graph.node):
        if not node.name:
            node.name = f"{node.op_type}_{index}"
            while node.name in taken:
                node.name += "_"
        if node.op_type == "Add" and constants.intersection(node.input):
            found.append(node.name)
    return found


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
        raise UnsupportedError(*_NOTHING_TO_QUANTISE)
    return model
